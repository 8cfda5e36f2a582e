//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit/ort"
)

// ends is how long a program may take that is to end soon: long enough for a busy machine.
const ends = 20 * time.Second

// built is the program as go build makes it.
func built(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vitft")
	if out, err := exec.Command("go", slices.Concat([]string{"build", "-o", path}, flags, []string{"."})...).
		CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// Whatever file is a pipe, every command ends: it refuses the pipe by name or, where a pipe makes sense, waits for it
// no longer than until SIGTERM or Ctrl-C.
func TestPipesInPlaceOfFiles(t *testing.T) {
	ort.Need(t)
	program, home := built(t), t.TempDir()
	pins := filepath.Join("config", "vitft", "models.lock.json")
	// A work folder has train/ of class folders, run/ and files by these names.
	for _, c := range []struct {
		pipe string // in the work folder
		args string
		code int // 130: it waits
	}{
		{"c.yaml", "finetune --config c.yaml", 130},
		{"c.yaml", "serve --config c.yaml", 130},
		{"x.yaml", "sweep x.yaml", 130},
		{"m.csv", "finetune --train m.csv --out new", 3},
		{"m.jsonl", "encode --train m.jsonl", 3},
		{"e.npz", "finetune --train e.npz --out new", 3},
		{"e.npy", "finetune --train e.npy --out new", 3},
		{"e.parquet", "finetune --train e.parquet --out new", 3},
		{"train-images-idx3-ubyte", "finetune --train train-images-idx3-ubyte --out new", 3},
		{"train-images-idx3-ubyte.gz", "finetune --train train-images-idx3-ubyte.gz --out new", 3},
		{"x.zip", "encode --train x.zip", 3},
		{"x.tar", "encode --train x.tar", 3},
		{"shards/data/x.parquet", "encode --train shards", 3},
		{"train/dark/pipe.png", "finetune --train train --out new --max-unreadable 0", 3},
		{"b.onnx", "finetune --train train --backbone b.onnx --out new", 3},
		{"b.onnx", "inspect b.onnx", 3},
		{"p.json", "finetune --train train --preprocess p.json --out new", 3},
		{"run/config.yaml", "finetune --resume --out run", 3},
		{"run/metrics.json", "evaluate --run run --test train", 3},
		{"run/environment.json", "evaluate --run run --test train", 3},
		{"run/head.safetensors", "evaluate --run run --test train", 3},
		{"run/model.onnx", "evaluate --run run --test train", 3},
		{"run/model.onnx", "export --run run --out new.onnx", 3},
		{"run/SHA256SUMS", "export --run run --out new.onnx", 3},
		{"run/predictions.csv", "report run", 3},
		{"run/metrics.json", "report run", 3},
		{"run/model.onnx", "predict --model run train", 3},
		{"run/model.onnx", "predict --model run/model.onnx train", 3},
		{"run/README.md", "predict --model run train", 3},
		{"run/SHA256SUMS", "predict --model run train", 3},
		{"pipe.png", "predict --model run pipe.png", 3},
		{"run/model.onnx", "serve --model run --addr localhost:0", 3},
		{"token", "serve --model run --addr localhost:0 --token-file token", 2},
		{"cert.pem", "serve --model run --addr localhost:0 --tls-cert cert.pem --tls-key key.pem", 2},
		{"key.pem", "serve --model run --addr localhost:0 --tls-cert cert.pem --tls-key key.pem", 2},
		{pins, "models list", 3},
		{"hub/token", "models list", 2},
	} {
		t.Run(strings.Fields(c.args)[0]+" "+strings.ReplaceAll(c.pipe, "/", "-"), func(t *testing.T) {
			dir := workFolder(t, home)
			pipe := filepath.Join(dir, c.pipe)
			if err := os.MkdirAll(filepath.Dir(pipe), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(pipe); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Skip("no pipes here: ", err)
			}
			for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
				cmd := exec.Command(program, strings.Fields(c.args)...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "VITFT_CACHE="+filepath.Join(home, "cache"), "VITFT_PROVIDER=cpu",
					"XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "HF_HOME="+filepath.Join(dir, "hub"))
				var out bytes.Buffer
				cmd.Stdout = &out
				says := started(t, cmd)
				if c.code == 130 {
					w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // opens when the program has opened it
					if err != nil {
						t.Fatal(err)
					}
					defer w.Close()
					if err := cmd.Process.Signal(signal); err != nil {
						t.Fatal(err)
					}
				}
				text := says() + out.String()
				if code := cmd.ProcessState.ExitCode(); code != c.code {
					t.Errorf("exit code %d, want %d: %s", code, c.code, text)
				}
				if c.code != 130 && !strings.Contains(text, filepath.Base(c.pipe)) {
					t.Errorf("the pipe is not named: %s", text)
				}
				if c.code != 130 {
					break
				}
			}
		})
	}
}

// What a list of images on standard input has no end of is waited for until SIGTERM, and what has no end is no setting.
func TestInputsWithoutEnd(t *testing.T) {
	ort.Need(t)
	program, home := built(t), t.TempDir()
	dir := workFolder(t, home)
	cmd := exec.Command(program, "finetune", "--config", "/dev/zero")
	if says := started(t, cmd)(); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(says, "/dev/zero") {
		t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), says)
	}
	cmd = exec.Command(program, "predict", "--model", "run", "-", "--provider", "cpu")
	cmd.Dir = dir
	list, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	says := started(t, cmd)
	if _, err := list.Write([]byte("train/dark/0.png\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := answers.Read(make([]byte, 1)); err != nil { // it has begun
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if text := says(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), text)
	}
}

// workFolder has images in train/ and a finished run in run/, which is trained once for a home.
func workFolder(t *testing.T, home string) string {
	t.Helper()
	made := filepath.Join(home, "made")
	if _, err := os.Stat(made); err != nil {
		if err := os.CopyFS(filepath.Join(made, "train"), os.DirFS(photos(t, 4))); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := vitft(t, "finetune", "--train", filepath.Join(made, "train"), "--out",
			filepath.Join(made, "run"), "--epochs", "2", "--provider", "cpu", "--quiet", "--cache",
			filepath.Join(home, "cache")); code != 0 {
			t.Fatal(stderr)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// started starts a command; says waits for its end, which is soon, and is what it wrote to standard error.
func started(t *testing.T, cmd *exec.Cmd) (says func() string) {
	t.Helper()
	var text bytes.Buffer
	cmd.Stderr = &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		late := time.AfterFunc(ends, func() { cmd.Process.Kill() })
		_ = cmd.Wait()
		if !late.Stop() {
			t.Errorf("%v does not end", cmd.Args)
		}
		return text.String()
	}
}
