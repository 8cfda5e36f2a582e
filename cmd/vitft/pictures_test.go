package main

import (
	"bytes"
	"encoding/json"
	"image/png"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// A run that is watched is the run that nobody watches, bit for bit; whoever looks sees it finished and gets the
// report. What the report shows is in the run folder: it is written anew when the photos are gone.
func TestWatchedRun(t *testing.T) {
	ort.Need(t)
	dir, work := photos(t, 8), t.TempDir()
	finetune := func(out string, more ...string) {
		t.Helper()
		if code, _, stderr := vitft(t, append([]string{"finetune", "--train", dir, "--test", dir, "--out", out,
			"--cache", filepath.Join(work, "cache"), "--epochs", "3", "--provider", "cpu", "--quiet"},
			more...)...); code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
	}
	alone, watched := filepath.Join(work, "alone"), filepath.Join(work, "watched")
	finetune(alone)
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	seen := make(chan string)
	go func() {
		client := http.Client{Timeout: 10 * time.Second}
		for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(5 * time.Millisecond) {
			var s struct {
				Epochs int
				Report bool
			}
			if r, err := client.Get("http://" + addr + "/state"); err == nil {
				err = json.NewDecoder(r.Body).Decode(&s)
				r.Body.Close()
				if err == nil && s.Report && s.Epochs == 3 {
					r, err := client.Get("http://" + addr + "/report.html")
					if err != nil {
						seen <- err.Error()
						return
					}
					var page bytes.Buffer
					page.ReadFrom(r.Body)
					r.Body.Close()
					seen <- page.String()
					return
				}
			}
		}
		seen <- "nothing"
	}()
	finetune(watched, "--watch", addr)
	report := string(testkit.ReadFile(t, watched, "report.html"))
	if got := <-seen; got != report {
		t.Errorf("whoever looks sees %.100q", got)
	}
	for _, name := range []string{"head.safetensors", "model.onnx", "predictions.csv", "kappa.csv", "config.yaml",
		"pictures.json"} {
		if !bytes.Equal(testkit.ReadFile(t, alone, name), testkit.ReadFile(t, watched, name)) {
			t.Errorf("%s of the watched run is another", name)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := vitft(t, "report", watched); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if again := string(testkit.ReadFile(t, watched, "report.html")); again != report {
		t.Error("without the photos the report is another")
	}
	if strings.Contains(report, work) || !strings.Contains(report, "data:image/jpeg") {
		t.Error("the report has a path of this machine, or no photos")
	}
	if code, _, stderr := vitft(t, "finetune", "--train", dir, "--watch", "0.0.0.0:0"); code != 2 ||
		!strings.Contains(stderr, "localhost") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// predict --explain writes a picture and numbers for each image, and names them on its line.
func TestPredictExplains(t *testing.T) {
	ort.Need(t)
	dir, work := photos(t, 8), t.TempDir()
	run := filepath.Join(work, "run")
	if code, _, stderr := vitft(t, "finetune", "--train", dir, "--out", run, "--epochs", "2", "--cache",
		filepath.Join(work, "cache"), "--provider", "cpu", "--quiet"); code != 0 {
		t.Fatal(stderr)
	}
	one, two := filepath.Join(dir, "light", "1.png"), filepath.Join(dir, "dark", "1.png")
	why := filepath.Join(work, "why")
	code, stdout, stderr := vitft(t, "predict", "--model", run, "--provider", "cpu", "--quiet", "--explain", why,
		one, two)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for i, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
		var p struct {
			Path, Label string
			Explained   struct{ Overlay, Numbers string }
		}
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		base := filepath.Join(why, []string{"1-why", "1-why-2"}[i])
		if p.Explained.Overlay != base+".png" || p.Explained.Numbers != base+".json" {
			t.Errorf("%s", line)
		}
		if _, err := png.Decode(bytes.NewReader(testkit.ReadFile(t, p.Explained.Overlay))); err != nil {
			t.Error(err)
		}
		var numbers struct {
			Path, Label string
			Grid        [][]float64
		}
		if err := json.Unmarshal(testkit.ReadFile(t, p.Explained.Numbers), &numbers); err != nil ||
			numbers.Path != p.Path || numbers.Label != p.Label || len(numbers.Grid) < 4 {
			t.Errorf("%v %+v", err, numbers)
		}
	}
	alone := filepath.Join(work, "alone.png")
	for _, x := range []struct {
		code int
		says string
		args []string
	}{{0, "", []string{alone, one}}, {2, "several", []string{alone, one, two}},
		{2, "cannot be used as a folder", []string{one + "/x", one}},
		{2, "is the photo", []string{one, one}}, {2, "several", []string{alone, dir}}} {
		args := append([]string{"predict", "--model", run, "--provider", "cpu", "--quiet", "--explain"}, x.args...)
		if code, _, stderr := vitft(t, args...); code != x.code || !strings.Contains(stderr, x.says) {
			t.Errorf("%v: exit code %d, %s", x.args, code, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(work, "alone.json")); err != nil {
		t.Error(err)
	}
}
