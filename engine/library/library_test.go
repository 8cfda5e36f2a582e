package library

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/testkit"
)

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// zipped is a wheel of files.
func zipped(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarred is the release page's archive.
func tarred(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o755, Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write(content)
	}
	for _, err := range []error{err, w.Close(), z.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// world is a package index with a library of its own, which is pinned while the test runs.
type world struct {
	*httptest.Server
	library, wheel, archive, gpu, deps []byte
	serve                              func(w http.ResponseWriter, r *http.Request, content []byte) // a file
	files                              atomic.Int32                                                 // asked for
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{library: bytes.Repeat([]byte("library "), 20_000)}
	w.wheel = zipped(t, map[string][]byte{"onnxruntime/capi/libonnxruntime.so.9.9.9": w.library,
		"onnxruntime/capi/libonnxruntime_providers_shared.so": []byte("another"), "onnxruntime/LICENSE": []byte("MIT")})
	w.archive = tarred(t, "onnxruntime-linux-x64-9.9.9/lib/libonnxruntime.so.9.9.9", w.library)
	w.gpu = zipped(t, map[string][]byte{"onnxruntime/capi/libonnxruntime.so.9.9.9": w.library,
		"onnxruntime/capi/libonnxruntime_providers_cuda.so":     []byte("cuda"),
		"onnxruntime/capi/libonnxruntime_providers_tensorrt.so": []byte("left out")})
	w.deps = zipped(t, map[string][]byte{"nvidia/cublas/lib/libcublas.so.13": []byte("cublas")})
	w.serve = func(out http.ResponseWriter, r *http.Request, content []byte) {
		http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(content))
	}
	was := pinned
	t.Cleanup(func() { pinned = was })
	pinned = fmt.Sprintf(`# pins
cpu linux-amd64 wheel onnxruntime 9.9.9 %s
cpu linux-amd64 library onnxruntime 9.9.9 %s
cpu linux-amd64 release onnxruntime 9.9.9 %s
gpu13 linux-amd64 wheel onnxruntime-gpu 9.9.9 %s
deps13 linux-amd64 wheel nvidia-cublas 13.1 %s
`, sum(w.wheel), sum(w.library), sum(w.archive), sum(w.gpu), sum(w.deps))
	file := func(content []byte) http.HandlerFunc {
		return func(out http.ResponseWriter, r *http.Request) { w.files.Add(1); w.serve(out, r, content) }
	}
	mux := http.NewServeMux()
	page := func(name string, content []byte) {
		mux.HandleFunc("/simple/"+name+"/", func(out http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(out, `<a href="../../f/other.whl#sha256=00">other</a> <a
				href='../../f/%s.whl?a=1&amp;b=2#sha256=%s' data-requires-python="&gt;=3">%[1]s</a>`, name, sum(content))
		})
		mux.HandleFunc("/f/"+name+".whl", file(content))
	}
	page("onnxruntime", w.wheel)
	page("onnxruntime-gpu", w.gpu)
	page("nvidia-cublas", w.deps)
	mux.HandleFunc("/release.tgz", file(w.archive))
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	return w
}

func (w *world) options(t *testing.T) Options {
	return Options{Mirror: w.URL + "/simple/", Out: filepath.Join(t.TempDir(), "lib"), Platform: "linux-amd64",
		Stall: 300 * time.Millisecond, Backoff: time.Millisecond}
}

// check sees to it that the folder has the library, and nothing that is left over.
func (w *world) check(t *testing.T, o Options, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{"libonnxruntime.so", "libonnxruntime.so.sha256"}
	}
	entries, err := os.ReadDir(o.Out)
	var names []string
	for _, e := range entries {
		if e.Name() != "onnxruntime-LICENSE" {
			names = append(names, e.Name())
		}
	}
	if err != nil || strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("the folder has %q, want %q; %v", names, want, err)
	}
	for _, name := range want {
		if strings.HasPrefix(name, "libonnxruntime.so") && !strings.HasSuffix(name, ".sha256") {
			if got := testkit.ReadFile(t, filepath.Join(o.Out, name)); !bytes.Equal(got, w.library) {
				t.Errorf("%s is another library, of %d bytes", name, len(got))
			}
		}
	}
}

