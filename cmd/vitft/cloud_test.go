package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// Machines that keep their features in an object store encode an image once for all of them, and learn the same.
func TestFeaturesInAnObjectStore(t *testing.T) {
	ort.Need(t)
	train := photos(t, 8)
	here := t.TempDir()
	want, far := headOf(t, train, here), headOf(t, train, here, "--shuffle", "5")
	store := "s3://team/vitft?endpoint=" + testkit.S3(t, "team")
	for _, machine := range []struct{ name, encoded string }{{"first", "16 encoded now"}, {"second", "0 encoded now"}} {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		code, stdout, stderr := vitft(t, "encode", "--quiet", "--train", train, "--cache", store)
		if code != 0 || !strings.Contains(stdout, machine.encoded) {
			t.Errorf("the %s machine: %d %s%s, want %s", machine.name, code, stdout, stderr, machine.encoded)
		}
		if !bytes.Equal(headOf(t, train, store), want) {
			t.Errorf("the %s machine learns another head", machine.name)
		}
		if !bytes.Equal(headOf(t, train, store, "--shuffle", "5", "--copies", "1kB"), far) {
			t.Errorf("the %s machine learns another head when features are on the disk", machine.name)
		}
	}
	if code, _, stderr := vitft(t, "encode", "--train", train, "--cache", "ftp://team"); code != 2 ||
		!strings.Contains(stderr, "s3://BUCKET/PREFIX") {
		t.Errorf("an unknown scheme: %d %s", code, stderr)
	}
}

// Photos in an object store are those of a folder: the same head, whoever encodes them. Each is fetched once.
func TestPhotosInAnObjectStore(t *testing.T) {
	defer place.Forget()
	ort.Need(t)
	train := photos(t, 8)
	want := headOf(t, train, t.TempDir())
	endpoint := testkit.S3(t, "photos")
	var gets atomic.Int64
	counting := proxied(t, endpoint, func(r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".png") {
			gets.Add(1)
		}
	})
	source := "s3://photos/train?endpoint=" + counting
	uploaded(t, train, source)
	cache := t.TempDir()
	for _, says := range []string{"16 encoded now", "0 encoded now"} {
		code, stdout, stderr := vitft(t, "encode", "--quiet", "--train", source, "--cache", cache)
		if code != 0 || !strings.Contains(stdout, says) {
			t.Errorf("exit code %d, %s%s; want %s", code, stdout, stderr, says)
		}
	}
	if n := gets.Load(); n != 16+2*9 { // each time it looks at some to see whether they are photos
		t.Errorf("16 photos were fetched %d times", n)
	}
	if !bytes.Equal(headOf(t, source, cache), want) {
		t.Error("another head is learned than from a folder")
	}

	// A queue's tasks name them by their URLs. A worker reads no bucket that it was not started for.
	shared := t.TempDir()
	args := []string{"--quiet", "--cache", shared, "--queue", natsServer(t), "--queue-patience", "2s"}
	submitted := make(chan string, 1)
	go func() {
		submit := append([]string{"encode", "--train", source, "--task-images", "4", "--adapt", "norm"}, args...)
		code, stdout, stderr := vitft(t, submit...)
		submitted <- fmt.Sprint(code, stdout, stderr)
	}()
	worker := func(args ...string) (int, string) {
		code, _, stderr := vitft(t, append([]string{"worker", "--idle", "5s"}, args...)...)
		return code, stderr
	}
	if code, stderr := worker(append(args, "--read", "s3://photos/other,/photos")...); code != 2 ||
		!strings.Contains(stderr, "start it with --read s3://photos") {
		t.Errorf("a worker that was started for others: %d %s", code, stderr)
	}
	if code, stderr := worker(append(args, "--read", source)...); code != 0 {
		t.Errorf("a worker: %d %s", code, stderr)
	}
	if said := <-submitted; !strings.Contains(said, "train: 16 images, 0 encoded now, 16 from the store") ||
		!strings.Contains(said, "train tokens: 16 images, 0 encoded now, 16 from the store") {
		t.Errorf("it says %s", said)
	}
	if !bytes.Equal(headOf(t, train, shared), want) {
		t.Error("another head is learned from the features of a worker")
	}
	filepath.WalkDir(shared, func(path string, e fs.DirEntry, _ error) error {
		if content, err := os.ReadFile(path); err == nil && bytes.Contains(content, []byte("http")) &&
			strings.Contains(path, "jobs") && !strings.Contains(path, "models") {
			t.Errorf("%s names the endpoint", path)
		}
		return nil
	})
}

