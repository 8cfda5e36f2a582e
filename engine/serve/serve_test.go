package serve_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// stalled is a request whose body has begun to arrive; the rest comes with finish.
type stalled struct {
	body   *io.PipeWriter
	answer chan *http.Response
	err    error
}

// stall begins a request and returns when the server has accepted it.
func stall(t *testing.T, url string, image []byte) *stalled {
	t.Helper()
	body, w := io.Pipe()
	s := &stalled{w, make(chan *http.Response, 1), nil}
	r, err := http.NewRequest("POST", url+"/v1/classify", body)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		answer, err := http.DefaultClient.Do(r)
		s.err = err
		s.answer <- answer
	}()
	if _, err := w.Write(image[:len(image)/2]); err != nil { // returns when it is on its way
		t.Fatal(err)
	}
	return s
}

func (s *stalled) finish(t *testing.T, image []byte) *http.Response {
	t.Helper()
	if _, err := s.body.Write(image[len(image)/2:]); err != nil {
		t.Error(err)
	}
	s.body.Close()
	answer := <-s.answer
	if s.err != nil {
		t.Fatal(s.err)
	}
	return answer
}

// waiting is the number of images that the server has accepted.
func waiting(t *testing.T, url string) string {
	t.Helper()
	_, text := get(t, url+"/metrics")
	_, after, _ := strings.Cut(text, "\nvitft_waiting_images ")
	n, _, _ := strings.Cut(after, "\n")
	return n
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

// Who comes when the queue is full is sent away with a time to come back, and is served when there is room; several
// images need as much room.
func TestQueueFull(t *testing.T) {
	server := start(t, serve.Options{Queue: 2})
	url := listen(t, server)
	image := trained.Photo(0, 1)
	server.Occupy(1)
	kind, two := form(t, "a", string(image), "b", string(image))
	for range 3 { // what is refused leaves no trace
		r, text := post(t, url+"/v1/classify", kind, bytes.NewReader(two))
		after, err := strconv.Atoi(r.Header.Get("Retry-After"))
		if r.StatusCode != 429 || err != nil || after < 1 || !strings.Contains(text, "too many images") {
			t.Errorf("two more: %d %s, Retry-After %q", r.StatusCode, text, r.Header.Get("Retry-After"))
		}
	}
	if r, text := post(t, url+"/v1/classify", "image/jpeg", bytes.NewReader(image)); r.StatusCode != 200 {
		t.Errorf("one more: %d %s", r.StatusCode, text)
	}
	server.Occupy(1)
	infer := url + "/v2/models/stripes/infer"
	if r, _ := post(t, infer, "application/json", strings.NewReader("{}")); r.StatusCode != 429 {
		t.Errorf("inference: %d", r.StatusCode)
	}
	server.Occupy(-2)
	if r, text := post(t, url+"/v1/classify", kind, bytes.NewReader(two)); r.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", r.StatusCode, text)
	}
	if n := waiting(t, url); n != "0" {
		t.Errorf("%s images still wait", n)
	}
}

