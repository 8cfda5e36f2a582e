package dataset

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/testkit"
)

// fixtures is a folder of files that other libraries have written: testdata/containers.py says which.
const fixtures = "testdata/containers"

// entry is a member of an archive.
type entry struct{ name, content string }

func entries(names ...string) []entry {
	var out []entry
	for _, name := range names {
		name, content, ok := strings.Cut(name, "|")
		if !ok {
			content = name
		}
		out = append(out, entry{name, content})
	}
	return out
}

func zipOf(t testing.TB, members ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		w, err := z.Create(m.name)
		if err == nil && !strings.HasSuffix(m.name, "/") {
			_, err = io.WriteString(w, m.content)
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

func tarOf(t testing.TB, members ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content)), Typeflag: tar.TypeReg}
		if target, is := strings.CutPrefix(m.content, "-> "); is {
			h.Typeflag, h.Linkname, h.Size, m.content = tar.TypeSymlink, target, 0, ""
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = io.WriteString(w, m.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hubImage is an image as the hub has it.
type hubImage struct {
	Bytes []byte `parquet:"bytes,optional"`
	Path  string `parquet:"path,optional"`
}

// listRow is a row of a list of files.
type listRow struct {
	File  string `parquet:"file_name"`
	Label string `parquet:"label"`
}

type hubRow struct {
	Image hubImage `parquet:"image,optional"`
	Label *int64   `parquet:"label,optional"`
}

func parquetOf[T any](t testing.TB, rows []T, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hubNames are the metadata of a file whose labels have names.
func hubNames(names ...string) parquet.WriterOption {
	return parquet.KeyValueMetadata("huggingface", fmt.Sprintf(
		`{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["%s"], "_type": "ClassLabel"}}}}`,
		strings.Join(names, `", "`)))
}

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

func TestZip(t *testing.T) {
	for name, c := range map[string]struct {
		members []entry
		part    string
		kinds   []Kind
		want    []string
	}{
		"class folders": {entries("b/1.png", "a/2.png", "a/deep/3.png"), "", nil,
			[]string{"b b/1.png=b/1.png", "a a/2.png=a/2.png", "a a/deep/3.png=a/deep/3.png"}},
		"a folder around, and junk": {entries("x/", "x/a/", "x/a/1.png", "x/b/1.png", "x/notes.txt", "x/a/.2.png",
			"__MACOSX/x/a/._1.png", ".DS_Store"), "", []Kind{IgnoredFiles},
			[]string{"a x/a/1.png=x/a/1.png", "b x/b/1.png=x/b/1.png"}},
		"parts, for training": {entries("d/train/a/1.png", "d/train/b/1.png", "d/test/a/2.png"), "train",
			[]Kind{TakenPart}, []string{"a d/train/a/1.png=d/train/a/1.png", "b d/train/b/1.png=d/train/b/1.png"}},
		"parts, for a test": {entries("train/a/1.png", "valid/a/3.png", "test/b/2.png", "test/a/2.png"), "test",
			[]Kind{TakenPart}, []string{"b test/b/2.png=test/b/2.png", "a test/a/2.png=test/a/2.png"}},
		"names of Windows, and of DOS": {entries(`a\1.png`, "a\\\x81.png|x", "b\\2.png"), "", []Kind{DecodedName},
			[]string{`a a/1.png=a\1.png`, "a a/ü.png=x", `b b/2.png=b\2.png`}},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, t.TempDir(), "x.zip", zipOf(t, c.members...))
			o := Options{Part: c.part}
			if c.part == "test" {
				o.Classes = []string{"a", "b"}
			}
			d, found := mustOpen(t, path, o)
			wantFindings(t, found, c.kinds...)
			wantContents(t, d, c.want...)
		})
	}
}