// A run, its backbone and what is made of it may all be in an object store: the run is there whole, is kept when
// another comes, and is what the same run in a folder is.
func TestRunsInAnObjectStore(t *testing.T) {
	defer place.Forget()
	library := ort.Need(t)
	train, cache := photos(t, 8), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("VITFT_ORT_LIB", library.Path)
	endpoint := "?endpoint=" + testkit.S3(t, "team")
	models := t.TempDir()
	testkit.WriteFile(t, filepath.Join(models, "vit", "micro.onnx"), testkit.ReadFile(t, testkit.Root(), "models",
		"micro_vit.onnx"))
	uploaded(t, models, "s3://team/models"+endpoint)
	do := func(says string, args ...string) string {
		t.Helper()
		code, stdout, stderr := vitft(t, append(args, "--cache", cache)...)
		if code != 0 || !strings.Contains(stdout+stderr, says) {
			t.Fatalf("%v: exit code %d, %s%s, want %s", args, code, stdout, stderr, says)
		}
		return stdout
	}
	at := "s3://team/runs/first"
	for _, kept := range []string{"", at + ".1"} {
		do(kept, "finetune", "--train", train, "--test", train, "--backbone",
			"s3://team/models/vit/micro.onnx"+endpoint, "--epochs", "3", "--out", at+endpoint)
	}
	here, err := place.Fetch(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{at, at + ".1"} {
		if local, err := place.Fetch(name); err != nil || !bytes.Equal(testkit.ReadFile(t, local, "head.safetensors"),
			headOf(t, train, cache)) {
			t.Errorf("%s has another head: %v", name, err)
		}
	}
	if code, stdout, stderr := vitft(t, "verify", here); code != 0 {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	do(`"balanced_accuracy"`, "evaluate", "--run", at+endpoint, "--test", train, "--json", "--out", at+"/of.csv")
	if content, err := place.Read(at+"/of.csv", 1<<20); err != nil || !bytes.HasPrefix(content, []byte("path,label")) {
		t.Errorf("%s %v", content, err)
	}
	do("", "export", "--run", at, "--out", "s3://team/web/model.onnx")
	do("", "embed", "--run", at, "--train", train, "--out", "s3://team/web/features.parquet")
	for _, model := range []string{at, "s3://team/web/model.onnx" + endpoint} {
		code, stdout, stderr := vitft(t, "predict", "--model", model, filepath.Join(train, "dark", "1.png"))
		if code != 0 || !strings.Contains(stdout, `"label":"dark"`) {
			t.Errorf("predict: %d %s%s", code, stdout, stderr)
		}
	}
	do("", "finetune", "--train", "s3://team/web/features.parquet", "--epochs", "2", "--out",
		filepath.Join(t.TempDir(), "r"))
}

// What cannot be read is said at once, with the exit code that says whether to try again.
func TestPlacesThatCannotBeRead(t *testing.T) {
	defer place.Forget()
	endpoint := testkit.S3(t, "photos")
	uploaded(t, photos(t, 2), "s3://photos/train?endpoint="+endpoint)
	list := testkit.WriteFile(t, filepath.Join(t.TempDir(), "list.csv"),
		[]byte("path,label\ns3://photos/train/dark/1.png,dark\ns3://photos/train/light/7.png,light\n"))
	for _, c := range []struct {
		source, key, says string
		code              int
	}{
		{"s3://photos/none?endpoint=" + endpoint, "", "no such file or folder: s3://photos/none", 3},
		{"s3://nobody/train?endpoint=" + endpoint, "", "there is no such bucket", 3},
		{"s3://refused/train?endpoint=http://127.0.0.1:1", "", "cannot be reached", 1},
		{"s3://photos/train?endpoint=" + endpoint, "a-wrong-one", "permission denied", 3},
		{"s3://me:hidden@photos/train", "", "without credentials", 2},
		{"s3://photos/train?endpoint=http://me:hidden@127.0.0.1", "", "without credentials", 2},
		{"ftp://photos/train", "", "s3://BUCKET/PREFIX", 2},
		{list, "", "light/7.png", 3},
	} {
		t.Run(c.source, func(t *testing.T) {
			place.Forget()
			t.Setenv("AWS_MAX_ATTEMPTS", "1")
			if c.key != "" {
				t.Setenv("AWS_SECRET_ACCESS_KEY", c.key)
			}
			if c.source == list {
				t.Setenv("AWS_ENDPOINT_URL", endpoint)
			}
			code, _, stderr := vitft(t, "encode", "--quiet", "--train", c.source, "--cache", t.TempDir())
			if code != c.code || !strings.Contains(stderr, c.says) || strings.Contains(stderr, "hidden") {
				t.Errorf("%d %s, want %d and %q", code, stderr, c.code, c.says)
			}
		})
	}
}

// uploaded puts the files of a folder into an object store.
func uploaded(t *testing.T, dir, to string) {
	t.Helper()
	root, err := place.Named(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return place.Put(root+strings.TrimPrefix(path, dir), path)
	}); err != nil {
		t.Fatal(err)
	}
}

// proxied stands before a server and sees each request.
func proxied(t *testing.T, server string, see func(*http.Request)) string {
	t.Helper()
	target, err := neturl.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// headOf trains on features in a cache.
func headOf(t *testing.T, train, cache string, more ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	if code, _, stderr := vitft(t, append([]string{"finetune", "--quiet", "--train", train, "--epochs", "3", "--cache",
		cache, "--out", out}, more...)...); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	return testkit.ReadFile(t, out, "head.safetensors")
}
