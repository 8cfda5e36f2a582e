package serve_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/internal/testkit/trained"
)

var onCPU = device.Options{Provider: "cpu"}

// folder is a run folder whose two classes have these names; it is there until the end of the test run.
func folder(t testing.TB, classes ...string) string {
	t.Helper()
	ort.Need(t)
	folders.Lock()
	defer folders.Unlock()
	key := fmt.Sprint(classes)
	if run := folders.made[key]; run != "" {
		return run
	}
	run, err := trained.Run(folders.dir, classes...)
	if err != nil {
		t.Fatal(err)
	}
	folders.made[key] = run
	return run
}

var folders struct {
	sync.Mutex
	dir  string
	made map[string]string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vitft-serve")
	if err != nil {
		panic(err)
	}
	folders.dir, folders.made = dir, map[string]string{}
	ort.Main(m)
	os.RemoveAll(dir)
}

// start is a server on the models, or on the run of stripes if none is named.
func start(t testing.TB, o serve.Options) *serve.Server {
	t.Helper()
	if o.Models == nil {
		o.Models = []string{"stripes=" + folder(t, "across", "down")}
	}
	if o.Drain == nil {
		o.Drain = new(time.Duration)
	}
	o.Classifier.Device = onCPU
	s, err := serve.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// listen is the URL of a test server with s behind it.
func listen(t testing.TB, s *serve.Server) string {
	t.Helper()
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

// post sends a body and reads the answer.
func post(t testing.TB, url, kind string, body io.Reader) (*http.Response, string) {
	t.Helper()
	r, err := http.Post(url, kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return r, read(t, r)
}

func get(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return r, read(t, r)
}

func read(t testing.TB, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
