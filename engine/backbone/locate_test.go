package backbone

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/models"
)

// A name is no path, and what is there as a file is no name.
func TestIsName(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.MkdirAll("owner", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("owner", "here"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for backbone, want := range map[string]bool{
		Default():                     true,
		"dinov2-small":                true,
		"dinov2-small@main":           true,
		"owner/vit":                   true,
		"owner/vit:onnx/model.onnx":   true,
		"owner/vit:model.onnx@v1":     true,
		"owner/here":                  false, // a file
		"owner/vit.onnx":              false,
		"vit.onnx":                    false,
		"./owner/vit":                 false,
		filepath.Join(dir, "owner/x"): false,
	} {
		if isName(backbone) != want {
			t.Errorf("isName(%q) = %v", backbone, !want)
		}
		c := Options{Name: backbone}
		if setting.Fill(c.Fields()); want && c.Name != backbone {
			t.Errorf("%q became the path %s", backbone, c.Name)
		}
	}
}

// What lies in the hub's cache is found by name, with its repository's preprocessing; what does not is bad data, and
// the message names the cure.
func TestBackboneFromTheHubsCache(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{
		"HF_HOME": home, "HF_HUB_CACHE": "", "HF_ENDPOINT": "", "XDG_CONFIG_HOME": home, "HOME": home} {
		t.Setenv(name, value)
	}
	c := Options{Name: "dinov2-small"}
	_, _, err := read(c.Name)
	if fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "vitft models pull dinov2-small") {
		t.Errorf("before the pull: %v", err)
	}

	data, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// a model that does not say itself
	data = bytes.ReplaceAll(data, []byte(artifact.PreprocessKey), []byte("vitft.preproces_"))
	commit := strings.Repeat("c", 40)
	repository := filepath.Join(home, "hub", "models--onnx-community--dinov2-small")
	for path, content := range map[string]string{
		"refs/main": commit,
		"snapshots/" + commit + "/onnx/model.onnx": string(data),
		"snapshots/" + commit + "/preprocessor_config.json": `{"image_processor_type":"ViTImageProcessor",
			"size":{"height":28,"width":28},"resample":2,"image_mean":[0.1,0.2,0.3],"image_std":[0.5,0.5,0.5]}`,
	} {
		path = filepath.Join(repository, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Inspect(c)
	if err != nil || r.Preprocess == nil || r.Preprocess.Mean[2] != 0.3 ||
		!strings.Contains(r.PreprocessFrom, "preprocessor_config.json") {
		t.Errorf("%+v, %v", r, err)
	}
	t.Setenv("HF_HOME", filepath.Join(home, "elsewhere"))
	t.Setenv("HF_ENDPOINT", "nonsense")
	if _, err := Inspect(c); fault.Of(err) != fault.Config {
		t.Errorf("a bad HF_ENDPOINT: %v", err)
	}
	if _, err := Inspect(Options{}); err != nil {
		t.Errorf("the embedded backbone needs no hub: %v", err)
	}
}

// What lies beside a model under the name of its preprocessing, but is no file, is not waited for.
func TestPipesBesideTheModel(t *testing.T) {
	for name, says := range map[string]string{
		"preprocessor_config.json": "preprocessor_config.json is a pipe",
		"config.json":              "", // may be anybody's
		"processor_config.json":    "",
	} {
		dir := t.TempDir()
		model := testkit.WriteFile(t, filepath.Join(dir, "m.onnx"),
			testkit.ReadFile(t, "..", "..", "onnx", "vision", "testdata", "pooled.onnx"))
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := Inspect(Options{Name: model})
			ended <- err
		}()
		select {
		case err := <-ended:
			if refused := err != nil; refused != (says != "") ||
				refused && (fault.Of(err) != fault.Data || !strings.Contains(err.Error(), says)) {
				t.Errorf("%s: %v, want %q", name, err, says)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: still reading", name)
		}
	}
}