func TestTar(t *testing.T) {
	for name, c := range map[string]struct {
		members []entry
		names   string // of classes
		kinds   []Kind
		want    []string
	}{
		"class folders": {entries("./a/1.png", "./a/1.txt|a caption", "./b/2.png", "./b/3.png|-> 2.png"), "",
			[]Kind{IgnoredFiles}, []string{"a ./a/1.png=./a/1.png", "b ./b/2.png=./b/2.png"}},
		"numbers": {entries("1.jpg|x", "1.cls|10\n", "2.jpg|y", "2.cls|9"), "", nil,
			[]string{"10 1.jpg=x", "9 2.jpg=y"}},
		"numbers with names": {entries("1.jpg|x", "1.cls|1", "2.jpg|y", "2.cls|0"), "cat\ndog\nyak\n",
			[]Kind{ListForm, EmptyClass}, []string{"dog 1.jpg=x", "cat 2.jpg=y"}},
		"text, in any order": {entries("2.cls|dog", "1.jpg|x", "2.jpg|y", "1.cls|cat"), "not\nused\n", nil,
			[]string{"cat 1.jpg=x", "dog 2.jpg=y"}},
		"JSON": {entries("1.jpg|x", `1.json|{"label": 3, "id": 7}`, "2.jpg|y", `2.json|{"id": 8, "label": 4}`), "", nil,
			[]string{"3 1.jpg=x", "4 2.jpg=y"}},
		"text files": {entries("d/1.jpg|x", "d/1.txt|cat", "d/2.jpg|y", "d/2.txt|dog"), "", nil,
			[]string{"cat d/1.jpg=x", "dog d/2.jpg=y"}},
		"labels before JSON": {entries("1.jpg|x", "1.cls|0", `1.json|{"label": 9}`, "2.jpg|y", "2.cls|1",
			"2.json|no object"), "", nil, []string{"0 1.jpg=x", "1 2.jpg=y"}},
		"without partners": {entries("1.jpg|x", "1.cls|0", "2.jpg|y", "2.cls|1", "3.jpg|z", "4.cls|2", "readme.md"), "",
			[]Kind{IgnoredFiles, Unpaired}, []string{"0 1.jpg=x", "1 2.jpg=y"}},
		"a mask beside": {entries("1.mask.png|m", "1.jpg|x", "1.cls|0", "2.jpg|y", "2.mask.png|m", "2.cls|1"), "",
			[]Kind{IgnoredFiles}, []string{"0 1.jpg=x", "1 2.jpg=y"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.names != "" {
				put(t, dir, "classnames.txt", []byte(c.names))
			}
			d, found := mustOpen(t, put(t, dir, "x.tar", tarOf(t, c.members...)), Options{})
			wantFindings(t, found, c.kinds...)
			wantContents(t, d, c.want...)
		})
	}
}

func TestParquet(t *testing.T) {
	zero, one := new(int64(0)), new(int64(1))
	dir := t.TempDir()
	put(t, dir, "beside.png", []byte("beside"))
	path := put(t, dir, "x.parquet", parquetOf(t, []hubRow{
		{hubImage{Bytes: []byte("x")}, zero}, {hubImage{Bytes: []byte("y"), Path: "p"}, one},
		{hubImage{Path: "beside.png"}, one}, {hubImage{}, zero},
	}, hubNames("dog", "cat", "none")))
	d, found := mustOpen(t, path, Options{})
	wantFindings(t, found, EmptyClass)
	wantContents(t, d, "dog 0=x", "cat 1=y", "cat beside.png=beside", "dog 3=error")
	s, err := d.Scan(t.Context(), ScanOptions{})
	if err != nil || len(s.Unreadable) != 1 ||
		s.Unreadable[0].Err.Error() != "row 3 of "+path+": no image: neither bytes nor a path" {
		t.Errorf("%v, %v", s.Unreadable, err)
	}

	d, found = mustOpen(t, put(t, dir, "metadata.parquet", parquetOf(t, []listRow{
		{"beside.png", "cat"}, {"sub/2.png", "dog"}})), Options{})
	wantFindings(t, found)
	if got := items(t, dir, d); !slices.Equal(got, []string{"cat beside.png", "dog sub/2.png"}) {
		t.Errorf("a list: %v", got)
	}

	type named struct {
		Photo []byte `parquet:"photo"`
		Mask  []byte `parquet:"mask"`
		Class string `parquet:"class"`
		Label int32  `parquet:"label"`
		Note  string `parquet:"note"`
	}
	d, found = mustOpen(t, put(t, dir, "named.parquet", parquetOf(t, []named{
		{[]byte("x"), []byte("m"), "cat", 7, "n"}, {[]byte("y"), []byte("m"), "dog", 5, "n"}})), Options{})
	wantFindings(t, found, IgnoredColumns)
	wantContents(t, d, "7 0=x", "5 1=y")
	if !slices.Equal(d.Classes, []string{"5", "7"}) {
		t.Errorf("classes %v", d.Classes)
	}
}

