package models

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/testkit"
)

func TestPull(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	h := f.client(t)
	var seen []string
	h.Progress = func(file string, done, total int64) {
		if done == total && !slices.Contains(seen, file) {
			seen = append(seen, file)
		}
	}
	p := mustPull(t, f, h, "owner/vit")
	commit := f.commits[0]
	root := filepath.Join(h.Cache, "models--owner--vit")
	want := []string{"onnx/model.onnx", "onnx/model.onnx_data", "preprocessor_config.json"}
	var names []string
	for _, file := range p.Files {
		names = append(names, file.Name)
		target, err := os.Readlink(file.Path)
		if err != nil || filepath.IsAbs(target) ||
			filepath.Dir(filepath.Join(filepath.Dir(file.Path), target)) != filepath.Join(root, "blobs") {
			t.Errorf("%s is no relative link to a blob: %q, %v", file.Path, target, err)
		}
		if file.Path != filepath.Join(root, "snapshots", commit, file.Name) {
			t.Errorf("%s lies at %s", file.Name, file.Path)
		}
	}
	if !slices.Equal(names, want) || !slices.Equal(seen, want) {
		t.Errorf("pulled %v, progress of %v, want %v", names, seen, want)
	}
	if p.Name != "owner/vit:onnx/model.onnx" || p.Commit != commit || p.Path != p.Files[0].Path ||
		p.Config != p.Files[2].Path || p.Size() != 4<<20+12 {
		t.Errorf("pulled %+v", p)
	}
	if p.Files[0].Digest != "sha256:"+etagOf("onnx/model.onnx", f.files[commit]["onnx/model.onnx"]) ||
		!strings.HasPrefix(p.Files[2].Digest, "git-sha1:") {
		t.Errorf("digests %s, %s", p.Files[0].Digest, p.Files[2].Digest)
	}
	if text, err := os.ReadFile(filepath.Join(root, "refs", "main")); string(text) != commit {
		t.Errorf("refs/main: %q, %v", text, err)
	}
	if list := incomplete(t, h); len(list) > 0 {
		t.Errorf("left over: %v", list)
	}

	f.reset()
	again := mustPull(t, f, h, "owner/vit")
	if len(f.loads) != 0 || !reflect.DeepEqual(again, p) {
		t.Errorf("pulled again: %d loads, %+v", len(f.loads), again)
	}
	f.reset()
	for _, name := range []string{"owner/vit", "owner/vit:onnx/model.onnx", "owner/vit@main"} {
		if found, err := h.Find(name); err != nil || !reflect.DeepEqual(found, p) {
			t.Errorf("Find(%q) = %+v, %v", name, found, err)
		}
	}
	list, err := h.List()
	if err != nil || len(list) != len(List())+1 || !reflect.DeepEqual(list[len(list)-1], p) {
		t.Errorf("List() ends with %+v, %v", list[len(list)-1], err)
	}
	if len(f.requests) != 0 {
		t.Errorf("Find and List asked the hub: %v", f.requests)
	}
}