// Whatever becomes of the first answers, what is fetched in the end is the library, whole; and it is fetched once.
func TestFetch(t *testing.T) {
	type answer = func(w *world, out http.ResponseWriter, r *http.Request, content []byte)
	once := func(first answer) func(*world, *Options) {
		return func(w *world, _ *Options) {
			usual, count := w.serve, 0
			w.serve = func(out http.ResponseWriter, r *http.Request, content []byte) {
				if count++; count == 1 {
					first(w, out, r, content)
					return
				}
				usual(out, r, content)
			}
		}
	}
	for name, prepare := range map[string]func(*world, *Options){
		"at once": func(*world, *Options) {},
		"from PIP_INDEX_URL": func(w *world, o *Options) {
			os.Setenv("PIP_INDEX_URL", o.Mirror)
			o.Mirror = ""
		},
		"the archive": func(w *world, o *Options) { o.Mirror = w.URL + "/release.tgz" },
		"a server that fails": once(func(_ *world, out http.ResponseWriter, _ *http.Request, _ []byte) {
			http.Error(out, "down", http.StatusBadGateway)
		}),
		"truncated": once(func(_ *world, out http.ResponseWriter, _ *http.Request, content []byte) {
			out.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = out.Write(content[:len(content)/3])
		}),
		"stalled": once(func(_ *world, out http.ResponseWriter, r *http.Request, content []byte) {
			out.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = out.Write(content[:1000])
			out.(http.Flusher).Flush()
			<-r.Context().Done()
		}),
		"other bytes first": once(func(_ *world, out http.ResponseWriter, _ *http.Request, content []byte) {
			out.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = out.Write(bytes.Repeat([]byte{7}, len(content)/2))
		}),
		"another range": once(func(w *world, out http.ResponseWriter, r *http.Request, content []byte) {
			out.Header().Set("Content-Range", fmt.Sprintf("bytes 5-9/%d", len(content)))
			out.WriteHeader(http.StatusPartialContent)
			_, _ = out.Write(content[5:10])
		}),
		"no ranges": func(w *world, _ *Options) {
			count := 0
			w.serve = func(out http.ResponseWriter, _ *http.Request, content []byte) {
				out.Header().Set("Content-Length", strconv.Itoa(len(content)))
				if count++; count == 1 {
					content = content[:100]
				}
				_, _ = out.Write(content)
			}
		},
		"a file": func(w *world, o *Options) {
			o.Mirror = testkit.WriteFile(t, filepath.Join(t.TempDir(), "any name"), w.wheel)
		},
		"the library itself": func(w *world, o *Options) {
			o.Mirror = testkit.WriteFile(t, filepath.Join(t.TempDir(), "x.so"), w.library)
		},
		"a folder": func(w *world, o *Options) {
			dir := t.TempDir()
			testkit.WriteFile(t, filepath.Join(dir, "a.whl"), []byte("another"))
			testkit.WriteFile(t, filepath.Join(dir, "b.tgz"), w.archive)
			o.Mirror = dir
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PIP_INDEX_URL", "")
			w := newWorld(t)
			o := w.options(t)
			prepare(w, &o)
			done, err := Fetch(t.Context(), o, event.Events{})
			if err != nil {
				t.Fatal(err)
			}
			licence, err := os.ReadFile(filepath.Join(o.Out, "onnxruntime-LICENSE"))
			bare := name == "the library itself" || name == "the archive" || name == "a folder"
			if bare == (string(licence) == "MIT") {
				t.Errorf("its licence is %q, %v", licence, err)
			}
			w.check(t, o)
			if !done.Fetched || done.Version != "9.9.9" || done.Path != filepath.Join(o.Out, "libonnxruntime.so") {
				t.Errorf("%+v", done)
			}
			asked := w.files.Load()
			if done, err = Fetch(t.Context(), o, event.Events{}); err != nil || done.Fetched ||
				w.files.Load() != asked {
				t.Errorf("again: %+v, %v", done, err)
			}
			testkit.WriteFile(t, done.Path, []byte("changed"))
			if done, err = Fetch(t.Context(), o, event.Events{}); err != nil || !done.Fetched {
				t.Errorf("once it was changed: %+v, %v", done, err)
			}
			w.check(t, o)
		})
	}
}

