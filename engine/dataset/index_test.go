package dataset

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/userfile"
)

// aged sets the time of a file's last change.
func aged(t testing.TB, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// indexed scans with an index that was opened anew, and saves it. It returns the ids, and how many files had to be
// read: those that the index did not know.
func indexed(t testing.TB, d *Dataset, dir string) (ids []ID, read int) {
	t.Helper()
	x := OpenIndex(dir)
	for _, it := range d.Items {
		if info, err := it.stat(); err == nil {
			if _, found := x.find(it, info); !found {
				read++
			}
		}
	}
	s, err := d.Scan(t.Context(), ScanOptions{Index: x})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Save(); err != nil {
		t.Fatal(err)
	}
	return s.IDs, read
}

func TestIndex(t *testing.T) {
	root, dir := tree(t, "a/1.png|one", "a/2.png|two", "b/1.png|three"), filepath.Join(t.TempDir(), "made", "scan")
	d, _ := mustOpen(t, root, Options{})
	old := time.Now().Add(-time.Hour)
	for _, it := range d.Items {
		aged(t, it.Path, old)
	}
	plain, err := d.Scan(t.Context(), ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string, want int) {
		t.Helper()
		plain, err := d.Scan(t.Context(), ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if ids, read := indexed(t, d, dir); read != want || !slices.Equal(ids, plain.IDs) {
			t.Errorf("%s: %d files are read, want %d; ids right: %v", what, read, want, slices.Equal(ids, plain.IDs))
		}
	}
	expect("cold", 3)
	expect("warm", 0)
	// A change shows in the size or the time.
	put(t, filepath.Dir(d.Items[0].Path), "1.png", []byte("other"))
	aged(t, d.Items[0].Path, old)
	expect("another size", 1)
	expect("warm again", 0)
	put(t, filepath.Dir(d.Items[0].Path), "1.png", []byte("OTHER"))
	expect("just written", 1)
	expect("not trusted, since it may change within the resolution of its time", 1)
	aged(t, d.Items[0].Path, time.Now().Add(time.Hour))
	expect("a time to come", 1)
	expect("it is not trusted, either", 1)
	aged(t, d.Items[0].Path, old.Add(time.Nanosecond))
	expect("a nanosecond", 1)
	expect("and warm", 0)
	// What was there before is forgotten when it is found to be wrong.
	x := OpenIndex(dir)
	x.Forget(d.Items[1])
	if err := x.Save(); err != nil {
		t.Fatal(err)
	}
	expect("forgotten", 1)
	// Damage of any kind costs reading the files again.
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("index files %v, %v; want one for the set", files, err)
	}
	good := testkit.ReadFile(t, files[0])
	for at := range good {
		bad := slices.Clone(good)
		bad[at] ^= 1 << (at % 8)
		testkit.WriteFile(t, files[0], bad)
		if len(OpenIndex(dir).load(root)) != 0 {
			t.Fatalf("a bit flipped at %d is not noticed", at)
		}
	}
	var other bytes.Buffer
	if err := encode(&other, root+"x", nil); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", string(good[:len(good)-1]), string(good) + "x", other.String(),
		signed(root, ""), signed(root, "x"), signed(root, string(good[:len(good)/2])),
		"vitft-scan-1 5c0b7da7\n\"" + root + "\"\n"} {
		testkit.WriteFile(t, files[0], []byte(text))
		expect(fmt.Sprintf("the file holds %.20q", text), 3)
		expect("and is made anew", 0)
	}
	if !slices.Equal(plain.IDs[1:], must(d.Scan(t.Context(), ScanOptions{Index: OpenIndex(dir)})).IDs[1:]) {
		t.Error("other ids than in the beginning")
	}
}

