package work

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
)

// Tasks are all images in their order, no more in each than may be, nor more bytes if it is more than one image.
func TestCut(t *testing.T) {
	sizes := []int64{1, 1, 1, taskBytes, 1, 2 * taskBytes, 1, 1, 1}
	items, images := make([]dataset.Item, len(sizes)), make([]Image, len(sizes))
	for i, size := range sizes {
		images[i] = Image{Path: fmt.Sprint(i), Size: size}
	}
	var got []string
	for _, list := range cut(items, images, 2) {
		text := ""
		for _, im := range list {
			text += im.Path
		}
		got = append(got, text)
	}
	if want := "01 23 45 67 8"; strings.Join(got, " ") != want {
		t.Errorf("tasks are %v, not %s", got, want)
	}
	if len(cut(nil, nil, 2)) != 0 {
		t.Error("no images make a task")
	}
}

// A task of tokens has as many images as are some megabytes in all views; one of features, where nobody asks for more
// than memory is for, as many as are asked for.
func TestMost(t *testing.T) {
	of := func(dim int, stored string, views int) []store.Key {
		return slices.Repeat([]store.Key{{Dim: dim, Stored: stored}}, views)
	}
	for _, x := range []struct {
		asked int
		keys  []store.Key
		want  int
	}{
		{512, of(192, "", 12), 512}, {1 << 16, of(768, "", 1), 21845}, {512, of(1<<30, "", 1), 1},
		{512, of(197*192, store.Half, 1), 221}, {100, of(197*192, store.Half, 1), 100},
		{512, of(197*768, store.Half, 2), 27}, {512, of(5*64, store.Half, 1), 512}, {512, of(1<<24, store.Half, 1), 1},
	} {
		if got := most(x.asked, x.keys); got != x.want {
			t.Errorf("%d images of %+v make tasks of %d, not %d", x.asked, x.keys[0], got, x.want)
		}
	}
}

// A job is the images of all sets by paths that do not depend on the working directory, each once.
func TestFreeze(t *testing.T) {
	t.Chdir(filepath.Dir(testkit.Folder(t, 1, 2, 2)))
	folder, err := os.ReadDir(".")
	if err != nil || len(folder) != 1 {
		t.Fatal(folder, err)
	}
	d, _, err := dataset.Open(folder[0].Name(), dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gone := d.Items[1].Path
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	items, images, err := freeze(&dataset.Sets{Train: d, Test: d})
	if err != nil || len(items) != 4 || len(images) != 4 {
		t.Fatalf("%d items, %d images, %v", len(items), len(images), err)
	}
	for i, im := range images {
		if !filepath.IsAbs(im.Path) || !strings.HasSuffix(im.Path, items[i].Path) {
			t.Errorf("%s is frozen as %s", items[i].Path, im.Path)
		}
		if known := im.Modified != 0 && im.Size != 0; known != (items[i].Path != gone) {
			t.Errorf("%s has size %d and time %d", im.Path, im.Size, im.Modified)
		}
	}
}

// The hash of a job follows from everything in it.
func TestHash(t *testing.T) {
	seen := map[string]int{}
	for i, change := range []func(*Job){func(*Job) {}, func(j *Job) { j.Model = "2" }, func(j *Job) { j.Images++ },
		func(j *Job) { j.Tasks[0] = "2" }, func(j *Job) { j.Keys[0].Provider = "cuda" },
		func(j *Job) { j.Keys = append(j.Keys, store.Key{View: "flip"}) },
		func(j *Job) { j.Preprocess.Width++ }, func(j *Job) { j.Library = "1" }, func(j *Job) { j.Format = "2" }} {
		j := Job{Format: jobFormat, Keys: []store.Key{{Provider: "cpu"}}, Model: "1", Tasks: []string{"1"}}
		change(&j)
		if other, is := seen[j.Hash()]; is {
			t.Errorf("changes %d and %d have the same hash", i, other)
		}
		seen[j.Hash()] = i
	}
}

func FuzzParseTask(f *testing.F) {
	const name = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	f.Add(string(taskMessage("0123456789abcdef", 7, name)))
	f.Add("0123456789abcdef -1 " + name)
	f.Add("../../../../../../etc 1 " + name)
	f.Add("0123456789abcdef 1 " + name + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		hash, task, submission, err := parseTask(text)
		if err == nil && !strings.Contains(text, " 0") && string(taskMessage(hash, task, submission)) != text {
			t.Errorf("%q is %s, %d, %s", text, hash, task, submission)
		}
		if err == nil && bucket.CheckName(object(hash, records, task)) != nil {
			t.Errorf("%q makes a name that is none", text)
		}
	})
}

