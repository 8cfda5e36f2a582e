package serve_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/onnx"
)

// needRuntime skips a test where no runtime library is installed, aloud.
func needRuntime(t testing.TB) {
	t.Helper()
	if _, err := onnx.Find(""); err != nil {
		t.Skipf("ONNX Runtime is missing (make setup): %v", err)
	}
}

// photo is a JPEG of noisy stripes whose direction tells its class, 0 or 1.
func photo(class int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(class)))
	img := image.NewRGBA(image.Rect(0, 0, 48, 40))
	for y := range 40 {
		for x := range 48 {
			v := uint8(r.IntN(60))
			if (x*class+y*(1-class))/5%2 == 0 {
				v += 180
			}
			img.SetRGBA(x, y, color.RGBA{v, uint8(r.IntN(80)), 255 - v, 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// trained is a run folder on the embedded backbone whose two classes have these
// names; it is there until the end of the test run.
func trained(t testing.TB, classes ...string) string {
	t.Helper()
	needRuntime(t)
	runs.Lock()
	defer runs.Unlock()
	key := fmt.Sprint(classes)
	if run := runs.made[key]; run != "" {
		return run
	}
	dir := filepath.Join(runs.dir, fmt.Sprint(len(runs.made)))
	for k, class := range classes {
		if err := os.MkdirAll(filepath.Join(dir, "train", class), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			if err := os.WriteFile(filepath.Join(dir, "train", class, fmt.Sprintf("%d.jpg", i)), photo(k, uint64(i)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	run := filepath.Join(dir, classes[0]+"-"+classes[1])
	c := engine.Config{Train: filepath.Join(dir, "train"), Out: run, Cache: filepath.Join(dir, "cache"), Provider: "cpu"}
	c.Epochs = 3
	if _, err := engine.Finetune(context.Background(), c, false, engine.Events{}); err != nil {
		t.Fatal(err)
	}
	runs.made[key] = run
	return run
}

var runs struct {
	sync.Mutex
	dir  string
	made map[string]string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vitft-serve")
	if err != nil {
		panic(err)
	}
	runs.dir, runs.made = dir, map[string]string{}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// start is a server on the models, or on the run of stripes if none is named.
func start(t testing.TB, o serve.Options) *serve.Server {
	t.Helper()
	if o.Models == nil {
		o.Models = []serve.Model{{Name: "stripes", Path: trained(t, "across", "down")}}
	}
	o.Classifier.Provider = "cpu"
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
