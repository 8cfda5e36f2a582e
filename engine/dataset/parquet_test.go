package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
)

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

// A column of parts selects rows, of images and of paths.
func TestPartsInParquet(t *testing.T) {
	type images struct {
		Image []byte `parquet:"image"`
		Label string `parquet:"label"`
		Split string `parquet:"split"`
	}
	type paths struct {
		Path  string `parquet:"path"`
		Label string `parquet:"label"`
		Split string `parquet:"split"`
	}
	for name, content := range map[string][]byte{
		"images": parquetOf(t, []images{{[]byte("a"), "cat", "train"}, {[]byte("b"), "dog", "train"},
			{[]byte("c"), "dog", "test"}, {[]byte("d"), "yak", "unused"}}),
		"paths": parquetOf(t, []paths{{"a", "cat", "train"}, {"b", "dog", "train"}, {"c", "dog", "test"},
			{"d", "yak", "unused"}}),
	} {
		s := Sources{Train: put(t, t.TempDir(), "x.parquet", content)}
		sets, err := s.Open(t.Context(), 0, nil, event.Events{})
		if err != nil {
			t.Fatal(name, err)
		}
		if !slices.Equal(sets.Train.Counts(), []int{1, 1}) || sets.Test == nil || len(sets.Test.Items) != 1 ||
			!slices.Equal(sets.Train.Classes, []string{"cat", "dog"}) || sets.Test.Items[0].Class != 1 {
			t.Errorf("%s: %+v, %+v", name, sets.Train, sets.Test)
		}
		_, _, err = Open(s.Train, Options{Part: "val", Classes: []string{"cat", "dog"}})
		if fault.Of(err) != fault.Data || !strings.Contains(fmt.Sprint(err), "no row of val by its column") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// So it does where the rows of a part fill a file.
func TestPartsInShards(t *testing.T) {
	type row struct {
		Image []byte `parquet:"image"`
		Label int64  `parquet:"label"`
		Split string `parquet:"split"`
	}
	dir := t.TempDir()
	put(t, dir, "a.parquet", parquetOf(t, []row{{[]byte("a"), 0, "train"}, {[]byte("b"), 1, "train"}}))
	put(t, dir, "b.parquet", parquetOf(t, []row{{[]byte("c"), -1, "test"}, {[]byte("d"), -1, "test"}}))
	d, found := mustOpen(t, dir, Options{})
	wantFindings(t, found, TakenPart)
	if !slices.Equal(d.Counts(), []int{1, 1}) {
		t.Errorf("%v images of %v", d.Counts(), d.Classes)
	}
}

// Files without rows, as some programs write them among others, are nothing; that files are not there which the names
// of the others number is said.
func TestShardsThatLack(t *testing.T) {
	read := func(name string) []byte { return must(os.ReadFile(filepath.Join(fixtures, name))) }
	rows := read("train-00000-of-00001.parquet")
	for name, c := range map[string]struct {
		files map[string][]byte
		want  []Kind
	}{
		"nothing": {map[string][]byte{"train-00000-of-00002.parquet": rows,
			"train-00001-of-00002.parquet": read("empty.parquet")}, nil},
		"one": {map[string][]byte{"train-00001-of-00002.parquet": rows}, []Kind{MissingFiles}},
		"one of no part": {map[string][]byte{"imgs-3-of-4.parquet": rows, "imgs-0-of-4.parquet": rows},
			[]Kind{MissingFiles}},
		"no end": {map[string][]byte{"train-00000-of-999999.parquet": rows}, []Kind{MissingFiles}},
	} {
		dir := t.TempDir()
		for name, content := range c.files {
			put(t, dir, name, content)
		}
		t.Run(name, func(t *testing.T) {
			_, found := mustOpen(t, dir, Options{})
			wantFindings(t, found, c.want...)
		})
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
	type fractions struct {
		Image []byte  `parquet:"image"`
		Label float64 `parquet:"label"`
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
		"fractions":            {parquetOf(t, []fractions{{}}), "column label is of the type DOUBLE"},
		"no rows":              {must(os.ReadFile(filepath.Join(fixtures, "empty.parquet"))), "no images"},
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
