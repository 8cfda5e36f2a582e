// Package embedding is files of embeddings: a vector a row, with the label, path and split of what it is of. It writes
// those that vitft embed makes, reads these and what others make, and is where their rows come from in a training.
//
// # Basics
//
//	t, err := embedding.Read("features.parquet") // t.Rows, t.Vectors [n, t.Dim]
//	err = embedding.Write("features.npz", t, t.Gather)
//
//	x, err := embedding.Given(ctx, &sources, ofImages, ev) // nil if sources are images
//	sets, err := sources.Open(ctx, seed, nil, ev)          // by x
//	set, err := x.Ensure(ctx, "train", sets.Train, 1) // a feature.Source like any other
//
// The extension says the format: .parquet, .npz, .npy with a .csv of its rows beside, .safetensors. A folder of Parquet
// files is read as one. A Parquet file has embeddings if it has a column of lists of floating-point numbers and no
// images; columns are found by the names that people give them.
//
// # Order
//
// Rows are learned in the order of the images that they are of, where the file has their SHA-256, and that is how
// training on a file gives the very head that training on its images does. Else a row's own vector is its content.
//
// # Caveats
//
// A table is in memory as a whole when it is read. To write one, no more than a few thousand vectors are.
package embedding

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/machine"
	"github.com/vitft/vitft/internal/vec"
)

// Table is the content of a file.
type Table struct {
	Dim     int
	Rows    []Row
	Classes []string  // in their order; nil: in that of their names
	Made    *Made     // what made the vectors; nil: not known
	Vectors []float32 // [n, Dim]; nil in one that is only to be written
	mapped  bool      // Vectors are not in memory, but mapped from the file
}

// Row is what a vector is of. What a file does not say is empty.
type Row struct {
	Path, Label, Split string
	ID                 store.ID // SHA-256 of the image
}

// Made is what made the vectors of a file.
type Made struct {
	Name  string    `json:"name"` // of the backbone
	Key   store.Key `json:"key"`
	Views int       `json:"views,omitempty"` // of which each vector is the mean, if more than one
}

// describe names what makes two vectors comparable.
func (m *Made) describe() string {
	return fmt.Sprintf("%s (%.12s…, %s, %d views)", m.Name, m.Key.Backbone, m.Key.Feature, max(1, m.Views))
}

// Agrees reports whether vectors of both can be compared. Of what is not known nothing is held against it.
func (m *Made) Agrees(with *Made) bool {
	if m == nil || with == nil {
		return true
	}
	a, b := m.Key, with.Key
	a.Provider, b.Provider = "", "" // which differ in the last bits
	return a == b && max(1, m.Views) == max(1, with.Views)
}

// Gather copies the vectors of rows from the one with an index on, as Write asks for them.
func (t *Table) Gather(from int, dst []float32) error {
	copy(dst, t.Vectors[from*t.Dim:])
	return nil
}

// The names by which columns, arrays and tensors are known. What is written has the first of each.
var (
	vectorNames = []string{"embedding", "embeddings", "features", "feature", "emb", "vector", "vectors"}
	labelNames  = []string{"label", "labels", "class", "category", "target", "class name", "label name", "species", "y"}
	pathNames   = []string{"path", "paths", "file name", "image path", "filepath", "file", "image", "image id", "id"}
	splitNames  = []string{"split", "splits", "set", "subset", "partition", "fold"}
	idNames     = []string{"sha256", "ids"}
)

// among finds the first of names in list, -1 if none is there. Case, spaces, underscores and hyphens do not matter.
func among(list, names []string) int {
	bare := strings.NewReplacer(" ", "", "_", "", "-", "")
	for _, name := range names {
		is := func(s string) bool { return strings.EqualFold(bare.Replace(s), bare.Replace(name)) }
		if i := slices.IndexFunc(list, is); i >= 0 {
			return i
		}
	}
	return -1
}

// Keys of a file's metadata, in the formats that have some.
const (
	formatKey  = "vitft.format"
	format     = "vitft-embeddings-1"
	classesKey = "vitft.classes" // a JSON list, in the order of the numbers of labels
	madeKey    = "vitft.made"    // the JSON of a Made
	splitsKey  = "vitft.splits"  // a JSON list, likewise
	pathsKey   = "vitft.paths"   // a JSON list, one for each row
)

// metadata is what a table says as a whole.
func (t *Table) metadata() map[string]string {
	m := map[string]string{formatKey: format}
	if t.Classes != nil {
		m[classesKey] = toJSON(t.Classes)
	}
	if t.Made != nil {
		m[madeKey] = toJSON(t.Made)
	}
	return m
}

// about takes what metadata say.
func (t *Table) about(value func(key string) (string, bool)) error {
	take := func(key string, into any) error {
		if text, is := value(key); is {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return fmt.Errorf("metadata %s: %w", key, err)
			}
		}
		return nil
	}
	return errors.Join(take(classesKey, &t.Classes), take(madeKey, &t.Made))
}

func toJSON(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // texts and numbers have a JSON
	return strings.TrimSuffix(b.String(), "\n")
}

// layout is a way to keep a table.
type layout struct {
	is    func(path string) bool
	read  func(path string) (*Table, error)
	write func(path string, t *Table, gather Gather) error
}

// Gather writes to dst the vectors of rows from the one with that index on.
type Gather func(from int, dst []float32) error

var layouts = map[string]layout{
	".parquet":     {isParquet, readParquet, writeParquet},
	".npz":         {always, readNPZ, writeNPZ},
	".npy":         {always, readNPY, writeNPY},
	".safetensors": {always, readTensors, writeTensors},
}

