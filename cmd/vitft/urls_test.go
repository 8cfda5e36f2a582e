package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// namesPlace finds, by their help, the settings that name a file or folder.
var namesPlace = regexp.MustCompile(`(?i)\b(file|folder|path|images)\b|\.onnx|\.safetensors`)

// byURL are command lines in which each place is in an object store, U.
const byURL = `
finetune --config U/config.yaml --train U/photos --val U/photos --test U/photos --backbone U/micro.onnx --preprocess U/pre.json --cache U/cache --adapt adapter --out U/run
finetune --adapter U/run/adapter.safetensors --train U/photos --backbone U/micro.onnx --preprocess U/pre.json --epochs 1 --out here
embed --train U/photos --out U/features.parquet
evaluate --run U/run --test U/photos --out U/rows.csv
export --run U/run --test U/photos --out U/web/model.onnx
predict --model U/run U/photos/dark/1.png
report U/run
verify U/run U/web/model.onnx U/cache
inspect U/micro.onnx --preprocess U/pre.json
sweep U/grid.yaml --train U/photos --test U/photos --out U/sweep
report U/sweep
cache list --cache U/cache
cache prune --cache U/cache --backbone U/micro.onnx --dry-run
status --cache U/cache`

// Each setting and argument that names a file or folder takes a URL, or says that it must be a local path; none repeats
// what may be a secret.
func TestEveryPlaceByURL(t *testing.T) {
	defer place.Forget()
	t.Setenv("VITFT_ORT_LIB", ort.Need(t).Path)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("AWS_ENDPOINT_URL", testkit.S3(t, "team"))
	t.Chdir(t.TempDir())
	files := t.TempDir()
	model := filepath.Join(testkit.Root(), "models", "micro_vit.onnx")
	var found struct{ Preprocess any }
	if code, stdout, stderr := vitft(t, "inspect", model, "--json"); code != 0 ||
		json.Unmarshal([]byte(stdout), &found) != nil {
		t.Fatal(code, stdout, stderr)
	}
	preprocess, err := json.Marshal(found.Preprocess)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"micro.onnx": testkit.ReadFile(t, model), "pre.json": preprocess,
		"config.yaml": []byte("epochs: 1\n"), "grid.yaml": []byte("epochs: 1\ngrid: [{loss: [ce, la]}]\n")} {
		testkit.WriteFile(t, filepath.Join(files, name), content)
	}
	uploaded(t, files, "s3://team/x")
	uploaded(t, photos(t, 4), "s3://team/x/photos")

	proven := map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(byURL)) {
		args := words(strings.ReplaceAll(line, "U/", "s3://team/x/"))
		code, stdout, stderr := vitft(t, args...)
		if broken := regexp.MustCompile("s3:/[^/]"); code != 0 || broken.MatchString(stdout+stderr) {
			t.Fatalf("%s: exit code %d: %s%s", strings.TrimSpace(line), code, stdout, stderr)
		}
		command := args[0]
		if command == "cache" {
			command += " " + args[1]
		}
		proven["vitft config"] = proven["vitft config"] || slices.Contains(args, "--config") // which all have
		for i, word := range args {
			if key, is := strings.CutPrefix(word, "--"); is && i+1 < len(args) && strings.Contains(args[i+1], "://") {
				proven[command+" "+key] = true
			}
		}
	}
	for _, name := range []string{"run/report.html", "sweep/report.html", "web/model.onnx", "rows.csv"} {
		if _, err := place.Regular("s3://team/x/" + name); err != nil {
			t.Error(err)
		}
	}

	// What no line names is declared once with what one does, is tested elsewhere, is no place, or stays here.
	fields := eachField()
	says := map[string]bool{}
	for name, f := range fields {
		says[f.Key+f.Help] = says[f.Key+f.Help] || proven[name]
	}
	elsewhere := words("serve,model worker,read init,out serve,token shuffle")
	for name, f := range fields {
		if proven[name] || says[f.Key+f.Help] || slices.Contains(elsewhere, strings.ReplaceAll(name, " ", ",")) ||
			slices.Contains(elsewhere, f.Key) {
			continue
		}
		command := strings.TrimSuffix(name, " "+f.Key)
		local(t, append(words(command), "--"+f.Key)...)
	}
	local(t, "init")
	for _, line := range []string{"verify --repair s3://team/x/run", "verify --repair s3://team/x/cache"} {
		code, _, stderr := vitft(t, words(line)...)
		if code != 2 || !strings.Contains(stderr, "must be a local path") {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}
	for _, line := range []string{"export --run s3://team/x/run --out s3://team/x/run/model.onnx",
		"evaluate --run s3://team/x/run --test s3://team/x/photos --out s3://team/x/run/predictions.csv"} {
		code, _, stderr := vitft(t, words(line)...)
		if code != 2 || !strings.Contains(stderr, "belongs to a finished run") {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}
	for line, want := range map[string]int{"report s3://team/x/none": 3, "verify s3://team/x/none": 3,
		"sweep s3://team/x/none": 2, "finetune --config s3://team/x/none": 2, "inspect s3://team/x/none": 3,
		"inspect s3://team/x/micro.onnx --preprocess s3://team/x/none": 3,
		"cache list --cache s3://nobody/x":                             3} {
		if code, _, stderr := vitft(t, words(line)...); code != want || !strings.Contains(stderr, "s3://") {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}
	for _, line := range words("report verify sweep finetune,--config inspect cache,list,--cache " +
		"predict,x.png,--model evaluate,--test,x,--run") {
		line = strings.ReplaceAll(line, ",", " ")
		code, stdout, stderr := vitft(t, append(words(line), "s3://me:hidden@team/x?secret=hidden")...)
		if code != 2 || strings.Contains(stdout+stderr, "hidden") {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
}

// local wants a command line to refuse a URL at its end.
func local(t *testing.T, args ...string) {
	t.Helper()
	code, _, stderr := vitft(t, append(args, "s3://me:hidden@team/x?secret=hidden")...)
	if code != 2 || !strings.Contains(stderr, "must be a local path") || strings.Contains(stderr, "hidden") {
		t.Errorf("%v takes a URL neither at its word nor as none: exit code %d: %s", args, code, stderr)
	}
}

// eachField are the settings that name a file or folder, by "COMMAND KEY".
func eachField() map[string]setting.Field {
	a, root := newApp(io.Discard, io.Discard)
	all := map[string]setting.Field{}
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		for _, f := range a.fields[cmd] {
			if namesPlace.MatchString(f.Help) && (f.Type == "string" || f.Type == "list") && f.Values == nil {
				all[strings.TrimPrefix(cmd.CommandPath(), "vitft ")+" "+f.Key] = f
			}
		}
		for _, sub := range cmd.Commands() {
			each(sub)
		}
	}
	each(root)
	return all
}
