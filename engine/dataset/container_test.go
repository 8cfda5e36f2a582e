package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/testkit"
)

// fixtures is a folder of files that other libraries have written: testdata/containers.py says which.
const fixtures = "testdata/containers"

// listing lists a data set as "class name=content", names without the files that they are in.
func listing(t testing.TB, d *Dataset) []string {
	t.Helper()
	var out []string
	for _, it := range d.Items {
		content, err := it.Bytes()
		if err != nil {
			content = []byte("error")
		}
		name := filepath.Base(it.Path)
		if it.in != nil {
			name = it.Path[len(it.in.opened().path)+1:]
		}
		out = append(out, fmt.Sprintf("%s %s=%s", d.Classes[it.Class], name, content))
	}
	return out
}

func wantContents(t testing.TB, d *Dataset, want ...string) {
	t.Helper()
	if got := listing(t, d); !slices.Equal(got, want) {
		t.Errorf("items\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What the libraries write that people use is read: the same six images, of the same classes.
func TestFilesOfOtherLibraries(t *testing.T) {
	want, _ := mustOpen(t, filepath.Join(fixtures, "none.parquet"), Options{})
	for name, kinds := range map[string][]Kind{
		"train-00000-of-00001.parquet": nil, "two_labels.parquet": {IgnoredColumns}, "snappy.parquet": nil,
		"gzip.parquet": nil, "zstd.parquet": nil, "brotli.parquet": nil, "lz4.parquet": nil,
		"pairs-000.tar": {ListForm},
		"folders.zip":   {IgnoredFiles}, "": {TakenPart, NotAPart, IgnoredFiles},
	} {
		d, found := mustOpen(t, filepath.Join(fixtures, name), Options{})
		wantFindings(t, found, kinds...)
		if !slices.Equal(d.Classes, []string{"cat", "dog", "yak"}) || !slices.Equal(d.Labels(), want.Labels()) {
			t.Errorf("%s: classes %v, labels %v", name, d.Classes, d.Labels())
		}
		same, err := d.Scan(t.Context(), ScanOptions{})
		if plain := must(want.Scan(t.Context(), ScanOptions{})); err != nil || len(same.Unreadable) > 0 ||
			!slices.Equal(same.IDs, plain.IDs) {
			t.Errorf("%s: other images, %v %v", name, same.Unreadable, err)
		}
		open := Opener()
		for _, it := range d.Items {
			if got := must(open(it.Path)); !bytes.Equal(got, must(it.Bytes())) {
				t.Errorf("%s is another image when it is opened by its path", it.Path)
			}
		}
	}
	d, _ := mustOpen(t, filepath.Join(fixtures, "pairs-{000..001}.tar"), Options{})
	if !slices.Equal(d.Counts(), []int{3, 2, 2}) {
		t.Errorf("both archives: %v", d.Counts())
	}
	if _, _, err := Open(fixtures, Options{Classes: want.Classes}); fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "test-00000-of-00001.parquet: row 0: label -1") {
		t.Errorf("a part without labels: %v", err)
	}
}

func TestCIFAR(t *testing.T) {
	record := func(labels string, k int) string {
		var b strings.Builder
		b.WriteString(labels)
		for plane := range 3 {
			b.WriteString(strings.Repeat(string([]byte{byte(10*k + plane)}), 1024))
		}
		return b.String()
	}
	ten := tree(t, "data_batch_1.bin|"+record("\x00", 0)+record("\x01", 1), "data_batch_2.bin|"+record("\x02", 2),
		"test_batch.bin|"+record("\x01", 3), "batches.meta.txt|plane\ncar\nbird\n\n", "readme.html")
	hundred := tree(t, "train.bin|"+record("\x01\x00", 0)+record("\x01\x02", 1), "test.bin|"+record("\x00\x02", 2),
		"fine_label_names.txt|apple\nfish\nbaby\n", "coarse_label_names.txt|x\ny\n")
	for _, c := range []struct {
		source  string
		classes []string
		labels  []int
		counts  int
	}{
		{ten, []string{"plane", "car", "bird"}, []int{0, 1, 2}, 3},
		{filepath.Join(ten, "data_batch_1.bin"), []string{"plane", "car"}, []int{0, 1}, 2},
		{hundred, []string{"apple", "baby"}, []int{0, 1}, 2},
	} {
		d, _ := mustOpen(t, c.source, Options{})
		if !slices.Equal(d.Classes, c.classes) || !slices.Equal(d.Labels(), c.labels) {
			t.Errorf("%s: %v %v", c.source, d.Classes, d.Labels())
		}
		want := "P6\n32 32\n255\n" + strings.Repeat("\x0a\x0b\x0c", 1024)
		if got := must(d.Items[1].Bytes()); string(got) != want {
			t.Errorf("%s: image 1 is %.30q", c.source, got)
		}
	}
	test, _ := mustOpen(t, ten, Options{Classes: []string{"plane", "car", "bird"}})
	if len(test.Items) != 1 || test.Items[0].Path != filepath.Join(ten, "test_batch.bin#0") ||
		test.Items[0].Class != 1 {
		t.Errorf("test set %+v", test.Items)
	}
	if _, _, err := Open(tree(t, "batches.meta", "data_batch_1"), Options{}); err == nil ||
		!strings.Contains(err.Error(), "take the binary version") {
		t.Errorf("the version for Python: %v", err)
	}
}

// Files of images in a folder are of the parts that their names or their folders' say.
func TestShards(t *testing.T) {
	a, b := string(tarOf(t, entries("a/1.png", "b/1.png")...)), string(tarOf(t, entries("a/2.png", "b/2.png")...))
	classes := []string{"a", "b"}
	for name, c := range map[string]struct {
		files []string
		part  string
		want  []string // the archives
	}{
		"the hub's layout": {[]string{"README.md", "data/train-00.tar|" + a, "data/train-01.tar|" + b,
			"data/test-00.tar|" + b}, "train", []string{"train-00.tar", "train-01.tar"}},
		"its test part": {[]string{"data/train-00.tar|" + a, "data/validation-00.tar|" + b, "data/test-00.tar|" + b},
			"test", []string{"test-00.tar"}},
		"folders for parts": {[]string{"train/0000.tar|" + a, "valid/0000.tar|" + b}, "val", []string{"0000.tar"}},
		"its conversions": {[]string{"default/train/0000.tar|" + a, "default/test/0000.tar|" + b}, "test",
			[]string{"0000.tar"}},
		"no parts":           {[]string{"0.tar|" + a, "1.tar|" + b}, "test", []string{"0.tar", "1.tar"}},
		"pictures of a card": {[]string{"assets/1.png", "data/train-0.tar|" + a}, "train", []string{"train-0.tar"}},
	} {
		o := Options{Part: c.part}
		if c.part != "train" {
			o.Classes = classes
		}
		d, _, err := Open(tree(t, c.files...), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, it := range d.Items {
			file, _, _ := strings.Cut(filepath.Base(filepath.Dir(it.Path)), "#")
			got = append(got, file)
		}
		if got = slices.Compact(got); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	// Class folders go before archives that lie about.
	d, found := mustOpen(t, tree(t, "a/1.png", "b/2.png", "photos.tar|"+a, "b/x.zip", "data/x.zip"), Options{})
	wantFindings(t, found, IgnoredFiles, EmptyClass)
	wantContents(t, d, "a 1.png=a/1.png", "b 2.png=b/2.png")

	root := tree(t, "train-0.tar|"+a, "test-0.zip|"+b)
	for part, says := range map[string]string{"val": "it has no part for val, but for train"} {
		if _, _, err := Open(root, Options{Classes: classes, Part: part}); err == nil ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", part, err)
		}
	}
	if _, _, err := Open(tree(t, "0.tar|"+a, "1.zip|"+b), Options{}); err == nil ||
		!strings.Contains(err.Error(), "files of two kinds") {
		t.Errorf("two kinds: %v", err)
	}
	if _, _, err := Open(filepath.Join(root, "train-{0..1}.tar"), Options{}); err == nil ||
		!strings.Contains(err.Error(), "train-1.tar") {
		t.Errorf("one is missing: %v", err)
	}
}

func TestExpand(t *testing.T) {
	for name, want := range map[string]string{
		"x{8..11}.tar": "x8.tar x9.tar x10.tar x11.tar", "{a,b}-{00..1}": "a-00 a-01 b-00 b-01", "x": "",
		"x{0..9..2}.tar": "no range", "x{3..1}": "no range", "{0..999999}": "more than 100000",
		"{0..9999}{0..9999}": "more than 100000", "x{": "x{", "}{1,2": "}{1,2",
	} {
		got, err := expand(name)
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != want && (err == nil || !strings.Contains(text, want)) {
			t.Errorf("%s: %s, want %s", name, text, want)
		}
	}
}

// A file of images that changes while it is used is refused, whichever kind it is.
func TestContainersThatChange(t *testing.T) {
	for _, name := range []string{"none.parquet", "pairs-000.tar", "folders.zip"} {
		path := put(t, t.TempDir(), name, testkit.ReadFile(t, fixtures, name))
		aged(t, path, time.Now().Add(-time.Hour))
		d, _ := mustOpen(t, path, Options{})
		aged(t, path, time.Now().Add(-time.Minute))
		if _, err := d.Items[0].Bytes(); fault.Of(err) != fault.Data || !strings.Contains(err.Error(),
			path+" has changed while it was used; begin anew") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The predictions of a run on images in files are a list of them.
func TestListsOfImagesInFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"none.parquet", "folders.zip", "pairs-000.tar"} {
		put(t, dir, name, testkit.ReadFile(t, fixtures, name))
	}
	images, labels := idxPair(2)
	put(t, dir, "t10k-images-idx3-ubyte", images)
	put(t, dir, "t10k-labels-idx1-ubyte", labels)
	d, _ := mustOpen(t, put(t, dir, "list.csv", []byte("path,label\nnone.parquet#3,a\nfolders.zip#set/dog/1.png,b\n"+
		"pairs-000.tar#003.png,a\n"+filepath.Join(dir, "t10k-images-idx3-ubyte#1")+",b\n")), Options{})
	var got []string
	for _, it := range d.Items {
		got = append(got, fmt.Sprint(it.Path[len(dir)+1:], " ", len(must(it.Bytes()))))
	}
	if want := []string{"none.parquet#3 73", "folders.zip#set/dog/1.png 73", "pairs-000.tar#003.png 73",
		"t10k-images-idx3-ubyte#1 17"}; !slices.Equal(got, want) {
		t.Errorf("images %q, want %q", got, want)
	}
	if _, _, err := Open(put(t, dir, "wrong.csv", []byte("path,label\nfolders.zip#9,a\nb.png,b\n")),
		Options{}); err == nil || !strings.Contains(err.Error(), "folders.zip: no image 9 in it") {
		t.Errorf("an image that is not there: %v", err)
	}
}

// What is known about the images in a file is kept as long as the file is the same.
func TestIndexOfContainers(t *testing.T) {
	for _, name := range []string{"none.parquet", "pairs-000.tar", "folders.zip"} {
		dir, root := t.TempDir(), t.TempDir()
		path := put(t, root, name, testkit.ReadFile(t, fixtures, name))
		aged(t, path, time.Now().Add(-time.Hour))
		d, _ := mustOpen(t, path, Options{})
		cold, read := indexed(t, d, dir)
		if read != 6 || d.Items[0].Stored() {
			t.Errorf("%s: %d images are read", name, read)
		}
		warm, read := indexed(t, d, dir)
		if files, _ := os.ReadDir(dir); read != 0 || !slices.Equal(warm, cold) || len(files) != 1 {
			t.Errorf("%s: %d images are read again; %d sections", name, read, len(files))
		}
		aged(t, path, time.Now().Add(-time.Minute))
		if d, _ = mustOpen(t, path, Options{}); len(d.Items) != 6 {
			t.Errorf("%s: %d items", name, len(d.Items))
		} else if _, read := indexed(t, d, dir); read != 6 {
			t.Errorf("%s: %d images of another file are read", name, read)
		}
	}
}