func always(string) bool { return true }

// Extensions are those of the formats.
func Extensions() []string { return []string{".parquet", ".npz", ".npy", ".safetensors"} }

// Is reports whether a source is embeddings: by its name, a Parquet file by its columns.
func Is(source string) bool {
	files := parts(source)
	l, known := layouts[extension(files[0])]
	return known && l.is(files[0])
}

// parts are the files of a source: itself, or the Parquet files of a folder that has no folders in it.
func parts(source string) []string {
	var files []string
	if named, err := place.Named(source); err == nil {
		source = named
	}
	entries, _ := place.ReadDir(source) // of a file there are none
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			return []string{source}
		case extension(e.Name()) == ".parquet":
			files = append(files, place.Join(source, e.Name()))
		}
	}
	if files == nil {
		return []string{source}
	}
	return files
}

func extension(path string) string { return strings.ToLower(filepath.Ext(path)) }

// Read reads a source as a whole.
func Read(source string) (*Table, error) {
	all := new(Table)
	for i, file := range parts(source) {
		l, known := layouts[extension(file)]
		if !known {
			return nil, fault.Data.Errorf("%s is no file of embeddings; those end in %s", source,
				strings.Join(Extensions(), ", "))
		}
		t, err := l.read(file)
		if err == nil {
			err = t.check()
		}
		_, ofDisk := errors.AsType[*fs.PathError](err)
		switch {
		case err != nil && (ofDisk || fault.Of(err) != fault.Other):
			return nil, fmt.Errorf("%s: %w", file, err)
		case err != nil:
			return nil, fault.Data.Errorf("%s: %w", file, err)
		}
		for k := range t.Rows {
			if t.Rows[k].Path == "" {
				t.Rows[k].Path = fmt.Sprint(file, "#", k)
			}
		}
		switch {
		case i == 0:
			all = t
		case t.Dim != all.Dim:
			return nil, fault.Data.Errorf("%s: its vectors have %d values, those of the files before %d", file, t.Dim,
				all.Dim)
		case !t.Made.Agrees(all.Made):
			return nil, fault.Data.Errorf("%s: its vectors were made by %s, those of the files before by %s", file,
				t.Made.describe(), all.Made.describe())
		default:
			all.Rows, all.Vectors = append(all.Rows, t.Rows...), append(all.Vectors, t.Vectors...)
			all.mapped = false
			if !slices.Equal(t.Classes, all.Classes) {
				all.Classes = nil
			}
		}
	}
	return all, nil
}

// check refuses vectors that nothing can be learned from.
func (t *Table) check() error {
	switch {
	case len(t.Rows) == 0:
		return errors.New("it has no rows")
	case t.Dim < 1:
		return errors.New("its vectors have no values")
	}
	for i := range t.Rows {
		if k := vec.NotFinite(t.Vectors[i*t.Dim : (i+1)*t.Dim]); k >= 0 {
			return rowError(i, "value %d of its vector is %v; remove the row, or mend what made it", k,
				t.Vectors[i*t.Dim+k])
		}
	}
	return nil
}

// rowError is about a row by its index.
func rowError(i int, format string, a ...any) error {
	return fmt.Errorf("row %d (from 0): %w", i, fmt.Errorf(format, a...))
}

// room refuses more rows of vectors than there is memory for. They are there once more in the order of learning.
func room(rows, dim int) error {
	return machine.Check(8*float64(rows)*float64(dim), "a table of %d vectors of %d values", rows, dim)
}

// Free refuses a path that no table can be written to.
func Free(path string) error {
	if _, known := layouts[extension(path)]; !known {
		return fault.Config.Errorf("out: %q says no format by its extension; name a file that ends in %s", path,
			strings.Join(Extensions(), ", "))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fault.Config.Errorf("out: %s is a folder; name a file", path)
	}
	return artifact.Free(path)
}

// Write writes a table in the format that the extension says, whole or not at all, and asks for its vectors as it goes.
func Write(path string, t *Table, gather Gather) error {
	if err := Free(path); err != nil {
		return err
	}
	if err := disk.MakeAll(filepath.Dir(path)); err != nil {
		return err
	}
	return layouts[extension(path)].write(path, t, gather)
}

// each calls do with the vectors of all rows in their order, as many at a time as take a few MiB.
func (t *Table) each(gather Gather, do func(from int, vectors []float32) error) error {
	some := max(1, min(len(t.Rows), 4<<20/(4*t.Dim)))
	buffer := make([]float32, some*t.Dim)
	for from := 0; from < len(t.Rows); from += some {
		vectors := buffer[:min(some, len(t.Rows)-from)*t.Dim]
		if err := gather(from, vectors); err != nil {
			return err
		}
		if err := do(from, vectors); err != nil {
			return err
		}
	}
	return nil
}

// numbers are the labels or splits of rows as places in a list: that of the classes, else the sorted one of all.
func (t *Table) numbers(list []string, text func(Row) string) ([]int64, []string) {
	if list == nil {
		for _, r := range t.Rows {
			list = append(list, text(r))
		}
		slices.Sort(list)
		list = slices.Compact(list)
	}
	place := make(map[string]int64, len(list))
	for i, name := range list {
		place[name] = int64(i)
	}
	numbers := make([]int64, len(t.Rows))
	for i, r := range t.Rows {
		numbers[i] = place[text(r)]
	}
	return numbers, list
}

func label(r Row) string { return r.Label }
func split(r Row) string { return r.Split }