// TestPullRegistered pulls what the registry names.
func TestPullRegistered(t *testing.T) {
	files := vitFiles()
	files["onnx/model.onnx_data"] = nil
	delete(files, "onnx/model.onnx_data")
	f := newFakeHub(t, files)
	b, err := Lookup("dinov2-small")
	if err != nil {
		t.Fatal(err)
	}
	f.repository = b.Repository
	h := f.client(t)
	if _, err := h.Find("dinov2-small"); !errors.Is(err, ErrNotPulled) ||
		!strings.Contains(err.Error(), "vitft models pull dinov2-small") {
		t.Errorf("before the pull: %v", err)
	}
	p := mustPull(t, f, h, "dinov2-small")
	if p.Name != "dinov2-small" || p.Dim != b.Dim || len(p.Files) != 2 {
		t.Errorf("pulled %+v", p)
	}
	old := f.commits[0]
	list, err := h.List()
	if err != nil || len(list) != len(List()) {
		t.Fatalf("%d listed, %v", len(list), err)
	}
	for _, l := range list {
		if here := l.Path != ""; here != (l.Name == "dinov2-small") {
			t.Errorf("%s is said to be at %q", l.Name, l.Path)
		}
	}
	// A commit is a pull of its own.
	f.commit(map[string][]byte{"onnx/model.onnx": content(9, 500)})
	if _, err := h.Find("dinov2-small@" + old); err != nil {
		t.Errorf("what main was lies in the cache already: %v", err)
	}
	if p := mustPull(t, f, h, "dinov2-small@"+old); p.Commit != old || p.Revision != old {
		t.Errorf("pulled %+v", p)
	}

	// The registry's own digest wins over --update.
	i := slices.IndexFunc(registry, func(b Backbone) bool { return b.Name == "dinov2-small" })
	registry[i].SHA256 = strings.Repeat("0", 64)
	defer func() { registry[i].SHA256 = "" }()
	h.Update = true
	if _, err := h.Pull(context.Background(), "dinov2-small"); !errors.Is(err, ErrChanged) ||
		!strings.Contains(err.Error(), "this program knows") {
		t.Errorf("another digest than the registry's: %v", err)
	}
	mustPull(t, f, h, "dinov2-small@"+old) // which that digest is not about

	for name, want := range map[string]error{"vit-tiny-patch16-224": ErrNotPulled, "dinov3": ErrUnknown,
		"a/b/c": ErrUnknown, "vitft-micro-28@v2": ErrUnknown, "": ErrUnknown} {
		if _, err := h.Pull(context.Background(), name); !errors.Is(err, want) {
			t.Errorf("Pull(%q): %v", name, err)
		}
		if _, err := h.Find(name); !errors.Is(err, want) {
			t.Errorf("Find(%q): %v", name, err)
		}
	}
	if p, err := h.Pull(context.Background(), Default().Name); err != nil || !p.Embedded || p.Path != "" {
		t.Errorf("pull of the embedded backbone: %+v, %v", p, err)
	}
}

// TestResume lets the connection break in every way that loses nothing.
func TestResume(t *testing.T) {
	const size = 3 << 20
	half := func(w http.ResponseWriter, r *http.Request, content []byte) { breakOff(size/2)(w, r, content) }
	ignoreRange := func(w http.ResponseWriter, r *http.Request, content []byte) {
		r.Header.Del("Range")
		serve(w, r, content)
	}
	for name, c := range map[string]struct {
		faults []fault
		ranges []string
	}{
		"whole":      {nil, []string{""}},
		"breaks off": {[]fault{half}, []string{"", "bytes=1572864-"}},
		"breaks off, thrice": {[]fault{half, breakOff(1000), breakOff(1)},
			[]string{"", "bytes=1572864-", "bytes=1573864-", "bytes=1573865-"}},
		"ignores Range": {[]fault{half, ignoreRange}, []string{"", "bytes=1572864-"}},
		"no range satisfies": {[]fault{half, answer(http.StatusRequestedRangeNotSatisfiable)},
			[]string{"", "bytes=1572864-", ""}},
		"wrong range": {[]fault{half, answer(http.StatusPartialContent, "Content-Range", "bytes 7-9/10")},
			[]string{"", "bytes=1572864-", ""}},
		"no range": {[]fault{half, answer(http.StatusPartialContent)}, []string{"", "bytes=1572864-", ""}},
		"busy": {[]fault{answer(503), half, answer(500), answer(502)},
			[]string{"", "", "bytes=1572864-", "bytes=1572864-", "bytes=1572864-"}},
		"signature ran out": {[]fault{half, answer(http.StatusForbidden)},
			[]string{"", "bytes=1572864-", "bytes=1572864-"}},
		"compressed": {[]fault{answer(200, "Content-Encoding", "gzip")}, []string{"", ""}},
		"refuses at the door": {[]fault{func(http.ResponseWriter, *http.Request,
			[]byte) {
			panic(http.ErrAbortHandler)
		}}, []string{"", ""}},
		"says too much": {[]fault{func(w http.ResponseWriter, r *http.Request, content []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)+5000))
			_, _ = w.Write(content)
		}}, []string{""}},
		"says too little": {[]fault{func(w http.ResponseWriter, r *http.Request, content []byte) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(content[:1000])
		}}, []string{"", "bytes=1000-"}},
		"does not say": {[]fault{func(w http.ResponseWriter, r *http.Request, content []byte) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(content)
		}}, []string{""}},
		"says more than it is": {[]fault{func(w http.ResponseWriter, r *http.Request, content []byte) {
			_, _ = w.Write(append(slices.Clone(content), "more"...))
		}}, []string{""}},
		"another content meanwhile": {[]fault{half, func(w http.ResponseWriter, r *http.Request, content []byte) {
			w.Header().Set("ETag", `"another"`) // If-Range does not hold, so everything comes
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
		}}, []string{"", "bytes=1572864-"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, size)})
			h := f.client(t)
			f.faults = c.faults
			mustPull(t, f, h, "owner/vit")
			if got := f.ranges(); !slices.Equal(got, c.ranges) {
				t.Errorf("asked for %q, want %q", got, c.ranges)
			}
			for i, r := range f.loads {
				if i > 0 && r.Header.Get("Range") != "" && strings.HasPrefix(name, "breaks off") &&
					r.Header.Get("If-Range") != storageETag {
					t.Errorf("load %d: If-Range %q", i, r.Header.Get("If-Range"))
				}
				if got := r.Header.Get("Accept-Encoding"); got != "identity" {
					t.Errorf("load %d accepts %q", i, got)
				}
			}
			if list := incomplete(t, h); len(list) > 0 {
				t.Errorf("left over: %v", list)
			}
		})
	}
}

