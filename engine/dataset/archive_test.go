package dataset

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
)

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
		"what lies beside parts": {entries("train/a/1.png", "train/b/1.png", "test/a/2.png", "docs/3.png", "4.png"),
			"train", []Kind{TakenPart, NotAPart, IgnoredFiles}, []string{"a train/a/1.png=train/a/1.png",
				"b train/b/1.png=train/b/1.png"}},
		"a part without labels": {entries("train/a/1.png", "train/b/1.png", "test/2.png"), "train",
			[]Kind{TakenPart, NotAPart}, []string{"a train/a/1.png=train/a/1.png", "b train/b/1.png=train/b/1.png"}},
		"words of names": {entries("x/seg_train/seg_train/a/1.png", "x/seg_train/seg_train/b/1.png",
			"x/seg_test/seg_test/a/2.png"), "test", []Kind{TakenPart, UntestedClass},
			[]string{"a x/seg_test/seg_test/a/2.png=x/seg_test/seg_test/a/2.png"}},
		"words of classes": {entries("a train/x/1.png", "a train/y/1.png", "a test/x/2.png", "cat/x/3.png"), "train",
			nil, []string{"a train a train/x/1.png=a train/x/1.png", "a train a train/y/1.png=a train/y/1.png",
				"a test a test/x/2.png=a test/x/2.png", "cat cat/x/3.png=cat/x/3.png"}},
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
		"class folders with annotations": {entries("a/1.png", `a/1.json|[1]`, "b/2.png", `b/2.json|{"box": 1}`), "",
			[]Kind{IgnoredFiles}, []string{"a a/1.png=a/1.png", "b b/2.png=b/2.png"}},
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
			"compressed with gzip, and so not read in parts; unpack it with gunzip"},
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
