package cache_test

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/cache"
	"github.com/vitft/vitft/engine/feature/bucket"
	_ "github.com/vitft/vitft/engine/feature/bucket/cloud"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
)

// aged stands before the server of an object store and makes those objects older by days whose keys old says it of.
func aged(t *testing.T, server string, old func(key string) (days int)) (address string) {
	t.Helper()
	shifted := func(key, layout, text string) string {
		at, err := time.Parse(layout, text)
		if err != nil {
			t.Error(err)
		}
		return at.AddDate(0, 0, -old(key)).Format(layout)
	}
	// What tells of an object, and in it key and time: of Amazon, of Azure, of Google.
	entries := []struct {
		of, key, at *regexp.Regexp
		layout      string
	}{
		{regexp.MustCompile(`(?s)<Contents>.*?</Contents>`), regexp.MustCompile(`<Key>(.*?)<`),
			regexp.MustCompile(`<LastModified>(.*?)<`), time.RFC3339},
		{regexp.MustCompile(`(?s)<Blob>.*?</Blob>`), regexp.MustCompile(`<Name>(.*?)<`),
			regexp.MustCompile(`<Last-Modified>(.*?)<`), http.TimeFormat},
		{regexp.MustCompile(`"kind":"storage#object",.*?"updated":"[^"]*"`), regexp.MustCompile(`"name":"(.*?)"`),
			regexp.MustCompile(`"updated":"(.*?)"`), time.RFC3339Nano},
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: server})
			if r.In.Header.Get("X-Amz-Date") != "" {
				r.Out.Host = r.In.Host // which is signed
			}
			if r.In.Header.Get("Accept-Encoding") == "gzip" {
				r.Out.Header.Del("Accept-Encoding")
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if at := r.Header.Get("Last-Modified"); at != "" {
				r.Header.Set("Last-Modified", shifted(r.Request.URL.Path, http.TimeFormat, at))
			}
			if r.Request.Method != http.MethodGet {
				return nil
			}
			content, err := io.ReadAll(r.Body)
			for _, e := range entries {
				content = e.of.ReplaceAllFunc(content, func(of []byte) []byte {
					key, at := e.key.FindSubmatch(of)[1], e.at.FindSubmatchIndex(of)
					now := shifted(string(key), e.layout, string(of[at[2]:at[3]]))
					return slices.Concat(of[:at[2]], []byte(now), of[at[3]:])
				})
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(content)), int64(len(content))
			r.Header.Set("Content-Length", strconv.Itoa(len(content)))
			return err
		},
	}
	proxy := httptest.NewServer(forward)
	t.Cleanup(proxy.Close)
	return strings.TrimPrefix(proxy.URL, "http://")
}

// In an object store features and jobs go by the same rules; what was written, or said to be used, within a day stays
// whatever the rules are.
func TestPruneAnObjectStore(t *testing.T) {
	for _, scheme := range testkit.ObjectStores {
		t.Run(scheme, func(t *testing.T) {
			defer place.Forget()
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			age := func(string) int { return 0 }
			address, _ := testkit.ObjectStore(t, scheme, "team")
			through := aged(t, address, func(key string) int { return age(key) })
			t.Setenv("STORAGE_EMULATOR_HOST", through)
			pruned(t, scheme+"://team/vitft"+testkit.Reached(scheme, through), &age)
		})
	}
}