// What cannot be fetched leaves nothing in the library's place, names where it was looked for, and the cure.
func TestFetchRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*world, *Options)
		kind    fault.Kind
		want    []string
	}{
		{"another file", func(w *world, _ *Options) {
			w.serve = func(out http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = out.Write([]byte("<html>")) }
		}, fault.Runtime, []string{"SHA-256", "not the pinned", "--mirror"}},
		{"no such file", func(w *world, _ *Options) {
			w.serve = func(out http.ResponseWriter, r *http.Request, _ []byte) { http.NotFound(out, r) }
		}, fault.Other, []string{"404", "/f/onnxruntime.whl", "try again"}},
		{"no such project", func(w *world, o *Options) { o.Mirror = w.URL + "/nowhere" }, fault.Other,
			[]string{"404", "/nowhere/onnxruntime/"}},
		{"nobody there", func(w *world, o *Options) { w.Close() }, fault.Other, []string{"127.0.0.1", "tried 5 times"}},
		{"always broken", func(w *world, _ *Options) {
			w.serve = func(out http.ResponseWriter, _ *http.Request, _ []byte) { out.WriteHeader(502) }
		}, fault.Other, []string{"502", "tried 5 times"}},
		{"always stalled", func(w *world, o *Options) {
			o.Stall = 20 * time.Millisecond
			w.serve = func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() }
		}, fault.Other, []string{"stalled"}},
		{"no longer listed", func(w *world, _ *Options) {
			pinned = strings.Replace(pinned, sum(w.wheel), strings.Repeat("1", 64), 1)
		}, fault.Runtime, []string{"lists no file of onnxruntime 9.9.9"}},
		{"another platform", func(_ *world, o *Options) { o.Platform = "plan9-mips" }, fault.Runtime,
			[]string{"plan9-mips", "VITFT_ORT_LIB"}},
		{"no such folder", func(_ *world, o *Options) { o.Mirror = "/no/such" }, fault.Data, []string{"/no/such"}},
		{"a folder without it", func(_ *world, o *Options) { o.Mirror = t.TempDir() }, fault.Data,
			[]string{"no file in"}},
		{"another wheel", func(_ *world, o *Options) {
			o.Mirror = testkit.WriteFile(t, filepath.Join(t.TempDir(), "o.whl"), []byte("o"))
		}, fault.Runtime, []string{"o.whl", "VITFT_ORT_LIB"}},
		{"a password", func(w *world, o *Options) {
			o.Mirror = strings.Replace(w.URL, "://", "://me:secret@", 1) + "/nowhere"
		}, fault.Other, []string{"404"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			o := w.options(t)
			c.prepare(w, &o)
			_, err := Fetch(t.Context(), o, event.Events{})
			if err == nil || fault.Of(err) != c.kind {
				t.Fatalf("%v is of kind %q, want %q", err, fault.Of(err), c.kind)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%v shows a password", err)
			}
			if _, err := os.Stat(filepath.Join(o.Out, "libonnxruntime.so")); err == nil {
				t.Error("there is a library")
			}
		})
	}
}

// What an interrupted call has loaded is kept, and the next one goes on from it.
func TestFetchGoesOn(t *testing.T) {
	w := newWorld(t)
	o := w.options(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ranges []string
	w.serve = func(out http.ResponseWriter, r *http.Request, content []byte) {
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) > 1 {
			http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(content))
			return
		}
		out.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = out.Write(content[:5000])
		out.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	o.Stall = time.Minute
	_, err := Fetch(ctx, o, event.Events{Progress: func(_ event.Stage, _ string, done, _ int) {
		if done >= 5000 {
			cancel()
		}
	}})
	if err == nil || fault.Of(err) != fault.Interrupted {
		t.Fatal(err)
	}
	if _, err := Fetch(t.Context(), o, event.Events{}); err != nil {
		t.Fatal(err)
	}
	if w.check(t, o); len(ranges) != 2 || ranges[1] != "bytes=5000-" {
		t.Errorf("asked for the ranges %q", ranges)
	}
}

