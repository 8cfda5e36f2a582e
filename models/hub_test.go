package models

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPins has the hub's files change after the first pull.
func TestPins(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	h := f.client(t)
	first := mustPull(t, f, h, "owner/vit")

	// Another commit with the same model is no change.
	f.commit(map[string][]byte{"README.md": []byte("# Better")})
	f.reset()
	second := mustPull(t, f, h, "owner/vit")
	if second.Commit == first.Commit || len(f.loads) > 0 {
		t.Errorf("after a change beside the model: commit %s, %d loads", second.Commit, len(f.loads))
	}

	f.commit(map[string][]byte{"onnx/model.onnx_data": content(7, 1000)})
	f.reset()
	_, err := h.Pull(context.Background(), "owner/vit")
	if !errors.Is(err, ErrChanged) || len(f.loads) > 0 {
		t.Fatalf("changed data: %v, %d loads", err, len(f.loads))
	}
	for _, want := range []string{"onnx/model.onnx_data", "vitft models pull owner/vit --update",
		"vitft models pull owner/vit@" + second.Commit} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	if found, err := h.Find("owner/vit"); err != nil || found.Commit != second.Commit {
		t.Errorf("what was pulled first: %+v, %v", found, err)
	}
	if old := mustPull(t, f, h, "owner/vit@"+second.Commit); len(f.loads) > 0 || old.Commit != second.Commit {
		t.Errorf("the old commit: %+v", old)
	}
	h.Update = true
	if third := mustPull(t, f, h, "owner/vit"); third.Commit != f.commits[2] || third.Files[1].Size != 1000 {
		t.Errorf("updated to %+v", third)
	}
	h.Update = false
	mustPull(t, f, h, "owner/vit")

	// A mirror that serves something else is found out, too.
	other := newFakeHub(t, vitFiles())
	other.commit(map[string][]byte{"onnx/model.onnx": content(66, 100)})
	mirror := *h
	mirror.Endpoint = other.hub.URL
	if _, err := mirror.Pull(context.Background(), "owner/vit"); !errors.Is(err, ErrChanged) {
		t.Errorf("another model from a mirror: %v", err)
	}

	if err := os.WriteFile(h.Pins, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func() error{
		"Pull": func() error { _, err := h.Pull(context.Background(), "owner/vit"); return err },
		"Find": func() error { _, err := h.Find("owner/vit"); return err },
		"List": func() error { _, err := h.List(); return err },
	} {
		if err := call(); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), h.Pins) {
			t.Errorf("%s with broken pins: %v", what, err)
		}
	}
}