func TestParquetRefuses(t *testing.T) {
	image, one := hubImage{Bytes: []byte("x")}, new(int64(1))
	rows := []hubRow{{image, new(int64(0))}, {image, one}}
	good := parquetOf(t, rows, hubNames("cat", "dog"))
	type several struct {
		A, B  []byte
		Label int64 `parquet:"label"`
	}
	type labels struct {
		Image  []byte  `parquet:"image"`
		Labels []int64 `parquet:"labels,list"`
	}
	type none struct {
		Text  string `parquet:"text"`
		Label int64  `parquet:"label"`
	}
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"no label":   {parquetOf(t, append(rows, hubRow{image, nil})), "x.parquet: row 2: no label"},
		"unlabelled": {parquetOf(t, append(rows, hubRow{image, new(int64(-1))})), "row 2: label -1, which stands"},
		"more than names": {parquetOf(t, append(rows, hubRow{image, new(int64(2))}), hubNames("a", "b")),
			"row 2: label 2, of 2 classes"},
		"two columns":          {parquetOf(t, []several{{}}), "several columns may be the images: "},
		"several labels a row": {parquetOf(t, []labels{{}}), "no column of labels: call it label; the columns are"},
		"no images": {parquetOf(t, []none{{}}),
			"no column of images (bytes, or {bytes, path}), and none of paths"},
		"empty":              {nil, "no Parquet file: it has 0 bytes"},
		"cut short":          {good[:len(good)-9], "no Parquet file, or cut short"},
		"its middle is gone": {slices.Concat(good[:8], good[len(good)/3:]), "damaged"},
		"encrypted":          {append(slices.Clone(good[:len(good)-4]), "PARE"...), "encrypted"},
		"a long footer": {append(slices.Clone(good[:len(good)-8]), "\xff\xff\xff\x7fPAR1"...),
			"damaged: its footer is said to have 2147483647 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, t.TempDir(), "x.parquet", c.file)
			_, _, err := Open(path, Options{})
			if fault.Of(err) != fault.Data || !strings.Contains(fmt.Sprint(err), c.says) ||
				!strings.HasPrefix(fmt.Sprint(err), path) {
				t.Errorf("error %v, want one of data with %q", err, c.says)
			}
		})
	}
}