// TestUnknownSize pulls from a hub that does not say how long a file is.
func TestUnknownSize(t *testing.T) {
	f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, 1<<20)})
	f.header = func(h http.Header) { h.Del("X-Linked-Size") }
	f.faults = []fault{breakOff(1000), func(w http.ResponseWriter, r *http.Request, content []byte) {
		_ = http.NewResponseController(w).Flush() // chunked
		_, _ = w.Write(content)
	}}
	mustPull(t, f, f.client(t), "owner/vit")

	f.reset()
	f.faults = []fault{func(w http.ResponseWriter, r *http.Request, content []byte) {
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(content[:1000]) // an end like any other
	}}
	if _, err := f.client(t).Pull(context.Background(), "owner/vit"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a content cut short: %v", err)
	}
}

// TestStall holds the connection open in silence.
func TestStall(t *testing.T) {
	f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, 1<<20)})
	h := f.client(t)
	h.Stall, h.Attempts = 100*time.Millisecond, 50 // a busy machine may stall by itself
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	wait := func(r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	f.faults = []fault{
		func(_ http.ResponseWriter, r *http.Request, _ []byte) { wait(r) },
		func(w http.ResponseWriter, r *http.Request, content []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = w.Write(content[:5000])
			_ = http.NewResponseController(w).Flush()
			wait(r)
		},
	}
	mustPull(t, f, h, "owner/vit")
	got := f.ranges()
	if i := slices.Index(got, "bytes=5000-"); i < 2 || slices.Max(got[:i]) != "" {
		t.Errorf("asked for %q, want everything twice, then bytes=5000-", got)
	}

	f.reset()
	f.always = func(_ http.ResponseWriter, r *http.Request, _ []byte) { wait(r) }
	other := f.client(t)
	other.Stall, other.Attempts = 20*time.Millisecond, 2
	_, err := other.Pull(context.Background(), "owner/vit")
	if !errors.Is(err, ErrNetwork) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "stalled") {
		t.Errorf("a storage that never answers: %v", err)
	}
}

// TestInterrupt cancels a pull and lets another go on.
func TestInterrupt(t *testing.T) {
	const size = 3 << 20
	f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, size)})
	h := f.client(t)
	ctx, cancel := context.WithCancel(context.Background())
	h.Progress = func(_ string, done, _ int64) {
		if done > size/3 {
			cancel()
		}
	}
	_, err := h.Pull(ctx, "owner/vit")
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "are kept") {
		t.Errorf("interrupted: %v", err)
	}
	list := incomplete(t, h)
	if len(list) != 1 {
		t.Fatalf("incomplete files: %v", list)
	}
	info, err := os.Stat(list[0])
	if err != nil || info.Size() <= size/3 || info.Size() >= size {
		t.Fatalf("%d bytes were kept, %v", info.Size(), err)
	}
	h.Progress = nil
	f.reset()
	mustPull(t, f, h, "owner/vit")
	if got, want := f.ranges(), []string{fmt.Sprintf("bytes=%d-", info.Size())}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
	if ir := f.loads[0].Header.Get("If-Range"); ir != "" {
		t.Errorf("If-Range %q with nothing known of the content", ir)
	}
}