// pruned tests a cache in a bucket whose objects are as many days older as age says.
func pruned(t *testing.T, at string, age *func(key string) (days int)) {
	const day = 24 * time.Hour
	bare, _, _ := strings.Cut(at, "?")
	open := func(folder string) bucket.Closing {
		b, err := bucket.Open(ctx, at, folder, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	features, jobs := open("features"), open("jobs")
	put := func(b bucket.Bucket, name, text string) {
		t.Helper()
		err := b.Publish(ctx, name, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
		if err != nil {
			t.Fatal(err)
		}
	}
	fill := func(i int) *store.Store {
		s, _, err := store.Open(ctx, features, key(i))
		if err != nil {
			t.Fatal(err)
		}
		w, err := s.Writer(ctx, store.WriterOptions{BlockSize: 2})
		for k := range 3 {
			err = cmp.Or(err, w.Append(ctx, store.ID{byte(k)}, "x", []float32{1, 2}))
		}
		if err = cmp.Or(err, w.Close(ctx)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	hashes, models := []string{strings.Repeat("0", 16), strings.Repeat("1", 16)},
		[]string{strings.Repeat("a", 64), strings.Repeat("b", 64)}
	for i, hash := range hashes {
		s := fill(i)
		defer s.Close()
		put(jobs, hash+"/job.json", `{"model":"`+models[i]+`"}`)
		put(jobs, hash+"/tasks/000000.json", "[]")
		put(jobs, hash+"/done/000000.json", "{}")
		put(jobs, "models/"+models[i], "model")
	}
	put(jobs, "identity", "X")
	put(features, "mine/notes", "X")
	left := func() string {
		t.Helper()
		c := list(t, at)
		var all []string
		for _, s := range c.Stores {
			if s.Features != 3 || s.Blocks != 2 || s.Bytes == 0 {
				t.Errorf("%+v", s)
			}
			all = append(all, s.Key.Backbone[:1])
		}
		for _, j := range c.Jobs {
			if j.Tasks != 1 || j.Done != 1 {
				t.Errorf("%+v", j)
			}
			all = append(all, j.Hash[:2])
		}
		if len(c.Other) != 1 || c.Path != bare {
			t.Errorf("others in %s: %+v", c.Path, c.Other)
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	step := func(what string, r cache.Rules, want string, kept int) {
		t.Helper()
		p := prune(t, at, r)
		for _, x := range p.Kept {
			if !strings.Contains(x.Why, "less than 24 hours ago") {
				t.Errorf("%s: kept, %s", what, x.Why)
			}
		}
		if got := left(); got != want || len(p.Kept) != kept {
			t.Errorf("%s: %q are left, not %q; %+v", what, got, want, p)
		}
	}
	step("all of what is young", cache.Rules{All: true}, "0 00 1 11", 4)
	*age = func(key string) int {
		if strings.Contains(key, keyHash(0)) || strings.Contains(key, hashes[0]) || strings.Contains(key, "models") {
			return 40
		}
		return 0
	}
	step("nothing", cache.Rules{}, "0 00 1 11", 0)
	step("a dry run", cache.Rules{OlderThan: 30 * day, DryRun: true}, "0 00 1 11", 0)
	step("too young", cache.Rules{OlderThan: 50 * day}, "0 00 1 11", 0)
	*age = func(key string) int { // somebody has it open
		if strings.HasSuffix(key, bucket.Used) || strings.Contains(key, "clock-") {
			return 0
		}
		return 40
	}
	step("old, but used", cache.Rules{OlderThan: 30 * day, Backbone: "0"}, "0 00 1 11", 0)
	step("all, but used", cache.Rules{All: true, Backbone: "0"}, "0 00 1 11", 1)
	*age = func(key string) int {
		if strings.Contains(key, keyHash(0)) || strings.Contains(key, hashes[0]) || strings.Contains(key, "models") {
			return 40
		}
		return 0
	}
	step("old", cache.Rules{OlderThan: 30 * day}, "1 11", 0)
	names, err := jobs.List(ctx, "models")
	if err != nil || !slices.Equal(names, []string{"models/" + models[1]}) {
		t.Errorf("models %q, %v", names, err)
	}
	s := fill(0) // copies of what is gone are here still
	if s.Len() != 3 {
		t.Errorf("begun anew it has %d", s.Len())
	}
	s.Close()
	if left() != "0 1 11" {
		t.Errorf("begun anew there are %s", left())
	}
	*age = func(key string) int {
		if strings.Contains(key, "clock-") {
			return 0
		}
		return 2
	}
	step("all", cache.Rules{All: true}, "", 0)
	for _, b := range []bucket.Bucket{features, jobs} {
		names, err := b.List(ctx, "")
		if err != nil || len(names) != 1 || filepath.Base(names[0]) != "notes" && names[0] != "identity" {
			t.Errorf("left are %q, %v", names, err)
		}
	}
}

func keyHash(i int) string { k := key(i); return k.Hash() }