func TestArchivesRefuse(t *testing.T) {
	deflated := zipOf(t, entries("a/1.png|"+strings.Repeat("x", 1000), "b/2.png")...)
	marked := func(at int, value byte) []byte { // in the directory's first entry
		changed := slices.Clone(deflated)
		changed[bytes.Index(changed, []byte("PK\x01\x02"))+at] = value
		return changed
	}
	tarred := tarOf(t, entries("a/1.png|"+strings.Repeat("x", 1000), "b/2.png")...)
	sized := slices.Clone(tarred) // and claims 8 GiB
	copy(sized[124:], "77777777777\x00")
	for name, c := range map[string]struct {
		file string
		says string
	}{
		"x.zip":         {"no zip", "x.zip: no sound zip archive"},
		"cut.zip":       {string(deflated[:len(deflated)-5]), "no sound zip archive"},
		"encrypted.zip": {string(marked(8, 9)), "a/1.png is encrypted"},
		"odd.zip":       {string(marked(10, 12)), "a/1.png is compressed by method 12, bzip2"},
		"flat.zip":      {string(zipOf(t, entries("1.png", "2.png")...)), "no class folders in it"},
		"other.zip":     {string(zipOf(t, entries("a/b.txt")...)), "no images in it"},
		"x.tar":         {strings.Repeat("no tar", 200), "x.tar: no sound tar archive"},
		"cut.tar":       {string(tarred[:1024]), "cut short: member a/1.png has 1000 bytes, of which 512 are there"},
		"inside.tar":    {string(tarred[:512*4]), "cut short: member b/2.png has 7 bytes, of which 0 are there"},
		"claims.tar":    {string(sized), "tar"},
		"x.tar.gz": {string(gz(t, tarred)),
			"compressed with gzip: its images cannot be read one by one; unpack it with gunzip"},
		"gzipped.tar": {string(gz(t, tarred)), "unpack it with gunzip"},
		"twice.tar": {string(tarOf(t, entries("1.png", "1.jpg", "1.cls|0")...)),
			"1.png and 1.jpg share the label of 1"},
		"json.tar": {string(tarOf(t, entries("1.png", `1.json|{"label": [1]}`)...)),
			"label of 1.png: label [1] is neither text nor a whole number"},
		"long.tar": {string(tarOf(t, entries("1.png", "1.cls|"+strings.Repeat("x", 2000))...)),
			"label of 1.png: has 2000 bytes"},
		"data_batch_1.bin": {strings.Repeat("x", 3072), "no whole records of 3073"},
		"x.bin":            {strings.Repeat("x", 3073), "neither CIFAR-10"},
		"train.bin":        {strings.Repeat("\x70", 3074), "image 0 has the label 112; there are 100 classes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, t.TempDir(), name, []byte(c.file))
			before := allocated()
			_, _, err := Open(path, Options{})
			if fault.Of(err) != fault.Data || !strings.Contains(fmt.Sprint(err), c.says) ||
				!strings.HasPrefix(fmt.Sprint(err), path) {
				t.Errorf("error %v, want one of data with %q", err, c.says)
			}
			if used := allocated() - before; used > 4<<20 {
				t.Errorf("took %d bytes to find that out", used)
			}
		})
	}
}

// A member that is not what the directory says is unreadable, by name; the others are not.
func TestDamagedMembers(t *testing.T) {
	whole := zipOf(t, entries("a/1.png|"+strings.Repeat("x", 1000), "b/2.png")...)
	directory := bytes.Index(whole, []byte("PK\x01\x02"))
	for name, c := range map[string]struct {
		at   int
		with string
		says string
	}{
		"a checksum":    {directory + 16, "\x00\x00\x00\x00", "its checksum is not what"},
		"a size":        {directory + 24, "\x01\x00\x00\x00", "has 2 bytes, not 1 as"},
		"much":          {directory + 24, "\xff\xff\xff\x7f", "the limit here is 256 MiB"},
		"a packed size": {directory + 20, "\xff\xff\xff\x0f", "cut short"},
		"its content":   {45, "\xff\xff\xff", "not 1000 as"},
	} {
		damaged := slices.Clone(whole)
		copy(damaged[c.at:], c.with)
		path := put(t, t.TempDir(), "x.zip", damaged)
		d, _ := mustOpen(t, path, Options{})
		before := allocated()
		if _, err := d.Items[0].Bytes(); err == nil || !strings.Contains(err.Error(), c.says) ||
			!strings.HasPrefix(err.Error(), "member a/1.png of "+path) {
			t.Errorf("%s: %v", name, err)
		}
		if used := allocated() - before; used > 4<<20 {
			t.Errorf("%s: took %d bytes to find that out", name, used)
		}
		if got := must(d.Items[1].Bytes()); string(got) != "b/2.png" {
			t.Errorf("%s: the other is %q", name, got)
		}
	}
}

// An archive without an end mark is read, and said to be without one.
func TestTarWithoutEnd(t *testing.T) {
	whole := tarOf(t, entries("a/1.png", "b/2.png")...)
	d, found := mustOpen(t, put(t, t.TempDir(), "x.tar", whole[:len(whole)-1024]), Options{})
	wantFindings(t, found, NoEnd)
	wantContents(t, d, "a a/1.png=a/1.png", "b b/2.png=b/2.png")
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
	d, found := mustOpen(t, tree(t, "a/1.png", "b/2.png", "photos.tar|"+a, "b/x.zip"), Options{})
	wantFindings(t, found, IgnoredFiles)
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
	if want := []string{"none.parquet#3 74", "folders.zip#set/dog/1.png 74", "pairs-000.tar#003.png 74",
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