// A worker reads from its folders only, whatever links, dots and names inside files lead out of them.
func TestRefusal(t *testing.T) {
	base := t.TempDir()
	photo := func(name string) string { return testkit.WriteFile(t, filepath.Join(base, name), []byte("x")) }
	inside, secret := photo("photos/a.jpg"), photo("secret/b.zip")
	for to, from := range map[string]string{"photos/link": "secret", "way": "photos"} {
		if err := os.Symlink(filepath.Join(base, from), filepath.Join(base, to)); err != nil {
			t.Fatal(err)
		}
	}
	for read, may := range map[string]map[string]bool{
		"": {secret: true},
		filepath.Join(base, "photos"): {
			inside:                                true,
			base + "/way/a.jpg":                   true,
			base + "/photos/../photos/a.jpg":      true,
			inside + "#inside":                    true,
			base + "/photos/not-there.jpg":        true, // that is said when it is read
			secret:                                false,
			base + "/photos/../secret/b.zip":      false,
			base + "/photos/link/b.zip":           false,
			base + "/photos/link/../secret/b.zip": false,
			secret + "#/../../photos/a.jpg":       false,
			base + "/photos2/a.jpg":               false,
			base + "/photos/../secret/none.jpg":   false,
		},
		" " + filepath.Join(base, "way") + " , /nowhere": {inside: true, secret: false},
	} {
		w := &worker{WorkerOptions: WorkerOptions{Read: read}}
		for path, want := range may {
			if err := w.refusal(path); (err == nil) != want || err != nil && fault.Of(err) != fault.Config {
				t.Errorf("--read %q: %s: %v", read, path, err)
			}
		}
	}
}