// The CUDA build lies in a folder of its own, with what it needs; an older library goes.
func TestFetchGPU(t *testing.T) {
	w := newWorld(t)
	o := w.options(t)
	o.Deps = true
	testkit.WriteFile(t, filepath.Join(o.Out, "libonnxruntime.so.9.9.8"), []byte("old"))
	for range 2 {
		done, err := Fetch(t.Context(), o, event.Events{})
		if err != nil || done.Path != filepath.Join(o.Out, "libonnxruntime.so.9.9.9") {
			t.Fatalf("%+v, %v", done, err)
		}
		w.check(t, o, "gpu.sha256", "libcublas.so.13", "libonnxruntime.so.9.9.9", "libonnxruntime_providers_cuda.so")
	}
	if n := w.files.Load(); n != 2 {
		t.Errorf("%d files were fetched, want 2", n)
	}
}

// The pins that there are name every platform's library in the forms that Fetch takes.
func TestPins(t *testing.T) {
	for _, platform := range []string{"linux-amd64", "linux-arm64", "darwin-arm64"} {
		list := pins("cpu", platform)
		if len(of(list, "wheel")) != 1 || len(of(list, "library")) != 1 || archives[platform] == "" {
			t.Errorf("%s: %+v", platform, list)
		}
		for _, p := range list {
			if raw, err := hex.DecodeString(p.sum); err != nil || len(raw) != 32 {
				t.Errorf("%+v: no SHA-256", p)
			}
		}
	}
	for _, cuda := range []string{"12", "13"} {
		if len(pins("gpu"+cuda, "linux-amd64")) != 1 || len(pins("deps"+cuda, "linux-amd64")) < 5 {
			t.Errorf("CUDA %s", cuda)
		}
	}
	if n := strings.Count(pinned, "\n"); len(strings.Fields(pinned)) < n {
		t.Error("no pins")
	}
}

// An address is taken from a page only for the sum that is wanted, and leads to a web server.
func FuzzAddress(f *testing.F) {
	f.Add([]byte(`<a href="f.whl#sha256=ab">f</a>`))
	f.Add([]byte(`<a href='file:///etc/passwd#sha256=ab'>`))
	f.Add([]byte(`href="\x00#sha256=ab" href="//h/%zz#sha256=AB"`))
	at, err := url.Parse("https://example.org/simple/x/")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		found := address(page, at, "ab")
		if found == "" {
			return
		}
		u, err := url.Parse(found)
		plain := bytes.Contains(bytes.ToLower(page), []byte("sha256=ab")) || bytes.ContainsAny(page, "&%")
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !plain {
			t.Errorf("%q: %q, %v", page, found, err)
		}
	})
}

// Wherever the disk is full, the next call ends as if nothing had happened.
func TestFetchOnAFullDisk(t *testing.T) {
	for fails := 1; ; fails++ {
		w := newWorld(t)
		o, at := w.options(t), 0
		restore := disk.SetFault(func(op disk.Op, _ string) error {
			if at++; at == fails {
				return syscall.ENOSPC
			}
			return nil
		})
		_, err := Fetch(t.Context(), o, event.Events{})
		restore()
		if err != nil && (!errors.Is(err, syscall.ENOSPC) || fault.Of(err) != fault.Other) {
			t.Fatalf("at point %d: %v", fails, err)
		}
		if _, err := Fetch(t.Context(), o, event.Events{}); err != nil {
			t.Fatalf("after point %d: %v", fails, err)
		}
		w.check(t, o)
		if at < fails { // there is no such point
			return
		}
	}
}
