package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// said is what one way of asking says of an image.
type said struct {
	label      string
	confidence float64
}

// TestAllWaysAgree trains on Caltech-101 with a real ViT and asks about the test photos in every way there is: the run
// itself, evaluate, predict, the Go API, the HTTP server, the exported file in Python's ONNX Runtime with Pillow. All
// of them must name the same class for every photo, with the same probability up to 1e-4. In CI on a part of the
// photos; with VITFT_ALL_PHOTOS=1 on all.
func TestAllWaysAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("encodes 100 photos, and half of them five times more")
	}
	ort.Need(t)
	backbone, work := testkit.Model(t), t.TempDir()
	train, test := testkit.Unpacked(t, "caltech101", "train"), testkit.Unpacked(t, "caltech101", "test")
	cache := os.Getenv("VITFT_CACHE")
	if cache == "" {
		cache = filepath.Join(work, "cache")
	}
	if os.Getenv("VITFT_ALL_PHOTOS") == "" {
		four := func(int) int { return 4 }
		train, test = testkit.Manifest(t, train, 12, four), testkit.Manifest(t, test, 12, four)
	}
	run, model := filepath.Join(work, "run"), filepath.Join(work, "model.onnx")
	must := func(t *testing.T, args ...string) string {
		t.Helper()
		code, stdout, stderr := vitft(t, append(args, "--provider", "cpu", "--quiet")...)
		if code != 0 {
			t.Fatalf("vitft %.300s: exit code %d: %s", strings.Join(args, " "), code, stderr)
		}
		return stdout
	}
	must(t, "finetune", "--backbone", backbone, "--train", train, "--test", test, "--out", run, "--cache", cache,
		"--calibration", "temperature", "--folds", "2")
	must(t, "export", "--run", run, "--out", model, "--images", "50", "--cache", cache)

	want := fromCSV(t, filepath.Join(run, "predictions.csv"))
	var paths []string
	for path := range want {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	t.Logf("%d photos", len(paths))
	ways := map[string]func(t *testing.T) map[string]said{
		"evaluate": func(t *testing.T) map[string]said {
			out := filepath.Join(work, "evaluated.csv")
			must(t, "evaluate", "--run", run, "--test", test, "--out", out,
				"--cache", filepath.Join(work, "empty cache"))
			return fromCSV(t, out)
		},
		"predict": func(t *testing.T) map[string]said {
			answers := map[string]said{}
			for _, p := range predictions(t, must(t, append([]string{"predict", "--model", model}, paths...)...)) {
				answers[p.Path] = said{p.Label, p.Confidence}
			}
			return answers
		},
		"Go API":      func(t *testing.T) map[string]said { return fromClassifier(t, model, paths) },
		"HTTP server": func(t *testing.T) map[string]said { return fromServer(t, model, paths) },
		"Python":      func(t *testing.T) map[string]said { return fromPython(t, model, paths) },
	}
	for name, ask := range ways {
		t.Run(name, func(t *testing.T) {
			got, far := ask(t), 0.0
			if len(got) != len(want) {
				t.Fatalf("%d answers for %d photos", len(got), len(want))
			}
			for path, w := range want {
				g := got[path]
				far = max(far, math.Abs(g.confidence-w.confidence))
				if g.label != w.label || math.Abs(g.confidence-w.confidence) > 1e-4 {
					t.Errorf("%s is %+v, the run said %+v", path, g, w)
				}
			}
			t.Logf("%d labels are the run's; probabilities differ by at most %.1e", len(got), far)
		})
	}
}

func fromCSV(t *testing.T, path string) map[string]said {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]said{}
	for _, row := range rows[1:] {
		p, err := strconv.ParseFloat(row[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		answers[row[0]] = said{row[2], p}
	}
	return answers
}

func fromClassifier(t *testing.T, model string, paths []string) map[string]said {
	t.Helper()
	c, err := classify.Open(model, classify.Options{Device: device.Options{Provider: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := map[string]said{}
	for batch := range slices.Chunk(paths, 50) {
		var encoded [][]byte
		for _, path := range batch {
			encoded = append(encoded, testkit.ReadFile(t, path))
		}
		results, err := c.ClassifyBatch(t.Context(), encoded)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil {
				t.Fatalf("%s: %v", batch[i], r.Err)
			}
			answers[batch[i]] = said{r.Label, float64(r.Confidence)}
		}
	}
	return answers
}

func fromServer(t *testing.T, model string, paths []string) map[string]said {
	t.Helper()
	url, stop := serving(t, "--model", model)
	answers := map[string]said{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.Post(url+"/v1/classify?top=1", "image/jpeg", f)
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			Results []struct {
				Label      string
				Confidence float64
			}
		}
		err = json.NewDecoder(r.Body).Decode(&a)
		r.Body.Close()
		f.Close()
		if err != nil || len(a.Results) != 1 {
			t.Fatalf("%s: %s, %v", path, r.Status, err)
		}
		answers[path] = said{a.Results[0].Label, a.Results[0].Confidence}
	}
	if code, stderr := stop(); code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	return answers
}

// serving starts `vitft serve` and returns its URL, and what ends it.
func serving(t *testing.T, args ...string) (url string, stop func() (code int, stderr string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		serve := []string{"serve", "--addr=127.0.0.1:0", "--provider=cpu", "--log-format=json", "--drain=0s"}
		ended <- execute(ctx, append(serve, args...), io.Discard, w)
		w.Close()
	}()
	found, log := make(chan string, 1), make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var line struct{ URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.URL != "" {
				found <- line.URL
			}
			all.WriteString(lines.Text() + "\n")
		}
		close(found)
		log <- all.String()
	}()
	stop = func() (int, string) {
		cancel()
		return <-ended, <-log
	}
	url, ok := <-found
	if !ok {
		_, stderr := stop()
		t.Fatalf("vitft serve %s: %s", strings.Join(args, " "), stderr)
	}
	return url, stop
}

func fromPython(t *testing.T, model string, paths []string) map[string]said {
	t.Helper()
	python := os.Getenv("VITFT_PYTHON")
	if python == "" {
		t.Skip("VITFT_PYTHON names no Python with onnxruntime, numpy and Pillow (scripts/python.sh makes one)")
	}
	var stderr bytes.Buffer
	script := filepath.Join("..", "..", "engine", "testdata", "classify.py")
	cmd := exec.Command(python, append([]string{script, "metadata", model}, paths...)...)
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	answers := map[string]said{}
	for i, p := range predictions(t, string(text)) {
		answers[paths[i]] = said{p.Label, p.Confidence}
	}
	return answers
}
