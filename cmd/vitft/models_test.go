package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/models"
)

const hubCommit = "0123456789abcdef0123456789abcdef01234567"

// hub serves the embedded backbone as owner/micro, and keeps this test's pulls in folders of its own. instead answers
// first; it returns false to pass on.
func hub(t *testing.T, instead func(w http.ResponseWriter, r *http.Request) bool) (model []byte) {
	t.Helper()
	model, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(model)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if instead != nil && instead(w, r) {
			return
		}
		switch r.URL.Path {
		case "/api/models/owner/micro/revision/main":
			fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"onnx/model.onnx"},{"rfilename":"README.md"}]}`, hubCommit)
		case "/owner/micro/resolve/" + hubCommit + "/onnx/model.onnx":
			w.Header().Set("X-Repo-Commit", hubCommit)
			w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(model))
		default:
			w.Header().Set("X-Error-Code", "RepoNotFound")
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	for name, value := range map[string]string{
		"HF_ENDPOINT": server.URL, "HF_HOME": filepath.Join(dir, "hf"), "HF_HUB_CACHE": "", "HF_TOKEN": "",
		"HF_TOKEN_PATH": "", "HF_HUB_OFFLINE": "",
		"HOME": dir, "XDG_CONFIG_HOME": filepath.Join(dir, "config"), "XDG_CACHE_HOME": filepath.Join(dir, "cache"),
	} {
		t.Setenv(name, value)
	}
	return model
}

func TestModelsPull(t *testing.T) {
	model := hub(t, nil)
	code, stdout, stderr := vitft(t, "models", "pull", "owner/micro")
	if code != 0 || !strings.Contains(stdout, "--backbone owner/micro") || !strings.Contains(stdout, hubCommit) {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	var pulled models.Pulled
	code, stdout, _ = vitft(t, "models", "pull", "owner/micro", "--offline", "--json")
	if err := json.Unmarshal([]byte(stdout), &pulled); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %q", code, err, stdout)
	}
	if got, err := os.ReadFile(pulled.Path); err != nil || !bytes.Equal(got, model) {
		t.Errorf("%s has %d bytes, %v", pulled.Path, len(got), err)
	}
	code, stdout, _ = vitft(t, "models", "list")
	if code != 0 || !strings.Contains(stdout, "owner/micro:onnx/model.onnx") ||
		!strings.Contains(stdout, "dinov2-small") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	var list []models.Pulled
	code, stdout, _ = vitft(t, "models", "list", "--json")
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != 0 || len(list) != len(models.List())+1 ||
		list[len(list)-1].Path != pulled.Path {
		t.Errorf("exit code %d, %v: %+v", code, err, list)
	}
	code, stdout, stderr = vitft(t, "inspect", "owner/micro", "--json")
	if code != 0 || !strings.Contains(stdout, models.Default().SHA256) {
		t.Errorf("inspect: exit code %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, _ = vitft(t, "models", "pull", models.Default().Name)
	if code != 0 || !strings.Contains(stdout, "nothing to pull") {
		t.Errorf("the embedded backbone: exit code %d, %q", code, stdout)
	}

	ort.Need(t)
	run := filepath.Join(t.TempDir(), "run")
	code, _, stderr = vitft(t, "finetune", "--train", photos(t, 4), "--backbone", "owner/micro:onnx/model.onnx",
		"--out", run, "--cache", t.TempDir(), "--epochs", "2", "--provider", "cpu", "--quiet")
	if code != 0 {
		t.Fatalf("finetune: exit code %d, %q", code, stderr)
	}
	if text, err := os.ReadFile(filepath.Join(run, "config.yaml")); err != nil ||
		!strings.Contains(string(text), "backbone: owner/micro:onnx/model.onnx") {
		t.Errorf("config.yaml: %s, %v", text, err)
	}
}

func TestModelsPullExitCodes(t *testing.T) {
	answer := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
	}
	spoil := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ".onnx") {
			return false
		}
		_, _ = io.WriteString(w, strings.Repeat("spoilt ", 2<<20))
		return true
	}
	for _, x := range []struct {
		args    []string
		instead func(http.ResponseWriter, *http.Request) bool
		code    int
		names   string
	}{
		{[]string{"models", "pull"}, nil, 2, "arg"},
		{[]string{"models", "pull", "dinov3-small"}, nil, 2, "dinov2-small"},
		{[]string{"models", "pull", "owner/none"}, nil, 2, "owner/none"},
		{[]string{"models", "pull", "owner/micro:none.onnx"}, nil, 2, "none.onnx"},
		{[]string{"models", "pull", "owner/micro"}, answer(http.StatusForbidden), 2, "HF_TOKEN"},
		{[]string{"models", "pull", "owner/micro"}, answer(http.StatusGone), 1, "410"},
		{[]string{"models", "pull", "owner/micro"}, spoil, 3, "digest"},
		{[]string{"models", "pull", "owner/micro", "--offline"}, nil, 3, "offline"},
		{[]string{"models", "pull", "vit-tiny-patch16-224"}, nil, 3, "path of its file"},
		{[]string{"inspect", "dinov2-small"}, nil, 3, "vitft models pull dinov2-small"},
		{[]string{"inspect", "owner/micro"}, nil, 3, "vitft models pull owner/micro"},
		{[]string{"finetune", "--train", photos(t, 2), "--backbone", "dinov2-base"}, nil, 3,
			"vitft models pull dinov2-base"},
		{[]string{"finetune", "--train", photos(t, 2), "--backbone", "owner/micro.onnx"}, nil, 3, "no file"},
	} {
		hub(t, x.instead)
		code, stdout, stderr := vitft(t, x.args...)
		if code != x.code || !strings.Contains(stderr, x.names) || stdout != "" {
			t.Errorf("vitft %s: exit code %d, want %d; %q, want it to name %q", strings.Join(x.args, " "), code, x.code,
				stderr, x.names)
		}
	}
	t.Setenv("HF_ENDPOINT", "nowhere")
	if code, _, stderr := vitft(t, "inspect", "dinov2-small"); code != 2 || !strings.Contains(stderr, "HF_ENDPOINT") {
		t.Errorf("a bad HF_ENDPOINT: exit code %d, %q", code, stderr)
	}
}

// TestModelsPullInterrupted presses Ctrl-C in the middle of a file.
func TestModelsPullInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	asked := 0
	var model []byte
	model = hub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ".onnx") {
			return false
		}
		if asked++; asked > 1 {
			if r.Header.Get("Range") != "bytes=1000-" {
				t.Errorf("the second pull asks for %q", r.Header.Get("Range"))
			}
			return false
		}
		w.Header().Set("Content-Length", "100000000")
		_, _ = w.Write(model[:1000])
		_ = http.NewResponseController(w).Flush()
		time.AfterFunc(500*time.Millisecond, cancel) // time enough to have read it
		<-r.Context().Done()
		return true
	})
	var stdout, stderr bytes.Buffer
	if code := execute(ctx, []string{"models", "pull", "owner/micro"}, &stdout, &stderr); code != 130 ||
		!strings.Contains(stderr.String(), "1000 bytes of onnx/model.onnx are kept") {
		t.Fatalf("exit code %d, %q", code, stderr.String())
	}
	if code, _, stderr := vitft(t, "models", "pull", "owner/micro"); code != 0 {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
}
