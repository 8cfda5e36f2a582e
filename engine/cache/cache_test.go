package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/cache"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/testkit"
)

var ctx = context.Background()

// filled is a cache folder with a store for each age in days, of backbones 0…, 1…, …, each of as many features as its
// place from 1, and what else vitft and others leave there.
func filled(t *testing.T, ages ...int) string {
	t.Helper()
	dir := t.TempDir()
	for i, age := range ages {
		fill(t, dir, i, i+1)
		makeOlder(t, filepath.Join(dir, "features", key(i).Hash()), age)
	}
	id := strings.Repeat("0a", 32)
	for _, file := range []string{"copies/" + id, "exported/" + id, "scan/0123456789abcdef"} {
		testkit.WriteFile(t, filepath.Join(dir, file), make([]byte, 100))
		makeOlder(t, filepath.Join(dir, filepath.Dir(file)), 20)
	}
	for _, file := range []string{"lib/libonnxruntime.so", "copies/notes.txt", "features/mine/data.safetensors",
		"features/readme"} {
		testkit.WriteFile(t, filepath.Join(dir, file), make([]byte, 10))
	}
	return dir
}

func key(i int) store.Key {
	return store.Key{Backbone: strings.Repeat(fmt.Sprint(i), 64), Preprocess: "image 28x28", Feature: "x/cls",
		Precision: "float32", Provider: "cpu", Dim: 2}
}

