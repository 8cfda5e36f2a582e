package models

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain keeps the tests away from the user's own settings, token and cache.
func TestMain(m *testing.M) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "HF_") ||
			strings.HasPrefix(name, "HUGGING") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("HF_HOME", filepath.Join(os.TempDir(), "vitft-test-no-such-home"))
	os.Exit(m.Run())
}

// fakeHub is a hub with one repository, and another host that stores its large files. Its faults are what real ones do
// wrong.
type fakeHub struct {
	hub, storage *httptest.Server
	repository   string

	mu        sync.Mutex
	commits   []string                     // those of main, newest last
	files     map[string]map[string][]byte // by commit and path
	requests  []string                     // "METHOD PATH", of the hub
	loads     []*http.Request              // of the storage
	hubFaults []fault                      // each answers one request instead of the hub
	faults    []fault                      // each answers one load instead of the storage
	always    fault                        // answers every load
	token     string                       // needed for everything, if there is one
	header    func(http.Header)            // changes what HEAD answers
}

// fault answers a request; content is what was asked for, nil at the hub.
type fault func(w http.ResponseWriter, r *http.Request, content []byte)

func newFakeHub(t *testing.T, files map[string][]byte) *fakeHub {
	f := &fakeHub{repository: "owner/vit", files: map[string]map[string][]byte{}}
	f.commit(files)
	f.hub = httptest.NewServer(http.HandlerFunc(f.serveHub))
	f.storage = httptest.NewServer(http.HandlerFunc(f.serveStorage))
	t.Cleanup(func() { f.hub.Close(); f.storage.Close() })
	return f
}

// commit makes a new commit of main with changed files.
func (f *fakeHub) commit(changes map[string][]byte) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string][]byte{}
	if n := len(f.commits); n > 0 {
		for name, content := range f.files[f.commits[n-1]] {
			all[name] = content
		}
	}
	for name, content := range changes {
		all[name] = content
	}
	sum := sha1.Sum(fmt.Append(nil, len(f.commits), len(all)))
	id := hex.EncodeToString(sum[:])
	f.commits, f.files[id] = append(f.commits, id), all
	return id
}

// client is a Hub with a cache and pins of its own, and no patience.
func (f *fakeHub) client(t *testing.T) *Hub {
	dir := t.TempDir()
	return &Hub{
		Endpoint: f.hub.URL, Cache: filepath.Join(dir, "hub"), Pins: filepath.Join(dir, "config", "models.lock.json"),
		Attempts: 4, Backoff: time.Millisecond, Stall: 5 * time.Second,
		Note: func(text string) { t.Log("note:", text) },
	}
}

// isLarge is true of what a repository keeps in LFS.
func isLarge(name string) bool {
	return !strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".md")
}

func etagOf(name string, content []byte) string {
	if isLarge(name) {
		sum := sha256.Sum256(content)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))
	return hex.EncodeToString(sum[:])
}

func take(list *[]fault) fault {
	if len(*list) == 0 {
		return nil
	}
	first := (*list)[0]
	*list = (*list)[1:]
	return first
}

