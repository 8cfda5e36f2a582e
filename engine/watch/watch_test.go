package watch_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/watch"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit/browser"
)

type state struct {
	Stages []struct {
		Name        string
		Done, Total int
		Rate, Left  float64
	}
	Epochs   int
	Figures  map[string]string
	Warnings []string
	Ended    bool
	Error    string
	Report   bool
}

func listen(t *testing.T, dir string) *watch.Watch {
	t.Helper()
	w, err := watch.Listen("localhost:0", dir)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func get(t *testing.T, url, host string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}

func ask(t *testing.T, w *watch.Watch, query string) (s state) {
	t.Helper()
	status, text := get(t, w.URL()+"state"+query, "")
	if err := json.Unmarshal([]byte(text), &s); err != nil || status != 200 {
		t.Fatalf("%d %v: %s", status, err, text)
	}
	return s
}

func epoch(n int) head.Epoch {
	return head.Epoch{Number: n, Phase: "cvs", Loss: 1 / float64(n), LR: 0.1, Train: head.Accuracy{
		Balanced: new(0.5 + 0.01*float64(n)), Many: new(0.9), Few: new(0.1)}}
}

// write puts a report into the folder of a run.
func write(t *testing.T, dir string) {
	t.Helper()
	page := "<!doctype html><html lang=en><title>The report</title><link rel=icon href='data:,'><h1>The report</h1>"
	if err := os.WriteFile(filepath.Join(dir, "report.html"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The state is what events say, passed on to those who listened before; figures come when there are new epochs.
func TestState(t *testing.T) {
	dir := t.TempDir()
	write(t, dir) // of an earlier run
	w := listen(t, dir)
	var notes, steps int
	ev := w.Events(event.Events{Note: func(event.Level, string, ...any) { notes++ },
		Progress: func(event.Stage, string, int, int) { steps++ }})
	ev.Info("something")
	ev.Warn("an image is bad", "path", "a.jpg")
	ev.Report(event.Encode, "train", 0, 100)
	time.Sleep(10 * time.Millisecond)
	ev.Report(event.Encode, "train", 40, 100)
	s := ask(t, w, "")
	if len(s.Stages) != 1 || s.Stages[0].Name != "encode train" || s.Stages[0].Done != 40 || s.Stages[0].Rate <= 0 ||
		s.Stages[0].Left <= 0 || len(s.Warnings) != 1 || s.Warnings[0] != "an image is bad; path: a.jpg" ||
		notes != 2 || steps != 2 || s.Ended || s.Report || s.Figures != nil {
		t.Errorf("%+v after %d notes and %d steps", s, notes, steps)
	}
	w.Epoch(epoch(1))
	w.Epoch(epoch(2))
	if s := ask(t, w, "?epochs=0"); s.Epochs != 2 || !strings.Contains(s.Figures["loss"], "epoch 2 (cvs): loss 0.5") ||
		!strings.Contains(s.Figures["accuracy"], "balanced 0.52") {
		t.Errorf("%+v", s)
	}
	if s := ask(t, w, "?epochs=2"); s.Figures != nil {
		t.Error("figures that are known are sent again")
	}
	if status, _ := get(t, w.URL()+"report.html", ""); status != http.StatusNotFound {
		t.Errorf("the report of an earlier run is answered with %d", status)
	}
	for _, host := range []string{"evil.example", "localhost.evil.example:80", "192.0.2.1"} {
		if status, text := get(t, w.URL()+"state", host); status != http.StatusMisdirectedRequest {
			t.Errorf("host %s is answered with %d %s", host, status, text)
		}
	}
	if r, err := http.Post(w.URL()+"state", "text/plain", nil); err != nil || r.StatusCode != 405 {
		t.Errorf("a post is answered with %v %v", r, err)
	}
	ended := make(chan error)
	go func() { ended <- w.End(errors.New("it diverged")) }()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		s := ask(t, w, "")
		if s.Ended && s.Error == "it diverged" && !s.Report {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("the end is not told: %+v", s)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(w.URL()); err == nil {
		t.Error("the server goes on after the end")
	}
}

// Without anybody who looks the end takes no time.
func TestEndWithoutReaders(t *testing.T) {
	begin := time.Now()
	if err := listen(t, t.TempDir()).End(nil); err != nil || time.Since(begin) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestListenRefuses(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "example.com:80", "192.0.2.1:0", "localhost", "8080",
		"localhost:nonsense", "localhost:99999"} {
		_, err := watch.Listen(addr, "run")
		if fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "watch:") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	w := listen(t, "run")
	defer w.End(nil)
	taken := strings.TrimSuffix(strings.TrimPrefix(w.URL(), "http://"), "/")
	if _, err := watch.Listen(taken, "run"); fault.Of(err) != fault.Config {
		t.Errorf("a port that is taken: %v", err)
	}
}

// In a real browser the page shows stages, curves and warnings as they come, has nothing that axe finds, and ends in
// the report.
func TestPage(t *testing.T) {
	ctx := browser.Start(t)
	dir := t.TempDir()
	w := listen(t, dir)
	ev := w.Events(event.Events{})
	p := browser.Open(t, ctx, strings.TrimSuffix(w.URL(), "/"))
	p.Wait(`document.querySelector('#state').textContent === 'Running.'`)
	ev.Report(event.Encode, "train", 10, 200)
	ev.Report(event.Encode, "train", 150, 200)
	ev.Warn("<b>careful</b>")
	for n := range 12 {
		w.Epoch(epoch(n + 1))
	}
	p.Wait(`document.querySelectorAll('#stages tr').length === 1 && document.querySelectorAll('#figures svg').length === 2 &&
		document.querySelector('#notes').textContent === '<b>careful</b>'`)
	p.Fits()
	p.Shot("live-narrow", 390)
	p.Shot("live", 1100)
	t.Run("axe", func(t *testing.T) { p.Clean(browser.Axe(t)) })
	write(t, dir)
	if err := w.End(nil); err != nil {
		t.Error(err)
	}
	p.Wait(`document.title === 'The report'`)
	p.Calm()
}