func TestPinsOfSeveral(t *testing.T) {
	file := pinFile(filepath.Join(t.TempDir(), "sub", "pins.json"))
	p := pin{Digest: digest(strings.Repeat("a", 64)), Size: 1, Commit: strings.Repeat("b", 40)}
	names := []string{"a.onnx", "b.onnx", "c.onnx", "d.onnx", "e.onnx", "f.onnx"}
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			if err := file.add(context.Background(), ref{"o/n", name, "main"}, map[string]pin{name: p}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := file.load()
	if err != nil || len(all["o/n@main"]) != len(names) || all["o/n@main"]["c.onnx"] != p {
		t.Errorf("%v, %v", all, err)
	}
	for i, r := range all.models() {
		if r != (ref{"o/n", names[i], "main"}) {
			t.Errorf("model %d is %v", i, r)
		}
	}
}

func TestOffline(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	h := f.client(t)
	offline := *h
	offline.Offline = true
	_, err := offline.Pull(context.Background(), "owner/vit")
	if !errors.Is(err, ErrNotPulled) || !strings.Contains(err.Error(), "offline mode is on") {
		t.Errorf("offline, not here: %v", err)
	}
	if len(f.requests) > 0 {
		t.Errorf("offline, the hub was asked %v", f.requests)
	}
	p := mustPull(t, f, h, "owner/vit")
	f.reset()
	t.Setenv("HF_HUB_OFFLINE", "true")
	mustPull(t, f, h, "owner/vit")
	if len(f.requests) > 0 {
		t.Errorf("HF_HUB_OFFLINE, the hub was asked %v", f.requests)
	}
	spoilt := bytes.Repeat([]byte("x"), int(p.Files[0].Size))
	if err := os.WriteFile(p.Path, spoilt, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Pull(context.Background(), "owner/vit"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("offline, spoilt: %v", err)
	}
	if err := os.WriteFile(p.Path, spoilt[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Find("owner/vit"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("cut short: %v", err)
	}
	t.Setenv("HF_HUB_OFFLINE", "")
	mustPull(t, f, h, "owner/vit")
	if len(f.loads) != 1 {
		t.Errorf("mended with %d loads", len(f.loads))
	}
	for i, what := range []string{"the model", "the data"} {
		if err := os.Remove(p.Files[i].Path); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Find("owner/vit"); !errors.Is(err, ErrNotPulled) {
			t.Errorf("without %s: %v", what, err)
		}
		mustPull(t, f, h, "owner/vit")
	}
	if err := os.RemoveAll(filepath.Join(h.Cache, "models--owner--vit", "blobs")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Find("owner/vit"); !errors.Is(err, ErrNotPulled) {
		t.Errorf("without contents: %v", err)
	}
}

// TestOthersCache finds what the hub's own client left, which pins nothing.
func TestOthersCache(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	h := f.client(t)
	p := mustPull(t, f, h, "owner/vit")
	if err := os.Remove(h.Pins); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"owner/vit", "owner/vit:onnx/model.onnx", "owner/vit@" + p.Commit} {
		found, err := h.Find(name)
		if err != nil || found.Path != p.Path || found.Config != p.Config || found.Files[0].Digest != "" ||
			len(found.Files) != 3 {
			t.Errorf("Find(%q) = %+v, %v", name, found, err)
		}
	}
	if _, err := h.Find("owner/vit:other.onnx"); !errors.Is(err, ErrNotPulled) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestPlaces follows the environment variables of the hub's own client.
func TestPlaces(t *testing.T) {
	home := t.TempDir()
	for _, c := range []struct {
		env   map[string]string
		field string
		want  string
	}{
		{map[string]string{"HF_HOME": "", "XDG_CACHE_HOME": "/x"}, "", "/x/huggingface/hub"},
		{map[string]string{"HF_HOME": "", "XDG_CACHE_HOME": ""}, "", home + "/.cache/huggingface/hub"},
		{map[string]string{"HF_HOME": "~/hf"}, "", home + "/hf/hub"},
		{map[string]string{"HF_HOME": "/h", "HF_HUB_CACHE": "$HOME/c"}, "", home + "/c"},
		{map[string]string{"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/old"}, "", "/old"},
		{map[string]string{"HF_HUB_CACHE": "/c"}, "/field", "/field"},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Setenv("HOME", home)
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			s, err := (&Hub{Cache: c.field, Pins: "p"}).session()
			if err != nil || filepath.ToSlash(s.Cache) != filepath.ToSlash(c.want) {
				t.Errorf("%v: cache %s, %v; want %s", c.env, s.Cache, err, c.want)
			}
		})
	}
	for _, endpoint := range []string{"huggingface.co", "ftp://x", "https://", "https://user:pw@x", "https://x/?q=1",
		"::"} {
		t.Setenv("HF_ENDPOINT", endpoint)
		if _, err := (&Hub{}).Pull(context.Background(), "owner/vit"); !errors.Is(err, ErrSetting) ||
			!strings.Contains(err.Error(), "HF_ENDPOINT") {
			t.Errorf("HF_ENDPOINT=%s: %v", endpoint, err)
		}
	}
	t.Setenv("HF_ENDPOINT", "https://mirror.example/hf/")
	s, err := (&Hub{}).session()
	if err != nil || s.endpoint.JoinPath("a").String() != "https://mirror.example/hf/a" {
		t.Errorf("%v, %v", s.endpoint, err)
	}
}

// TestPathsFromTheHub has a hub list files that lead out of the cache.
func TestPathsFromTheHub(t *testing.T) {
	f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, 10), "../../../evil.onnx": content(1, 10),
		"model.onnx_data/../../../../evil": content(1, 10)})
	if p := mustPull(t, f, f.client(t), "owner/vit"); len(p.Files) != 1 {
		t.Errorf("pulled %+v", p.Files)
	}
}

func TestParseRef(t *testing.T) {
	for name, want := range map[string]ref{
		"owner/vit":                               {"owner/vit", "", "main"},
		"owner/vit:a.onnx":                        {"owner/vit", "a.onnx", "main"},
		"owner/vit:onnx/model_q4.onnx":            {"owner/vit", "onnx/model_q4.onnx", "main"},
		"owner/vit@v1.0":                          {"owner/vit", "", "v1.0"},
		"owner/vit:a.onnx@refs/pr/3":              {"owner/vit", "a.onnx", "refs/pr/3"},
		"a.b_c-d/e.f_g-h@" + f40:                  {"a.b_c-d/e.f_g-h", "", f40},
		"facebook/dinov2-small:onnx/model.onnx@x": {"facebook/dinov2-small", "onnx/model.onnx", "x"},
	} {
		got, err := parseRef(name)
		if err != nil || got != want {
			t.Errorf("parseRef(%q) = %+v, %v", name, got, err)
		}
		if got.String() != name || !IsName(name) {
			t.Errorf("%q is printed as %q", name, got)
		}
	}
	for _, name := range []string{"", "vit", "/vit", "owner/", "a/b/c", "../b", "a/..", "a/b..c", "a/b--c", ".a/b",
		"-a/b", "a b/c", "a/b:", "a/b:c.bin", "a/b:/c.onnx",
		"a/b:../c.onnx", "a/b:x/../c.onnx", `a/b:x\c.onnx`, "a/b:x\x00.onnx", "a/b@", "a/b@../x", "a/b@-x", "a/b@x/../y", "a/b@x y", "C:\\models\\vit.onnx", "http://x/y"} {
		if r, err := parseRef(name); !errors.Is(err, ErrUnknown) || IsName(name) {
			t.Errorf("parseRef(%q) = %+v, %v", name, r, err)
		}
	}
}