// TestLeftOver starts from what an earlier pull may have left.
func TestLeftOver(t *testing.T) {
	const size = 1 << 20
	right := content(1, size)
	for name, c := range map[string]struct {
		left   []byte
		ranges []string
	}{
		"a beginning":      {right[:1000], []string{"bytes=1000-"}},
		"all of it":        {right, []string{}},
		"nothing":          {nil, []string{""}},
		"too much":         {append(slices.Clone(right), 1), []string{""}},
		"other bytes":      {content(5, 1000), []string{"bytes=1000-", ""}},
		"other bytes, all": {content(5, size), []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub(t, map[string][]byte{"model.onnx": right})
			h := f.client(t)
			blobs := filepath.Join(h.Cache, "models--owner--vit", "blobs")
			if err := os.MkdirAll(blobs, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(blobs, etagOf("model.onnx", right)+".incomplete"), c.left,
				0o644); err != nil {
				t.Fatal(err)
			}
			mustPull(t, f, h, "owner/vit")
			if got := f.ranges(); !slices.Equal(got, c.ranges) {
				t.Errorf("asked for %q, want %q", got, c.ranges)
			}
		})
	}
}

// TestCorrupt serves what the hub does not promise.
func TestCorrupt(t *testing.T) {
	wrong := func(w http.ResponseWriter, r *http.Request, content []byte) {
		content = slices.Clone(content)
		content[len(content)-1]++
		serve(w, r, content)
	}
	for name, c := range map[string]struct {
		always fault
		header func(http.Header)
		want   error
	}{
		"wrong content": {always: wrong, want: ErrCorrupt},
		"in pieces, too": {always: func(w http.ResponseWriter, r *http.Request, content []byte) {
			wrong(&cutOnce{ResponseWriter: w, r: r}, r, content)
		}, want: ErrCorrupt},
		"promised short": {header: func(h http.Header) { h.Set("X-Linked-Size", "1000") }, want: ErrCorrupt},
		"promised long":  {header: func(h http.Header) { h.Set("X-Linked-Size", "1000000000") }, want: ErrNetwork},
		"another digest": {header: func(h http.Header) {
			h.Set("X-Linked-Etag",
				strconv.Quote(strings.Repeat("a", 64)))
		}, want: ErrCorrupt},
		"no digest":      {header: func(h http.Header) { h.Set("X-Linked-Etag", `"d41d8cd98f00b204e9800998ecf8427e-3"`) }, want: ErrCorrupt},
		"path as digest": {header: func(h http.Header) { h.Set("X-Linked-Etag", `"../../../../evil"`) }, want: ErrCorrupt},
		"another commit": {header: func(h http.Header) { h.Set("X-Repo-Commit", strings.Repeat("b", 40)) },
			want: ErrNetwork},
		"no commit":   {header: func(h http.Header) { h.Del("X-Repo-Commit") }, want: ErrNetwork},
		"always half": {always: breakOff(1000), want: nil}, // each try brings something
		"half, no ranges": {always: func(w http.ResponseWriter, r *http.Request, content []byte) {
			r.Header.Del("Range")
			breakOff(1000)(w, r, content)
		}, want: ErrNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, 5000)})
			f.always, f.header = c.always, c.header
			h := f.client(t)
			_, err := h.Pull(context.Background(), "owner/vit")
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil {
				return
			}
			if _, err := h.Find("owner/vit"); !errors.Is(err, ErrNotPulled) {
				t.Errorf("afterwards it is found: %v", err)
			}
			if list := incomplete(t, h); errors.Is(c.want, ErrCorrupt) && len(list) > 0 {
				t.Errorf("kept: %v", list)
			}
			pinned, err := pinFile(h.Pins).load()
			if err != nil || len(pinned) > 0 {
				t.Errorf("pinned: %v, %v", pinned, err)
			}
		})
	}
}

// cutOnce breaks the connection of a first, rangeless request.
type cutOnce struct {
	http.ResponseWriter
	r *http.Request
}

func (c *cutOnce) Write(p []byte) (int, error) {
	if c.r.Header.Get("Range") == "" {
		return (&cutWriter{ResponseWriter: c.ResponseWriter, left: 1000}).Write(p)
	}
	return c.ResponseWriter.Write(p)
}

