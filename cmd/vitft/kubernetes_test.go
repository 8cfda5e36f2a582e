package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/testkit"
)

// manifests calls do with every map in the YAML files of deploy/kubernetes, and the file that it is in. What is
// Kubernetes' in them, deploy/kubernetes checks itself, a module of its own.
func manifests(t *testing.T, do func(file string, m map[string]any)) {
	t.Helper()
	var walk func(file string, v any)
	walk = func(file string, v any) {
		switch v := v.(type) {
		case map[string]any:
			do(file, v)
			for _, inner := range v {
				walk(file, inner)
			}
		case []any:
			for _, inner := range v {
				walk(file, inner)
			}
		}
	}
	root := filepath.Join(testkit.Root(), "deploy", "kubernetes")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		decoder := yaml.NewDecoder(strings.NewReader(string(testkit.ReadFile(t, path))))
		for {
			var document any
			if decoder.Decode(&document) != nil {
				break
			}
			walk(filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator))), document)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// texts are the elements of a list.
func texts(list any) (all []string) {
	for _, v := range list.([]any) {
		all = append(all, v.(string))
	}
	return all
}

// Every command line in the manifests is one of ours, and every setting is one of its command.
func TestManifestsUseWhatThereIs(t *testing.T) {
	var lines [][]string
	settings := strings.Fields(regexp.MustCompile(`(?m)^#.*`).ReplaceAllString(string(testkit.ReadFile(t,
		testkit.Root(), "deploy", "kubernetes", "base", "settings.env")), ""))
	manifests(t, func(_ string, m map[string]any) {
		if m["name"] == "vitft" && m["args"] != nil {
			lines = append(lines, texts(m["args"]))
		}
		if m["name"] == "vitft" && m["literals"] != nil {
			settings = append(settings, texts(m["literals"])...)
		}
	})
	for _, args := range lines {
		for _, index := range []string{"0", "7"} {
			text := strings.ReplaceAll(strings.Join(args, " "), "$(JOB_COMPLETION_INDEX)", index)
			if _, err := tryPrepare(args[:1], strings.Fields(text)[1:]...); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	for _, setting := range settings {
		variable, text, _ := strings.Cut(setting, "=")
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, "VITFT_")), "_", "-")
		known := false
		for _, command := range []string{"encode", "worker"} {
			t.Setenv(variable, text)
			fields, err := tryPrepare([]string{command})
			_, takes := fields[key]
			if known = known || takes || key == "log-format"; err != nil {
				t.Errorf("%s of %s: %v", setting, command, err)
			}
			os.Unsetenv(variable)
		}
		if !known {
			t.Errorf("%s: no command has that setting", setting)
		}
	}
	if len(lines) != 4 || len(settings) < 10 {
		t.Errorf("%d command lines and %d settings were found", len(lines), len(settings))
	}
}

// A job fails at once where trying again would not help, and counts no pod that was told to end.
func TestManifestsKnowTheExitCodes(t *testing.T) {
	codes := map[string][]int{}
	manifests(t, func(_ string, m map[string]any) {
		if on, is := m["onExitCodes"].(map[string]any); is {
			for _, code := range on["values"].([]any) {
				codes[m["action"].(string)] = append(codes[m["action"].(string)], code.(int))
			}
		}
	})
	var lasting []int
	for _, k := range []fault.Kind{fault.Config, fault.Data, fault.Runtime} {
		lasting = append(lasting, k.Consequence().Exit)
	}
	told := []int{fault.Interrupted.Consequence().Exit, 128 + 15} // the latter is a process that SIGTERM kills
	if len(codes) != 2 || !slices.Equal(codes["FailJob"], lasting) || !slices.Equal(codes["Ignore"], told) {
		t.Errorf("%v, want FailJob %v, Ignore %v", codes, lasting, told)
	}
}

// The cluster's configuration is one that the server takes, of the version that all tests run with.
func TestManifestsOfNATS(t *testing.T) {
	t.Setenv("NATS_NAME", "nats-0")
	t.Setenv("VITFT_QUEUE_TOKEN", "q0123456789")
	o, err := server.ProcessConfigFile(filepath.Join(testkit.Root(), "deploy", "kubernetes", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if o.ServerName != "nats-0" || o.Authorization != "q0123456789" || !o.JetStream || o.Cluster.Name == "" ||
		len(o.Routes) != 3 {
		t.Errorf("%+v", o)
	}
	manifests(t, func(file string, m map[string]any) {
		if image, is := m["image"].(string); is && m["name"] == "nats" && image != "nats:"+server.VERSION {
			t.Errorf("%s: image %s, want that of %s", file, image, server.VERSION)
		}
	})
}