func open(t *testing.T, dir string, i int) *store.Store {
	t.Helper()
	s, _, err := store.Open(ctx, bucket.Dir(filepath.Join(dir, "features")), key(i))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fill(t *testing.T, dir string, i, features int) {
	t.Helper()
	s := open(t, dir, i)
	defer s.Close()
	w, err := s.Writer(ctx, store.WriterOptions{})
	for k := range features {
		err = errors.Join(err, w.Append(ctx, store.ID{byte(k)}, "x", []float32{1, 2}))
	}
	if err = errors.Join(err, w.Close(ctx)); err != nil {
		t.Fatal(err)
	}
}

// makeOlder gives the files below a folder an age in days.
func makeOlder(t *testing.T, dir string, days int) {
	t.Helper()
	at := time.Now().Add(-time.Duration(days) * 24 * time.Hour)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, at, at))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, dir string) *cache.Contents {
	t.Helper()
	c, err := cache.List(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func prune(t *testing.T, dir string, r cache.Rules) *cache.Pruned {
	t.Helper()
	p, err := cache.Prune(ctx, dir, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// left are the backbones whose features are left, by the digit that they are made of.
func left(t *testing.T, dir string) (digits string) {
	for _, s := range list(t, dir).Stores {
		digits += s.Key.Backbone[:1]
	}
	return digits
}

func TestList(t *testing.T) {
	dir := filled(t, 40, 3, 10)
	c := list(t, dir)
	var said []string
	for _, s := range c.Stores {
		said = append(said, fmt.Sprintf("%s %d %d %d %t", s.Key.Backbone[:1], s.Features, s.Blocks,
			int(time.Since(s.Used).Hours()/24), s.InUse))
	}
	if want := []string{"1 2 1 3 false", "2 3 1 10 false", "0 1 1 40 false"}; !slices.Equal(said, want) {
		t.Errorf("stores %q, not %q", said, want)
	}
	if c.Copies.Files != 1 || c.Scan.Files != 1 || c.Exported.Bytes != 100 {
		t.Errorf("copies %+v, scan %+v, exported %+v", c.Copies, c.Scan, c.Exported)
	}
	var others []string
	for _, o := range c.Other {
		name, _ := filepath.Rel(dir, o.Path)
		if o.What != "" {
			name += ", ours"
		}
		others = append(others, name)
	}
	want := []string{"copies/notes.txt", "features/mine", "features/readme", "lib, ours"}
	if !slices.Equal(others, want) {
		t.Errorf("others are %q, not %q", others, want)
	}
	var bytes int64
	for _, s := range c.Stores {
		bytes += s.Bytes
	}
	if c.Bytes != bytes+300 {
		t.Errorf("%d bytes in all, %d of stores", c.Bytes, bytes)
	}
	if c := list(t, filepath.Join(dir, "no such")); c.Bytes != 0 || len(c.Stores) != 0 {
		t.Errorf("of no folder: %+v", c)
	}
}

func TestPrune(t *testing.T) {
	const day = 24 * time.Hour
	size := list(t, filled(t, 1)).Stores[0].Bytes // a feature more takes 40 bytes more
	for name, c := range map[string]struct {
		rules cache.Rules
		left  string
		files int // of copies, scan and exported
	}{
		"nothing":   {cache.Rules{}, "120", 3},
		"old":       {cache.Rules{OlderThan: 15 * day}, "12", 0},
		"older":     {cache.Rules{OlderThan: 30 * day}, "12", 3},
		"all":       {cache.Rules{All: true}, "", 0},
		"backbone":  {cache.Rules{Backbone: "111111"}, "20", 3},
		"of both":   {cache.Rules{Backbone: "1", OlderThan: 5 * day}, "120", 3},
		"keep two":  {cache.Rules{Keep: new(2*size + 3*40 + 300)}, "12", 3},
		"keep all":  {cache.Rules{Keep: new(int64(1 << 40))}, "120", 3},
		"keep none": {cache.Rules{Keep: new(int64(0))}, "", 3},
		"dry":       {cache.Rules{All: true, DryRun: true}, "120", 3},
	} {
		dir := filled(t, 40, 3, 10)
		before := list(t, dir)
		p := prune(t, dir, c.rules)
		after := list(t, dir)
		if got := left(t, dir); got != c.left {
			t.Errorf("%s: %q are left, not %q", name, got, c.left)
		}
		if n := after.Copies.Files + after.Scan.Files + after.Exported.Files; n != c.files {
			t.Errorf("%s: %d files are left, not %d", name, n, c.files)
		}
		if freed := before.Bytes - after.Bytes; freed != p.Freed && !c.rules.DryRun {
			t.Errorf("%s: %d bytes are said to be freed, and are %d", name, p.Freed, freed)
		}
		if c.rules.DryRun && (p.Freed != before.Bytes || len(p.Removed) != 6) {
			t.Errorf("%s: %d of %d bytes in %d items", name, p.Freed, before.Bytes, len(p.Removed))
		}
		if len(after.Other) != 4 {
			t.Errorf("%s: of others' files are left %v", name, after.Other)
		}
	}
	_, err := cache.Prune(ctx, t.TempDir(), cache.Rules{All: true, OlderThan: day})
	if err == nil || fault.Of(err) != fault.Config {
		t.Errorf("everything, and what is old: %v", err)
	}
}

// Jobs go by their age, or with all, unless somebody is at one; so do backbones that no job is left for.
func TestPruneJobs(t *testing.T) {
	const day = 24 * time.Hour
	made := func(used string) string {
		dir := t.TempDir()
		for i, age := range []int{40, 3} {
			hash := strings.Repeat(fmt.Sprint(i), 16)
			model := strings.Repeat(fmt.Sprint(i), 64)
			for name, text := range map[string]string{"job.json": `{"model":"` + model + `"}`, "tasks/000000.json": "[]",
				"tasks/000001.json": "[]", "done/000000.json": "{}", "failed/X/000001.json": "{}"} {
				testkit.WriteFile(t, filepath.Join(dir, "jobs", hash, name), []byte(text))
			}
			makeOlder(t, filepath.Join(dir, "jobs", hash), age)
			testkit.WriteFile(t, filepath.Join(dir, "jobs", "models", model), make([]byte, 100))
		}
		testkit.WriteFile(t, filepath.Join(dir, "jobs", "identity"), []byte("X"))
		testkit.WriteFile(t, filepath.Join(dir, "jobs", "mine.txt"), []byte("X"))
		makeOlder(t, filepath.Join(dir, "jobs", "models"), 40)
		if used != "" {
			held, err := atomicfile.Share(filepath.Join(dir, "jobs", used))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { held.Close() })
		}
		return dir
	}
	old, young := strings.Repeat("0", 16), strings.Repeat("1", 16)
	for name, c := range map[string]struct {
		rules cache.Rules
		used  string
		left  []string
		kept  int
	}{
		"nothing": {cache.Rules{}, "", []string{young, old}, 0},
		"old":     {cache.Rules{OlderThan: 30 * day}, "", []string{young}, 0},
		"all":     {cache.Rules{All: true}, "", nil, 0},
		"in use":  {cache.Rules{All: true}, old, []string{old}, 1},
		"dry":     {cache.Rules{All: true, DryRun: true}, "", []string{young, old}, 0},
	} {
		dir := made(c.used)
		before := list(t, dir)
		if j := before.Jobs[0]; len(before.Jobs) != 2 || j.Hash != young || j.Tasks != 2 || j.Done != 1 ||
			j.Bytes == 0 {
			t.Fatalf("%+v", before.Jobs)
		}
		p := prune(t, dir, c.rules)
		after := list(t, dir)
		var left []string
		for _, j := range after.Jobs {
			left = append(left, j.Hash)
		}
		if !slices.Equal(left, c.left) || len(p.Kept) != c.kept {
			t.Errorf("%s: %v are left, %+v", name, left, p.Kept)
		}
		if freed := before.Bytes - after.Bytes; freed != p.Freed && !c.rules.DryRun {
			t.Errorf("%s: %d bytes are said to be freed, and are %d", name, p.Freed, freed)
		}
		models, err := os.ReadDir(filepath.Join(dir, "jobs", "models"))
		if err != nil || len(models) != len(c.left) {
			t.Errorf("%s: %d models are left, %v", name, len(models), err)
		}
		for _, file := range []string{"identity", "mine.txt"} {
			if _, err := os.Stat(filepath.Join(dir, "jobs", file)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What a process has open stays, and is what was used last from then on.
func TestPruneLeavesWhatIsInUse(t *testing.T) {
	dir := filled(t, 40, 30)
	s := open(t, dir, 0)
	if c := list(t, dir); !c.Stores[0].InUse || c.Stores[0].Key != key(0) || c.Stores[1].InUse ||
		time.Since(c.Stores[0].Used) > time.Hour {
		t.Errorf("%+v", c.Stores)
	}
	p := prune(t, dir, cache.Rules{All: true})
	if got := left(t, dir); got != "0" || len(p.Kept) != 1 || p.Kept[0].Why != "in use" {
		t.Errorf("%q are left, kept are %+v", got, p.Kept)
	}
	row := make([]float32, 2)
	if err := s.Gather(ctx, []store.ID{{0}}, row); err != nil || row[1] != 2 {
		t.Errorf("%v, %v", row, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if prune(t, dir, cache.Rules{All: true}); left(t, dir) != "" {
		t.Error("it is left when it is closed")
	}
	fill(t, dir, 0, 3)
	if c := list(t, dir); len(c.Stores) != 1 || c.Stores[0].Features != 3 {
		t.Errorf("after it was filled again: %+v", c.Stores)
	}
}

// Stores may be opened and pruned at the same time: whoever opens one has it.
func TestPruneBesideOthers(t *testing.T) {
	dir := filled(t)
	done := make(chan error)
	go func() {
		for range 30 {
			if _, err := cache.Prune(ctx, dir, cache.Rules{All: true}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 30 {
		fill(t, dir, 0, 2)
		s := open(t, dir, 0)
		had := s.Has(store.ID{1})
		err := s.Gather(ctx, []store.ID{{1}}, make([]float32, 2))
		if had && err != nil || !had && !errors.Is(err, store.ErrMissing) {
			t.Errorf("of a store that has it, %v: %v", had, err)
		}
		s.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPruneTakesWhatIsOfNoUse(t *testing.T) {
	dir := filled(t, 1)
	folder := filepath.Join(dir, "features", key(0).Hash())
	aside := testkit.WriteFile(t, filepath.Join(folder, "20261122T221544.160375651Z-1d27c309.safetensors.corrupt"),
		make([]byte, 50))
	half := testkit.WriteFile(t, filepath.Join(folder, ".tmp-"+strings.Repeat("A", 26)), make([]byte, 70))
	written := testkit.WriteFile(t, filepath.Join(folder, ".tmp-"+strings.Repeat("B", 26)), nil)
	writer, err := atomicfile.Lock(written)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if p := prune(t, dir, cache.Rules{}); p.Freed != 120 || len(p.Removed) != 2 {
		t.Errorf("%+v", p)
	}
	for path, stays := range map[string]bool{aside: false, half: false, written: true} {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s: %v", path, err)
		}
	}
	if left(t, dir) != "0" {
		t.Error("the store is gone")
	}
	foreign := testkit.WriteFile(t, filepath.Join(folder, "mine.txt"), nil)
	p := prune(t, dir, cache.Rules{All: true})
	if _, err := os.Stat(foreign); err != nil || len(p.Kept) != 1 || list(t, dir).Stores[0].Features != 0 {
		t.Errorf("a file of others: %v, %+v", err, p.Kept)
	}
}