var f40 = strings.Repeat("f", 40)

func TestChooseFile(t *testing.T) {
	for _, c := range []struct {
		files []string
		want  string
	}{
		{[]string{"onnx/model.onnx", "onnx/text_model.onnx", "onnx/vision_model.onnx"}, "onnx/vision_model.onnx"},
		{[]string{"onnx/model.onnx", "onnx/model_fp16.onnx", "model.safetensors"}, "onnx/model.onnx"},
		{[]string{"README.md", "dinov2_vits14.onnx"}, "dinov2_vits14.onnx"},
		{[]string{"a.onnx", "b.onnx"}, ""},
		{[]string{"model.safetensors"}, ""},
	} {
		got, err := chooseFile("o/n", c.files)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("chooseFile(%v) = %q, %v", c.files, got, err)
		}
	}
	if _, err := chooseFile("o/n", []string{"a.onnx", "b.onnx"}); !errors.Is(err, ErrUnknown) ||
		!strings.Contains(err.Error(), "o/n:a.onnx, o/n:b.onnx") {
		t.Errorf("a choice: %v", err)
	}
	f := newFakeHub(t, map[string][]byte{"a.onnx": content(1, 10), "b.onnx": content(2, 10)})
	for name, text := range map[string]string{"owner/vit": "owner/vit:b.onnx", "owner/vit:c.onnx": "no file c.onnx"} {
		if _, err := f.client(t).Pull(context.Background(), name); !errors.Is(err, ErrUnknown) ||
			!strings.Contains(err.Error(), text) {
			t.Errorf("Pull(%q): %v", name, err)
		}
	}
}

func TestCompanions(t *testing.T) {
	files := []string{"onnx/model.onnx", "onnx/model.onnx_data", "onnx/model.onnx_data_1", "onnx/model.onnx.data",
		"onnx/model_fp16.onnx_data",
		"other/model.onnx_data", "preprocessor_config.json", "other/preprocessor_config.json", "config.json"}
	want := []string{"onnx/model.onnx_data", "onnx/model.onnx_data_1", "onnx/model.onnx.data",
		"preprocessor_config.json"}
	if got := companions("onnx/model.onnx", files); !slices.Equal(got, want) {
		t.Errorf("companions %v, want %v", got, want)
	}
	if got := companions("other/model.onnx", files); !slices.Equal(got,
		[]string{"other/model.onnx_data", "other/preprocessor_config.json"}) {
		t.Errorf("companions %v", got)
	}
	files = []string{"onnx/model.onnx", "config.json", "open_clip_config.json", "README.md"}
	if got := companions("onnx/model.onnx", files); !slices.Equal(got, files[1:3]) {
		t.Errorf("companions %v", got)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "120", 2 * time.Minute},
		{"Retry-After", "Sun, 22 Nov 2026 10:00:30 GMT", 30 * time.Second},
		{"Retry-After", "Sun, 22 Nov 2026 09:00:00 GMT", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "-5", 0},
		{"Retry-After", "99999999999999999999", 0},
		{"RateLimit", `"api";r=0;t=55`, 55 * time.Second},
		{"RateLimit", `"api";r=12;t=55`, 0},
	} {
		h := http.Header{}
		h.Set(c.name, c.value)
		if got := retryAfter(h, now); got != c.want {
			t.Errorf("%s: %s is %v, want %v", c.name, c.value, got, c.want)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"a/b", "a/b:c.onnx", "a/b:c/d.onnx@v1", "a/b@refs/pr/1", "a/b:../c.onnx", "@", ":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r, err := parseRef(name)
		if err != nil {
			return
		}
		again, err := parseRef(r.String())
		if err != nil || again != r {
			t.Errorf("%q is %+v, printed and parsed %+v, %v", name, r, again, err)
		}
		s := session{Hub: Hub{Cache: "/cache"}}
		for _, path := range []string{s.path(r, "snapshots", f40, cmp.Or(r.file, "x")), s.path(r, "refs", r.revision),
			s.path(r, "blobs", "d")} {
			if !strings.HasPrefix(filepath.ToSlash(path), "/cache/models--") {
				t.Errorf("%q leads to %s", name, path)
			}
		}
	})
}

func FuzzParseContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes 0-10/10",
		"bytes -1-5/6", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		start, total, err := parseContentRange(value)
		if err == nil && (start < 0 || total < -1 || total >= 0 && start >= total) {
			t.Errorf("%q is from %d of %d", value, start, total)
		}
	})
}

func FuzzParsePins(f *testing.F) {
	f.Add([]byte(`{"version":1,"repositories":{"o/n@main":{"a.onnx":{"digest":"sha256:` + strings.Repeat("0", 64) + `","size":1,"commit":"` + f40 + `"}}}}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"repositories":{"../x@main":{}}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parsePins("pins", text)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, r := range all.models() {
			if r.file == "" || !isRepositoryPath(r.file) {
				t.Errorf("%q pins %+v", text, r)
			}
		}
	})
}
