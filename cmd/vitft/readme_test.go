//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
)

// The README's lines work as they stand and in their order, from an empty home, on real photos: but for those that are
// CI itself, and the installation, which builds this checkout in place of a version that is published. A ViT-Tiny comes
// from a hub of the test's own under the name that the README has. The machines that share work are this one, and the
// buckets those of a server of the test's own; without one these lines are left out, aloud.
func TestReadme(t *testing.T) {
	ort.Need(t)
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	library, err := onnx.Find("")
	if err != nil {
		t.Fatal(err)
	}
	program, port := built(t), freePort(t)
	servesViTTiny(t, "onnx-community/dinov2-small")
	home := os.Getenv("HOME")
	slice(t, home)
	defer place.Forget()
	server := os.Getenv("VITFT_S3SERVER") != ""
	if server {
		s3 := testkit.StartS3(t, "photos", t.TempDir())
		uploaded(t, filepath.Join(home, "photos", "train"), "s3://photos/train?endpoint="+s3.Endpoint)
		if err := os.Mkdir(filepath.Join(s3.Folder, "team"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_ENDPOINT_URL", s3.Endpoint)
	} else {
		t.Log("VITFT_S3SERVER names no S3 server (scripts/s3server.sh makes one): the lines with buckets are not run")
	}
	queue := freePort(t)
	script := []string{"set -e", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"}
	for _, line := range readmeLines(t) {
		line = strings.NewReplacer("0.0.0.0:4222", "127.0.0.1:"+queue, "first:4222", "127.0.0.1:"+queue).Replace(line)
		switch {
		case strings.Contains(line, "s3://") && !server:
			continue
		case strings.HasPrefix(line, "vitft encode "):
			line, _, _ = strings.Cut(line, " #")
			line += " --task-images 4 & submitted=$!; until (: </dev/tcp/127.0.0.1/" + queue + ") 2>/dev/null; do " +
				"sleep 0.1; kill -0 $submitted; done"
		case strings.HasPrefix(line, "vitft worker "):
			line, _, _ = strings.Cut(line, " #")
			line += " & worker=$!; wait $submitted; kill $worker; wait $worker || true"
		case strings.HasPrefix(line, "make demo "), strings.HasPrefix(line, "make test "):
			continue
		case strings.HasPrefix(line, "go install github.com/vitft/vitft/cmd/vitft@latest"):
			line = fmt.Sprintf("mkdir -p ~/go/bin && cp '%s' ~/go/bin/", program)
		}
		line = strings.ReplaceAll(line, "localhost:8080", "localhost:"+port)
		line = strings.ReplaceAll(line, "localhost:8081", "localhost:0")
		script = append(script, "echo '+ '"+quoted(line)+" >&2", line)
		if strings.HasSuffix(line, "&") {
			ready := "curl -sf localhost:" + port + "/readyz >ready"
			script = append(script, "for i in $(seq 100); do "+ready+" && break; sleep 0.1; done")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", strings.Join(script, "\n"))
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = home, &stdout, &stderr, time.Second
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(home, "go", "bin")+":"+os.Getenv("PATH"),
		"VITFT_MIRROR="+library.Path, onnx.LibraryEnv+"=", "VITFT_CACHE=")
	if content, err := os.ReadFile(library.Path); err != nil || !pinnedLibrary(content) {
		t.Log("the library of this machine is not the pinned one: vitft setup is told of it, and fetches nothing")
		cmd.Env = append(cmd.Env, onnx.LibraryEnv+"="+library.Path)
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout.String(), stderr.String())
	}
	said := stdout.String()
	for _, want := range []string{"fetched and checked", "use it with --backbone dinov2-small", "nothing was encoded",
		"report: run/report.html", `{"path":"new/1.jpg","label":`, `"overlay":"why/1-why.png"`, `"balanced_accuracy": `,
		"written      web/onnx/model.onnx", "embeddings of 192 values: features.parquet",
		`"label":`, "config.yaml: edit it", "report: run2/report.html", "sweep folder: sweep-losses"} {
		if !strings.Contains(said, want) && !(want == "fetched and checked" && strings.Contains(said, "is there:")) {
			t.Errorf("nothing says %q", want)
		}
	}
	if t.Failed() || strings.Contains(stderr.String(), "ERR") {
		t.Errorf("%s\n%s", said, stderr.String())
	}
}

// readmeLines are the lines of the README's blocks for a shell.
func readmeLines(t *testing.T) (lines []string) {
	t.Helper()
	text := string(testkit.ReadFile(t, filepath.Join(testkit.Root(), "README.md")))
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) < 10 {
		t.Fatalf("the README has the lines %q", lines)
	}
	return lines
}

// pinnedLibrary says whether vitft setup would take a library.
func pinnedLibrary(content []byte) bool {
	sum := sha256.Sum256(content)
	pins, err := os.ReadFile(filepath.Join(testkit.Root(), "engine", "library", "pins.txt"))
	return err == nil && bytes.Contains(pins, []byte(hex.EncodeToString(sum[:])))
}

// servesViTTiny serves the real ViT-Tiny as the model of a repository, and keeps pulls in folders of the test's own.
func servesViTTiny(t *testing.T, repository string) {
	t.Helper()
	model := testkit.ReadFile(t, testkit.Model(t))
	config := []byte(`{"image_processor_type": "ViTImageProcessor", "do_resize": true, "do_rescale": true,
		"do_normalize": true, "size": {"height": 224, "width": 224}, "resample": 3, "rescale_factor": 0.00392156862745098,
		"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}`)
	hub(t, func(w http.ResponseWriter, r *http.Request) bool {
		file := func(content []byte) bool {
			sum := sha256.Sum256(content)
			w.Header().Set("X-Repo-Commit", hubCommit)
			w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			return true
		}
		switch r.URL.Path {
		case "/api/models/" + repository + "/revision/main":
			fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"onnx/model.onnx"},{"rfilename":"preprocessor_config.json"}]}`,
				hubCommit)
			return true
		case "/" + repository + "/resolve/" + hubCommit + "/onnx/model.onnx":
			return file(model)
		case "/" + repository + "/resolve/" + hubCommit + "/preprocessor_config.json":
			return file(config)
		}
		return false
	})
}

// slice lays out photos of three classes as the README has them.
func slice(t *testing.T, home string) {
	t.Helper()
	at := testkit.Unpacked(t, "caltech101")
	n := 0
	for k, class := range []string{"airplanes", "lobster", "lotus"} {
		for _, part := range []struct {
			from, to string
			photos   int
		}{{"train", "train", 8 - 2*k}, {"test", "test", 3}, {"test", "new", 1}} {
			paths, err := filepath.Glob(filepath.Join(at, part.from, class, "*.jpg"))
			if err != nil || len(paths) < part.photos {
				t.Fatalf("%s of %s: %d photos, %v", part.from, class, len(paths), err)
			}
			slices.Sort(paths)
			for _, path := range paths[:part.photos] {
				to := filepath.Join(home, "photos", part.to, class, filepath.Base(path))
				if part.to == "new" {
					n++
					to = filepath.Join(home, "new", fmt.Sprintf("%d.jpg", n))
				}
				testkit.WriteFile(t, to, testkit.ReadFile(t, path))
			}
		}
	}
}