// Requests that are slow to arrive are sent away.
func TestSlowBody(t *testing.T) {
	s := start(t, serve.Options{Queue: 1, Timeout: 300 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	l, ended := run(t, s, ctx)
	url := "http://" + l.Addr().String()
	slow := stall(t, url, trained.Photo(0, 1))
	if r := <-slow.answer; slow.err != nil || r.StatusCode != 408 {
		t.Errorf("%v, %v; want 408", r, slow.err)
	}
	if r, text := post(t, url+"/v1/classify", "image/jpeg", bytes.NewReader(trained.Photo(0, 1))); r.StatusCode != 200 {
		t.Errorf("the next one: %d %s", r.StatusCode, text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// run serves on a free port until ctx ends.
func run(t *testing.T, s *serve.Server, ctx context.Context) (net.Listener, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	return l, ended
}

// copyRun puts the files of a run where another one may be put later.
func copyRun(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"README.md", "model.onnx"} {
		part := testkit.WriteFile(t, filepath.Join(to, name+".new"), testkit.ReadFile(t, from, name))
		if err := os.Rename(part, filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// While many clients ask, models are exchanged, one of them by a broken file, and at last the server ends. Every
// request that is accepted is answered, and by the model of the moment; nothing is left behind.
func TestReloadAndStop(t *testing.T) {
	one, two := folder(t, "across", "down"), folder(t, "left", "right")
	dir := filepath.Join(t.TempDir(), "model")
	copyRun(t, one, dir)
	s := start(t, serve.Options{Models: []string{dir}, Drain: new(50 * time.Millisecond)})
	ctx, cancel := context.WithCancel(t.Context())
	l, ended := run(t, s, ctx)
	url := "http://" + l.Addr().String()
	image := trained.Photo(1, 7)
	var stopping atomic.Bool
	var answered atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				r, err := client.Post(url+"/v1/classify", "image/jpeg", bytes.NewReader(image))
				if err != nil {
					if !stopping.Load() {
						t.Error(err)
					}
					return // a server that has ended takes no connections
				}
				text, err := io.ReadAll(r.Body)
				r.Body.Close()
				said := string(text)
				known := strings.Contains(said, `"label":"down"`) || strings.Contains(said, `"label":"right"`)
				if err != nil || r.StatusCode != 200 || !known {
					t.Errorf("%d %s, %v", r.StatusCode, text, err)
				}
				answered.Add(1)
			}
		})
	}
	label := func() string {
		_, text := post(t, url+"/v1/classify", "image/jpeg", bytes.NewReader(image))
		return results(t, text)[0].Label
	}
	more := func() {
		n := answered.Load()
		eventually(t, "twenty more answers", func() bool { return answered.Load() > n+20 })
	}
	more()
	if got := label(); got != "down" {
		t.Errorf("before: %s", got)
	}
	copyRun(t, two, dir)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := label(); got != "right" {
		t.Errorf("after the reload: %s", got)
	}
	more()
	testkit.WriteFile(t, filepath.Join(dir, "model.onnx"), []byte("half a model"))
	err := s.Reload()
	if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "model model is kept as it was") {
		t.Errorf("reload of a broken file: %v", err)
	}
	if got := label(); got != "right" {
		t.Errorf("after a failed reload: %s", got)
	}
	more()
	_, metrics := get(t, url+"/metrics")
	for _, want := range []string{
		`vitft_reloads_total{model="model",outcome="done"} 1`, `vitft_reloads_total{model="model",outcome="failed"} 1`,
		`vitft_images_total{model="model",outcome="failed"} 0`,
		`vitft_http_requests_total{code="200",route="POST /v1/classify"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	late := stall(t, url, image)
	eventually(t, "the late one is accepted", func() bool { return s.Held() >= int64(len(image)/2) })
	stopping.Store(true)
	cancel()
	clients.Wait()
	if r := late.finish(t, image); r.StatusCode != 200 {
		t.Errorf("who was accepted before the end got %d %s", r.StatusCode, read(t, r))
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still takes connections")
	}
}

// A reload that finds a pipe where the model was is over at once, and the old model stays; so the end is not held up.
func TestReloadOfPipe(t *testing.T) {
	dir := t.TempDir()
	copyRun(t, folder(t, "across", "down"), dir)
	s := start(t, serve.Options{Models: []string{"stripes=" + dir}})
	path := filepath.Join(dir, "model.onnx")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfifo", path).CombinedOutput(); err != nil {
		t.Skipf("no pipes here: %v %s", err, out)
	}
	reloaded := make(chan error, 1)
	go func() { reloaded <- s.Reload() }()
	select {
	case err := <-reloaded:
		want := path + " is a pipe, socket or device"
		if err == nil || fault.Of(err) != fault.Data ||
			!strings.HasPrefix(err.Error(), "model stripes is kept as it was: ") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the reload has no end")
	}
	ctx, cancel := context.WithCancel(t.Context())
	l, ended := run(t, s, ctx)
	url := "http://" + l.Addr().String() + "/v1/classify"
	r, text := post(t, url, "image/jpeg", bytes.NewReader(trained.Photo(0, 1)))
	if r.StatusCode != 200 || results(t, text)[0].Label != "across" {
		t.Errorf("the old model: %d %s", r.StatusCode, text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Between the announcement of the end and the end, requests are still answered, each as the last one of its connection.
func TestDrain(t *testing.T) {
	s := start(t, serve.Options{Drain: new(time.Second)})
	ctx, cancel := context.WithCancel(t.Context())
	l, ended := run(t, s, ctx)
	url := "http://" + l.Addr().String()
	if r, _ := get(t, url+"/readyz"); r.StatusCode != 200 {
		t.Errorf("ready: %d", r.StatusCode)
	}
	cancel()
	eventually(t, "not ready any more", func() bool { r, _ := get(t, url+"/readyz"); return r.StatusCode == 503 })
	r, text := post(t, url+"/v1/classify", "image/jpeg", bytes.NewReader(trained.Photo(0, 3)))
	if r.StatusCode != 200 || !r.Close {
		t.Errorf("in the meantime: %d %s, close %v", r.StatusCode, text, r.Close)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSeveralModels(t *testing.T) {
	one, two := folder(t, "left", "right"), filepath.Join(folder(t, "across", "down"), "model.onnx")
	url := listen(t, start(t, serve.Options{Models: []string{one, "b=" + two}}))
	for path, want := range map[string]string{"": "right", "?model=b": "down", "?model=left-right": "right"} {
		_, text := post(t, url+"/v1/classify"+path, "image/jpeg", bytes.NewReader(trained.Photo(1, 5)))
		if got := results(t, text); got[0].Label != want {
			t.Errorf("%q: %s, want %s", path, text, want)
		}
	}
	if r, _ := get(t, url+"/v1/models/b/card"); r.StatusCode != 404 { // a file has no card
		t.Errorf("card of a file: %d", r.StatusCode)
	}
}