// TestConcurrent has several pulls of one file at a time, in one cache.
func TestConcurrent(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	h := f.client(t)
	h.Note = nil
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			other := *h
			p, err := other.Pull(context.Background(), "owner/vit")
			if err != nil {
				t.Error(err)
				return
			}
			checkContents(t, f, p)
		})
	}
	wg.Wait()
	if n := len(f.loads); n != 2 {
		t.Errorf("2 large files were loaded %d times", n)
	}
}

// TestLocked waits for another process, and stops waiting when told to.
func TestLocked(t *testing.T) {
	f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, 1000)})
	h := f.client(t)
	s, err := h.session()
	if err != nil {
		t.Fatal(err)
	}
	name := etagOf("model.onnx", content(1, 1000)) + ".lock"
	path := filepath.Join(s.Cache, ".locks", "models--owner--vit", name)
	unlock, err := lock(context.Background(), path, func() { t.Error("the lock was held") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.Note = func(text string) {
		if strings.Contains(text, "waiting for another process") {
			cancel()
		}
	}
	if _, err := h.Pull(ctx, "owner/vit"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted at the lock: %v", err)
	}
	h.Note = func(text string) { time.AfterFunc(10*time.Millisecond, unlock) }
	mustPull(t, f, h, "owner/vit")
}

// TestFullDisk stops the writing in the middle.
func TestFullDisk(t *testing.T) {
	const size = 3 << 20
	f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, size)})
	h := f.client(t)
	writes := 0
	restore := disk.SetFault(func(op disk.Op, path string) error {
		if writes++; op == disk.Tear && writes > 4 {
			return syscall.ENOSPC
		}
		return nil
	})
	_, err := h.Pull(t.Context(), "owner/vit")
	restore()
	half, missing := filepath.Glob(filepath.Join(h.Cache, "*", "blobs", "*.incomplete"))
	if missing != nil || len(half) != 1 {
		t.Fatal(half, missing)
	}
	kept := len(testkit.ReadFile(t, half[0]))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room") ||
		!strings.Contains(err.Error(), "of model.onnx are kept") || kept == 0 {
		t.Errorf("full disk, %d bytes are kept: %v", kept, err)
	}
	f.reset()
	mustPull(t, f, h, "owner/vit")
	if got := f.ranges(); !slices.Equal(got, []string{fmt.Sprintf("bytes=%d-", kept)}) {
		t.Errorf("asked for %q", got)
	}
}

// A disk that is full, or a folder that forbids it, is no file system without links: nothing is copied instead.
func TestLinksFail(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EACCES, syscall.EIO} {
		f := newFakeHub(t, vitFiles())
		h := f.client(t)
		restore := disk.SetFault(func(op disk.Op, path string) error {
			if op == disk.Link && strings.Contains(path, "snapshots") {
				return errno
			}
			return nil
		})
		_, err := h.Pull(context.Background(), "owner/vit")
		restore()
		if !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
		mustPull(t, f, h, "owner/vit")
	}
}

// TestWithoutLinks has a file system, or a user, that wants no symbolic links.
func TestWithoutLinks(t *testing.T) {
	t.Setenv("HF_HUB_DISABLE_SYMLINKS", "1")
	f := newFakeHub(t, vitFiles())
	h := f.client(t)
	p := mustPull(t, f, h, "owner/vit")
	before, err := os.Lstat(p.Path)
	if err != nil || !before.Mode().IsRegular() {
		t.Fatalf("%v, %v", before.Mode(), err)
	}
	f.reset()
	mustPull(t, f, h, "owner/vit")
	if after, err := os.Lstat(p.Path); err != nil || !os.SameFile(before, after) || len(f.loads) > 0 {
		t.Errorf("pulled again: %d loads, copied again: %v, %v", len(f.loads), !os.SameFile(before, after), err)
	}
	// The hub's own client moves the content instead of copying it.
	if err := os.RemoveAll(filepath.Join(h.Cache, "models--owner--vit", "blobs")); err != nil {
		t.Fatal(err)
	}
	mustPull(t, f, h, "owner/vit")
	if len(f.loads) > 0 {
		t.Errorf("%d loads of what the snapshot has", len(f.loads))
	}
	if err := os.WriteFile(p.Path, []byte("spoilt"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustPull(t, f, h, "owner/vit")
}