// signed is a section of any content with a right checksum.
func signed(folder, content string) string {
	sum := checksum(folder)
	io.WriteString(sum, content)
	return content + string(sum.Sum(nil))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Two processes that save one after the other keep what each has read.
func TestIndexIsShared(t *testing.T) {
	root, dir := tree(t, "a/1.png", "a/2.png", "b/1.png", "b/2.png"), t.TempDir()
	d, _ := mustOpen(t, root, Options{})
	for _, it := range d.Items {
		aged(t, it.Path, time.Now().Add(-time.Hour))
	}
	one, two := OpenIndex(dir), OpenIndex(dir)
	for k, x := range []*Index{one, two} {
		if _, err := d.Select([]int{2 * k, 2*k + 1}).Scan(t.Context(), ScanOptions{Index: x}); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.Save(); err != nil {
		t.Fatal(err)
	}
	if err := two.Save(); err != nil {
		t.Fatal(err)
	}
	if _, read := indexed(t, d, dir); read != 0 {
		t.Errorf("%d files are read again", read)
	}
	if err := (*Index)(nil).Save(); err != nil {
		t.Error(err)
	}
	blocked := OpenIndex(filepath.Join(d.Items[0].Path, "scan"))
	if _, err := d.Scan(t.Context(), ScanOptions{Index: blocked}); err != nil {
		t.Errorf("an index that cannot be kept: %v", err)
	}
	if err := blocked.Save(); err == nil {
		t.Error("saved inside a file")
	}
}

// Images inside an IDX file are known by the file and their number.
func TestIndexOfIDX(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	images, labels := idxPair(6)
	path := put(t, root, "train-images-idx3-ubyte", images)
	put(t, root, "train-labels-idx1-ubyte", labels)
	aged(t, path, time.Now().Add(-time.Hour))
	d, _ := mustOpen(t, path, Options{})
	if _, read := indexed(t, d, dir); read != len(d.Items) {
		t.Errorf("%d images are read", read)
	}
	d, _ = mustOpen(t, path, Options{})
	ids, read := indexed(t, d, dir)
	if read != 0 || !slices.Equal(ids, must(d.Scan(t.Context(), ScanOptions{})).IDs) || !d.Items[0].Stored() {
		t.Errorf("%d images are read again", read)
	}
}

// Pipes and huge files are unreadable images; neither hangs or fills the memory.
func TestScanRefuses(t *testing.T) {
	root := tree(t, "a/1.png", "b/1.png", "b/2.png")
	huge := filepath.Join(root, "a", "huge.png")
	if err := os.WriteFile(huge, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, userfile.Image+1); err != nil {
		t.Skip("no sparse files here: ", err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(root, "b", "zero.png")); err != nil {
		t.Fatal(err)
	}
	d, _ := mustOpen(t, root, Options{})
	s, err := d.Scan(t.Context(), ScanOptions{})
	if err != nil || len(s.Unreadable) != 2 {
		t.Fatalf("%+v, %v", s.Unreadable, err)
	}
	for k, want := range []string{"has 268435457 bytes; the limit here is 256 MiB",
		"is a pipe, socket or device"} {
		u := s.Unreadable[k]
		if _, err := d.Items[u.Index].Bytes(); !strings.Contains(u.Err.Error(), want) || err == nil {
			t.Errorf("%s: %v, Bytes says %v", u.Path, u.Err, err)
		}
	}
}

// Whatever lies in the place of an index, it says nothing or what was written.
func FuzzIndex(f *testing.F) {
	folder := "/photos"
	for _, files := range []map[string]known{nil, {"a.jpg": {Size: 1, Modified: 2, ID: ID{3}}}} {
		var b bytes.Buffer
		if err := encode(&b, folder, files); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), false)
		f.Add(b.Bytes()[:max(0, b.Len()-32)], true)
	}
	f.Fuzz(func(t *testing.T, content []byte, sum bool) {
		if sum { // so that more is tried than the checksum
			s := checksum(folder)
			s.Write(content)
			content = s.Sum(content)
		}
		x := OpenIndex(t.TempDir())
		testkit.WriteFile(t, x.path(folder), content)
		files := x.load(folder)
		var b bytes.Buffer
		if err := encode(&b, folder, files); err != nil {
			t.Fatal(err)
		}
		testkit.WriteFile(t, x.path(folder), b.Bytes())
		if again := x.load(folder); fmt.Sprint(again) != fmt.Sprint(files) {
			t.Fatalf("%v came back as %v", files, again)
		}
	})
}
