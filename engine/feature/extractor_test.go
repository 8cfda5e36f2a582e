package feature

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/vision"
)

func TestMain(m *testing.M) { ort.Main(m) }

var embedded *backbone.Backbone // opened once

func openBackbone(t testing.TB, name string) *backbone.Backbone {
	t.Helper()
	ort.Need(t)
	if name == "" && embedded != nil {
		return embedded
	}
	b, err := backbone.Open(backbone.Options{Name: name}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	if name == "" {
		embedded = b
	} else {
		t.Cleanup(func() { b.Close() })
	}
	return b
}

func openWith(t testing.TB, cache string, views int, ev event.Events) *Extractor {
	t.Helper()
	x, err := Open(context.Background(), openBackbone(t, ""), vision.Views(views), Options{Cache: cache, Batch: 4}, ev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

// photos is a data set of drawn images that were made an hour ago.
func photos(t testing.TB, seed uint64, counts ...int) *dataset.Dataset {
	t.Helper()
	d, _, err := dataset.Open(testkit.Folder(t, seed, counts...), dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, it := range d.Items {
		if err := os.Chtimes(it.Path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func ensure(t testing.TB, x *Extractor, d *dataset.Dataset, n int) *Set {
	t.Helper()
	set, err := x.Ensure(context.Background(), "train", d, n)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func mean(t testing.TB, s Source, set *Set, n int) []float32 {
	t.Helper()
	rows, err := Mean(context.Background(), s, set.Scan.IDs, n)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Views that come into the stores one by one are those that come together, and an image is encoded once.
func TestEnsure(t *testing.T) {
	d := photos(t, 1, 5, 4)
	grown, cold := t.TempDir(), openWith(t, t.TempDir(), 3, event.Events{})
	together := ensure(t, cold, d, 3)
	for _, step := range []struct{ views, encoded int }{{1, 9}, {3, 9}, {2, 0}, {3, 0}} {
		x := openWith(t, grown, 3, event.Events{})
		set := ensure(t, x, d, step.views)
		if set.Encoded != step.encoded || (set.Seconds > 0) != (step.encoded > 0) || len(set.Data.Items) != 9 {
			t.Errorf("%d views: %d images are encoded in %v s, want %d", step.views, set.Encoded, set.Seconds,
				step.encoded)
		}
		if !slices.Equal(mean(t, x, set, step.views), mean(t, cold, together, step.views)) {
			t.Errorf("%d views: other features", step.views)
		}
	}
	one, err := Interleaved(t.Context(), cold, together.Scan.IDs, 1)
	if err != nil || !slices.Equal(one, mean(t, cold, together, 1)) {
		t.Errorf("one view interleaved is not its mean, %v", err)
	}
	if slices.Equal(one, mean(t, cold, together, 2)) {
		t.Error("the second view is that of the first")
	}
	if err := cold.Gather(t.Context(), nil, 3, nil); err == nil {
		t.Error("a fourth view of 3")
	}
	for _, n := range []int{0, 4} {
		if _, err := cold.Ensure(t.Context(), "train", d, n); err == nil {
			t.Errorf("%d views of 3 that are open", n)
		}
	}
}

// A warm run opens no image: it serves what was there, whatever is in the files now.
func TestWarmRunOpensNoImage(t *testing.T) {
	d, cache := photos(t, 2, 3, 3), t.TempDir()
	first := openWith(t, cache, 1, event.Events{})
	set := ensure(t, first, d, 1)
	for _, it := range d.Items {
		info, err := os.Stat(it.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(it.Path, make([]byte, info.Size()), 0o644),
			os.Chtimes(it.Path, info.ModTime(), info.ModTime())); err != nil {
			t.Fatal(err)
		}
	}
	// another set of the run, another run
	for _, x := range []*Extractor{first, openWith(t, cache, 1, event.Events{})} {
		again := ensure(t, x, d, 1)
		if again.Encoded != 0 || !slices.Equal(again.Scan.IDs, set.Scan.IDs) {
			t.Errorf("%d images are encoded", again.Encoded)
		}
	}
	if err := os.RemoveAll(filepath.Join(cache, ScanFolder)); err != nil {
		t.Fatal(err)
	}
	x := openWith(t, cache, 1, event.Events{})
	if _, err := x.Ensure(t.Context(), "train", d, 1); fault.Of(err) != fault.Data {
		t.Errorf("without the index: %v", err)
	}
}

// An image that changes between scan and encoding is filed as what it is, and so are its former copies.
func TestImageChangesMeanwhile(t *testing.T) {
	d, cache := photos(t, 3, 4, 4), t.TempDir()
	first := d.Items[0].Path
	old := testkit.ReadFile(t, first)
	twin := testkit.WriteFile(t, filepath.Join(filepath.Dir(first), "twin.jpg"), old)
	d, _, err := dataset.Open(filepath.Dir(filepath.Dir(first)), dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	changed := testkit.JPEG(t, testkit.Picture(2, 9, 9))
	var warnings []string
	ev := event.Events{Progress: func(stage event.Stage, _ string, done, total int) {
		if stage == event.Scan && done == total {
			testkit.WriteFile(t, first, changed)
		}
	}}.Recording(&warnings)
	x := openWith(t, cache, 2, ev)
	set := ensure(t, x, d, 2)
	if len(warnings) != 1 || !strings.Contains(warnings[0], first) {
		t.Errorf("warnings %q", warnings)
	}
	if set.Scan.IDs[0] != sha256.Sum256(changed) || set.Encoded != 9 {
		t.Errorf("%d images are encoded; the changed one has the id %x", set.Encoded, set.Scan.IDs[0])
	}
	at := slices.IndexFunc(set.Data.Items, func(it dataset.Item) bool { return it.Path == twin })
	if set.Scan.IDs[at] != sha256.Sum256(old) {
		t.Errorf("its former copy has the id %x", set.Scan.IDs[at])
	}
	fresh := openWith(t, t.TempDir(), 2, event.Events{})
	if !slices.Equal(mean(t, x, set, 2), mean(t, fresh, ensure(t, fresh, d, 2), 2)) {
		t.Error("other features than of a run that begins now")
	}
}

// A file that never comes to rest is an error, not a run without end.
func TestImageChangesAlways(t *testing.T) {
	d, cache := photos(t, 4, 2, 2), t.TempDir()
	ensure(t, openWith(t, cache, 1, event.Events{}), d, 1) // so that views are missing one by one
	k := uint64(0)
	change := func() {
		k++
		testkit.WriteFile(t, d.Items[0].Path, testkit.PNG(t, testkit.Picture(1, 77, k)))
	}
	x := openWith(t, cache, 2, event.Events{Progress: func(stage event.Stage, _ string, done, total int) {
		if stage == event.Encode || done == total {
			change()
		}
	}})
	if _, err := x.Ensure(t.Context(), "train", d, 2); err == nil || !strings.Contains(err.Error(), d.Items[0].Path) {
		t.Errorf("error %v", err)
	}
}

// A block found damaged is set aside, and its images are encoded again in the same run.
func TestDamagedBlockIsHealed(t *testing.T) {
	d, cache := photos(t, 5, 3, 3), t.TempDir()
	x := openWith(t, cache, 1, event.Events{})
	want := mean(t, x, ensure(t, x, d, 1), 1)
	blocks, err := filepath.Glob(filepath.Join(cache, StoreFolder, "*", "*.safetensors"))
	if err != nil || len(blocks) != 1 {
		t.Fatal(blocks, err)
	}
	content := slices.Clone(testkit.ReadFile(t, blocks[0]))
	content[len(content)/2] ^= 1
	x.Close()
	testkit.WriteFile(t, blocks[0], content)
	var warnings []string
	x = openWith(t, cache, 1, event.Events{}.Recording(&warnings))
	set := ensure(t, x, d, 1)
	if set.Encoded != 6 || len(warnings) != 1 || !strings.Contains(warnings[0], "damaged") {
		t.Errorf("%d images are encoded, warnings %q", set.Encoded, warnings)
	}
	if !slices.Equal(mean(t, x, set, 1), want) {
		t.Error("other features")
	}
}

// Images that cannot be read or decoded are left out and listed, up to a limit.
func TestUnreadable(t *testing.T) {
	d := photos(t, 6, 4, 4)
	testkit.WriteFile(t, d.Items[1].Path, []byte("no image"))
	testkit.WriteFile(t, d.Items[2].Path, []byte("no image")) // and a copy
	if err := os.Remove(d.Items[5].Path); err != nil {
		t.Fatal(err)
	}
	gone := ""
	ev := event.Events{Progress: func(stage event.Stage, _ string, done, total int) {
		if stage == event.Scan && done == total && gone != "" {
			if err := os.Remove(gone); err != nil {
				t.Error(err)
			}
		}
	}}
	half := 0.5
	open := func(most *float64) *Extractor {
		x, err := Open(t.Context(), openBackbone(t, ""), vision.Views(1),
			Options{Cache: t.TempDir(), MaxUnreadable: most}, ev)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
		return x
	}
	set, err := open(nil).Ensure(t.Context(), "test", d, 1)
	if fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "3 of 8 images") || len(set.Unreadable) != 3 {
		t.Errorf("%+v, %v", set, err)
	}
	gone = d.Items[7].Path // between scan and encoding
	set, err = open(&half).Ensure(t.Context(), "test", d, 1)
	if err != nil || len(set.Unreadable) != 4 || set.Unreadable[0].Path != d.Items[5].Path || set.Encoded != 4 ||
		len(set.Data.Items) != 4 {
		t.Errorf("%+v, %v", set, err)
	}
	gone = ""
	if _, err := open(new(1.0)).Ensure(t.Context(), "test", d.Select([]int{1, 5}), 1); fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "no image can be read") {
		t.Errorf("nothing is left: %v", err)
	}
	if _, err := EnsureAll(t.Context(), open(new(1.0)), &dataset.Sets{Train: d.Select([]int{0, 3, 5})},
		Needed{Train: 1},
		event.Events{}); fault.Of(err) != fault.Data || !strings.Contains(err.Error(), `class "class-b"`) {
		t.Errorf("no image of a class is left: %v", err)
	}
	if _, err := EnsureAll(t.Context(), open(nil), &dataset.Sets{Train: d}, Needed{Train: 1},
		event.Events{}); fault.Of(err) != fault.Data {
		t.Errorf("too many are unreadable: %v", err)
	}
}

func TestEnsureAll(t *testing.T) {
	train, test := photos(t, 7, 3, 3), photos(t, 7, 2, 2) // the test images are training images, too
	var warnings []string
	sets, err := EnsureAll(t.Context(), openWith(t, t.TempDir(), 2, event.Events{}),
		&dataset.Sets{Train: train, Test: test},
		Needed{Train: 1, Test: 2}, event.Events{}.Recording(&warnings))
	if err != nil || len(sets.All()) != 2 || sets.Evaluated() != sets.Test || sets.Test.Encoded != 4 {
		t.Errorf("%+v, %v", sets, err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "4 images of") {
		t.Errorf("warnings %q", warnings)
	}
}

// What is encoded when a run is interrupted is kept.
func TestInterrupted(t *testing.T) {
	d, cache := photos(t, 8, 20, 20), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	x := openWith(t, cache, 1, event.Events{Progress: func(stage event.Stage, _ string, done, _ int) {
		if stage == event.Encode && done == 10 {
			cancel()
		}
	}})
	if _, err := x.Ensure(ctx, "train", d, 1); fault.Of(err) != fault.Interrupted {
		t.Error(err)
	}
	if _, err := x.Ensure(ctx, "train", d, 1); fault.Of(err) != fault.Interrupted {
		t.Error(err)
	}
	set := ensure(t, openWith(t, cache, 1, event.Events{}), d, 1)
	if set.Encoded > 30 || set.Encoded < 1 {
		t.Errorf("%d images are encoded after 10 were", set.Encoded)
	}
}

// The bytes of an image that was asked for are there even when the image is gone, and are right.
func TestBytes(t *testing.T) {
	d, cache := photos(t, 9, 2, 2), t.TempDir()
	x := openWith(t, cache, 1, event.Events{})
	set := ensure(t, x, d, 1)
	item, id := set.Data.Items[0], set.Scan.IDs[0]
	content := testkit.ReadFile(t, item.Path)
	expect := func(what string) {
		t.Helper()
		if got, err := x.Bytes(id, item); err != nil || !slices.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	expect("at first")
	copies, err := filepath.Glob(filepath.Join(cache, CopiesFolder, "*"))
	if err != nil || len(copies) != 1 || filepath.Base(copies[0]) != fmt.Sprintf("%x", id) {
		t.Fatalf("copies %v, %v: want one, of what was asked for", copies, err)
	}
	testkit.WriteFile(t, copies[0], []byte("damaged"))
	left := testkit.WriteFile(t, filepath.Join(cache, CopiesFolder, ".tmp-KILLEDKILLEDKILLEDKILLEDKI"), nil)
	openWith(t, cache, 1, event.Events{})
	if _, err := os.Stat(left); err == nil {
		t.Error("what a killed process has left stays")
	}
	expect("the copy is damaged")
	if err := os.Remove(item.Path); err != nil {
		t.Fatal(err)
	}
	expect("the image is gone")
	if err := os.Remove(copies[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Bytes(id, item); fault.Of(err) != fault.Data {
		t.Errorf("image and copy are gone: %v", err)
	}
	testkit.WriteFile(t, item.Path, []byte("something else"))
	if _, err := x.Bytes(id, item); fault.Of(err) != fault.Data || !strings.Contains(err.Error(), item.Path) {
		t.Errorf("it has changed: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	b := openBackbone(t, "")
	file := testkit.WriteFile(t, filepath.Join(t.TempDir(), "file"), nil)
	for name, o := range map[string]Options{"batch": {Batch: -1}, "max-unreadable": {MaxUnreadable: new(2.0)},
		"file": {Cache: file}} {
		if _, err := Open(t.Context(), b, vision.Views(1), o, event.Events{}); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, views := range [][]vision.View{nil, {{Flip: true}}, {{}, {Zoom: 0.5}}} {
		if _, err := Open(t.Context(), b, views, Options{Cache: t.TempDir()}, event.Events{}); err == nil {
			t.Errorf("views %v are no error", views)
		}
	}
}

// numbers is a source whose features are their own place: image, view and position.
type numbers struct {
	dim  int
	fail int // view that cannot be had
}

func (n numbers) Dim() int { return n.dim }

func (n numbers) Ensure(context.Context, string, *dataset.Dataset, int) (*Set, error) {
	return nil, errors.New("nothing is made here")
}

func (n numbers) Gather(_ context.Context, ids []store.ID, k int, dst []float32) error {
	if k == n.fail {
		return store.ErrMissing
	}
	for i, id := range ids {
		for j := range n.dim {
			dst[i*n.dim+j] = float32(int(id[0])+int(id[1])<<8) + float32(k)*0.25 + float32(j)*10000
		}
	}
	return nil
}

func TestInterleavedAndMean(t *testing.T) {
	const images, dim, views = 1100, 3, 4
	ids := make([]store.ID, images)
	for i := range ids {
		ids[i] = store.ID{byte(i), byte(i >> 8)}
	}
	rows, err := Interleaved(t.Context(), numbers{dim, -1}, ids, views)
	if err != nil {
		t.Fatal(err)
	}
	mean, err := Mean(t.Context(), numbers{dim, -1}, ids, views)
	if err != nil {
		t.Fatal(err)
	}
	for i := range images {
		for j := range dim {
			for k := range views {
				if got, want := rows[(i*views+k)*dim+j], float32(i)+float32(k)*0.25+float32(j)*10000; got != want {
					t.Fatalf("image %d, view %d: %v, want %v", i, k, got, want)
				}
			}
			if got, want := mean[i*dim+j], float32(i)+0.375+float32(j)*10000; got != want {
				t.Fatalf("image %d: mean %v, want %v", i, got, want)
			}
		}
	}
	for k := range 2 {
		_, err1 := Interleaved(t.Context(), numbers{dim, k}, ids, 2)
		_, err2 := Mean(t.Context(), numbers{dim, k}, ids, 2)
		if !errors.Is(err1, store.ErrMissing) || !errors.Is(err2, store.ErrMissing) {
			t.Errorf("a view that is missing: %v, %v", err1, err2)
		}
	}
}