func (f *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	if instead := take(&f.hubFaults); instead != nil {
		instead(w, r, nil)
		return
	}
	refuse := func(status int, code string) {
		w.Header().Set("X-Error-Code", code)
		w.WriteHeader(status)
	}
	if f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token {
		refuse(http.StatusUnauthorized, "GatedRepo")
		return
	}
	path, isAPI := strings.CutPrefix(r.URL.Path, "/api/models/")
	path = strings.TrimPrefix(path, "/")
	rest, ok := strings.CutPrefix(path, f.repository+"/")
	if !ok {
		refuse(http.StatusUnauthorized, "RepoNotFound")
		return
	}
	_, rest, _ = strings.Cut(rest, "/") // resolve or revision
	revision, name, _ := strings.Cut(rest, "/")
	if revision == "main" {
		revision = f.commits[len(f.commits)-1]
	}
	files, ok := f.files[revision]
	if !ok {
		refuse(http.StatusNotFound, "RevisionNotFound")
		return
	}
	if isAPI {
		answer := map[string]any{"sha": revision}
		var siblings []map[string]string
		for name := range files {
			siblings = append(siblings, map[string]string{"rfilename": name})
		}
		slices.SortFunc(siblings,
			func(a, b map[string]string) int { return strings.Compare(a["rfilename"], b["rfilename"]) })
		answer["siblings"] = siblings
		_ = json.NewEncoder(w).Encode(answer)
		return
	}
	content, ok := files[name]
	if !ok {
		refuse(http.StatusNotFound, "EntryNotFound")
		return
	}
	h := w.Header()
	h.Set("X-Repo-Commit", revision)
	h.Set("ETag", strconv.Quote(etagOf(name, content)))
	if !isLarge(name) {
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
		return
	}
	h.Set("X-Linked-Etag", strconv.Quote(etagOf(name, content)))
	h.Set("X-Linked-Size", strconv.Itoa(len(content)))
	if f.header != nil {
		f.header(h)
	}
	h.Set("Location", f.storage.URL+"/"+revision+"/"+name+"?signature=secret")
	w.WriteHeader(http.StatusFound)
}

func (f *fakeHub) serveStorage(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.loads = append(f.loads, r.Clone(context.Background()))
	instead := take(&f.faults)
	if instead == nil {
		instead = f.always
	}
	revision, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	content := f.files[revision][name]
	f.mu.Unlock()
	if instead == nil {
		instead = serve
	}
	instead(w, r, content)
}

// storageETag is not the hub's digest, as that of a real storage is not.
const storageETag = `"stored-once"`

func serve(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("ETag", storageETag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// breakOff serves n bytes of what was asked for and then closes the connection.
func breakOff(n int) fault {
	return func(w http.ResponseWriter, r *http.Request, content []byte) {
		serve(&cutWriter{ResponseWriter: w, left: n}, r, content)
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, _ := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// answer is a fault with this status and these headers.
func answer(status int, headers ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
	}
}

// ranges are the Range headers of all loads.
func (f *fakeHub) ranges() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []string{}
	for _, r := range f.loads {
		list = append(list, r.Header.Get("Range"))
	}
	return list
}

func (f *fakeHub) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests, f.loads, f.faults, f.hubFaults, f.always = nil, nil, nil, nil, nil
}

// content is n bytes that differ from place to place.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// vitFiles is a repository with a model, its external data, and more.
func vitFiles() map[string][]byte {
	return map[string][]byte{
		"README.md":                 []byte("# ViT"),
		"config.json":               []byte(`{"model_type":"vit"}`),
		"preprocessor_config.json":  []byte(`{"size":224}`),
		"onnx/model.onnx":           content(1, 3<<20),
		"onnx/model.onnx_data":      content(2, 1<<20),
		"onnx/model_quantized.onnx": content(3, 100),
	}
}

// mustPull pulls and checks that every file is there with its content.
func mustPull(t *testing.T, f *fakeHub, h *Hub, name string) Pulled {
	t.Helper()
	p, err := h.Pull(context.Background(), name)
	if err != nil {
		t.Fatalf("Pull(%q): %v", name, err)
	}
	checkContents(t, f, p)
	return p
}

func checkContents(t *testing.T, f *fakeHub, p Pulled) {
	t.Helper()
	for _, file := range p.Files {
		want := f.files[p.Commit][file.Name]
		got, err := os.ReadFile(file.Path)
		if err != nil || !bytes.Equal(got, want) || file.Size != int64(len(want)) {
			t.Errorf("%s: %d bytes (said to be %d), %v; want the hub's %d", file.Path, len(got), file.Size, err,
				len(want))
		}
	}
}

// incomplete lists what began to be loaded into the cache and is not whole.
func incomplete(t *testing.T, h *Hub) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(h.Cache, "models--*", "blobs", "*.incomplete"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}