// What a worker has read counts for the scan index only if it is the file of the submission; a machine that sees none
// of the files does not take them for bad images.
func TestCompare(t *testing.T) {
	dir := testkit.Folder(t, 1, 5)
	testkit.Age(t, dir)
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(paths) != 5 {
		t.Fatal(paths, err)
	}
	set, err := dataset.Files("x", paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, images, err := freeze(&dataset.Sets{Train: set})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	testkit.WriteFile(t, paths[2], []byte("another"))
	images[3].Modified = 0 // it was not there
	now := time.Now()
	if err := os.Chtimes(paths[4], now, now); err != nil {
		t.Fatal(err)
	}
	images[4].Modified = now.UnixNano()
	if same, err := compare(set, images); err != nil || fmt.Sprint(same) != "[true false false false false]" {
		t.Errorf("%v, %v", same, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := compare(set, images); fault.Of(err) != fault.Data || !strings.Contains(err.Error(), paths[0]) {
		t.Errorf("a machine without the folder: %v", err)
	}
	const url = "s3://b/a.jpg" // of whose time a reader is told whole seconds
	second := time.Unix(1e9, 0)
	read := func(int) fs.FileInfo { return place.Expected(url, 5, second, "") }
	if set, err = dataset.Files("x", []string{url}, read); err != nil {
		t.Fatal(err)
	}
	one := Image{Path: url, Size: 5, Modified: second.Add(time.Millisecond).UnixNano(), Tag: "1"}
	if same, err := compare(set, []Image{one}); err != nil || !same[0] {
		t.Errorf("in an object store: %v, %v", same, err)
	}
}

// Records and other objects of a job that are damaged are set aside, and made anew.
func TestDamagedObjects(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	b := jobBucket{bucket.Dir(dir)}
	job := Job{Format: jobFormat, Keys: []store.Key{{Provider: "cpu"}}, Tasks: []string{sum([]byte("[]"))}}
	name := job.Hash() + "/" + jobObject
	if put, err := b.keep(ctx, name, encoded(job), false); err != nil || !put {
		t.Fatal(put, err)
	}
	if got, err := b.job(ctx, job.Hash()); err != nil || got.Hash() != job.Hash() {
		t.Errorf("%+v, %v", got, err)
	}
	testkit.WriteFile(t, filepath.Join(dir, name), []byte("{}"))
	if _, err := b.job(ctx, job.Hash()); fault.Of(err) != fault.Data {
		t.Errorf("a damaged job: %v", err)
	}
	testkit.WriteFile(t, filepath.Join(dir, name), []byte("{"))
	for _, want := range []bool{true, false} {
		if put, err := b.keep(ctx, name, encoded(job), true); err != nil || put != want {
			t.Error(put, err)
		}
	}
	if _, err := b.job(ctx, job.Hash()); err != nil {
		t.Errorf("mended: %v", err)
	}
	newer := job
	newer.Format = "vitft-job-99"
	testkit.WriteFile(t, filepath.Join(dir, name), encoded(newer))
	if _, err := b.job(ctx, job.Hash()); fault.Of(err) != fault.Runtime {
		t.Errorf("the job of another version: %v", err)
	}

	record := object(job.Hash(), records, 0)
	for _, text := range []string{"", "{", "null", `{"images":[{"id":"00"}]}`, `{"images":7}`} {
		testkit.WriteFile(t, filepath.Join(dir, record), []byte(text))
		if r, err := b.record(ctx, record, 2); err == nil {
			t.Errorf("the record %q is taken for %+v", text, r)
		}
		if _, err := os.Stat(filepath.Join(dir, record)); err == nil {
			t.Errorf("the record %q is not set aside", text)
		}
	}
	good, _ := json.Marshal(Record{Images: make([]Done, 2)})
	testkit.WriteFile(t, filepath.Join(dir, record), good)
	if _, err := b.record(ctx, record, 2); err != nil {
		t.Error(err)
	}
}

// Folders of servers that were killed go when the next one starts, those of living ones stay.
func TestFolders(t *testing.T) {
	in := t.TempDir()
	alive, held, err := newFolder(in)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	dead := filepath.Dir(testkit.WriteFile(t, filepath.Join(in, folderName+"1", "jetstream", "x"), []byte("x")))
	dead = filepath.Dir(dead)
	fresh := filepath.Dir(testkit.WriteFile(t, filepath.Join(in, folderName+"2", "x"), []byte("x")))
	other := testkit.WriteFile(t, filepath.Join(in, "mine"), nil)
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range []string{alive, dead, other} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	next, again, err := newFolder(in)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for path, stays := range map[string]bool{alive: true, dead: false, fresh: true, other: true, next: true} {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A worker is of one bucket, however that is spelt.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, at := range []string{dir, dir + "/", dir + "//", dir + "/.", dir + "/x/..", link, link + "/"} {
		b, identity, err := openJobs(t.Context(), feature.Options{Cache: at})
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		seen[identity] = at
	}
	if len(seen) != 1 {
		t.Errorf("one folder is %v", seen)
	}
	b, identity, err := openJobs(t.Context(), feature.Options{Cache: t.TempDir()})
	if err != nil || seen[identity] != "" {
		t.Errorf("another folder has the identity %s, %v", identity, err)
	}
	b.Close()
}

// What is said to be a worker on the queue is taken for one only if it is short and plain.
func FuzzParseWorker(f *testing.F) {
	f.Add(newPresence("host-1").say(false))
	f.Add([]byte(`{"name":"a\u001b[2J","doing":{"job":"\n"}}`))
	f.Add([]byte(`{"name":"\n"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, ok := parseWorker(text)
		if ok && (w.Name == "" || len(text) > 4096 || strings.ContainsFunc(w.Name+w.Host, unicode.IsControl)) {
			t.Errorf("%q is taken for %+v", text, w)
		}
	})
}
