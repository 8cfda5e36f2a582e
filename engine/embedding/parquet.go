package embedding

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/internal/parquetfile"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/vec"
)

// parquetRow is a row as it is written.
type parquetRow struct {
	Path      string    `parquet:"path,snappy"`
	Label     string    `parquet:"label,dict,snappy"`
	Split     string    `parquet:"split,dict,snappy"`
	SHA256    string    `parquet:"sha256"`
	Embedding []float32 `parquet:"embedding,list"`
}

// groupBytes is what the vectors of a row group take, all of which a writer has in memory.
const groupBytes = 32 << 20

func writeParquet(path string, t *Table, gather Gather) error {
	options := []parquet.WriterOption{parquet.MaxRowsPerRowGroup(int64(max(1, groupBytes/(4*t.Dim))))}
	for key, value := range t.metadata() {
		options = append(options, parquet.KeyValueMetadata(key, value))
	}
	return atomicfile.Write(path, func(to io.Writer) error {
		w := parquet.NewGenericWriter[parquetRow](to, options...)
		err := t.each(gather, func(from int, vectors []float32) error {
			rows := make([]parquetRow, len(vectors)/t.Dim)
			for i := range rows {
				r := t.Rows[from+i]
				rows[i] = parquetRow{text(r.Path), r.Label, r.Split, hex.EncodeToString(r.ID[:]),
					vectors[i*t.Dim : (i+1)*t.Dim]}
			}
			_, err := w.Write(rows)
			return err
		})
		if err != nil {
			return err
		}
		return w.Close()
	})
}

// text is a path as UTF-8, which columns of text are.
func text(path string) string { return strings.ToValidUTF8(path, "\uFFFD") }

// isParquet reports whether a Parquet file has embeddings.
func isParquet(path string) bool {
	is := false
	_ = withParquet(path, func(f *parquetfile.File) error {
		is = len(vectorColumns(f)) > 0 && !hasImages(f)
		return nil
	})
	return is
}

func withParquet(path string, do func(*parquetfile.File) error) error {
	f, info, err := place.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := parquetfile.Open(f, info.Size())
	if err != nil {
		return err
	}
	return do(file)
}

// vectorColumns are the columns that are lists of floating-point numbers.
func vectorColumns(f *parquetfile.File) (columns []*parquetfile.Column) {
	for _, c := range f.Columns() {
		if c.List() && floatOf(c) != nil {
			columns = append(columns, c)
		}
	}
	return columns
}

// floatOf reads the values of a column of floating-point numbers; nil of another.
func floatOf(c *parquetfile.Column) func(parquet.Value) float32 {
	switch c.Kind() {
	case parquet.Float:
		return parquet.Value.Float
	case parquet.Double:
		return func(v parquet.Value) float32 { return float32(v.Double()) }
	case parquet.FixedLenByteArray:
		if c.Size() == 2 { // float16, which the library does not tell from other pairs of bytes
			return func(v parquet.Value) float32 {
				b, one := v.ByteArray(), [1]float32{}
				vec.Widen(one[:], []uint16{uint16(b[0]) | uint16(b[1])<<8})
				return one[0]
			}
		}
	}
	return nil
}

// hasImages reports whether there is a column of encoded images, {bytes, path} as the Hugging Face hub has them or
// bytes alone.
func hasImages(f *parquetfile.File) bool {
	return slices.ContainsFunc(f.Columns(), func(c *parquetfile.Column) bool {
		return c.Kind() == parquet.ByteArray && c.Plain() && !c.Text() &&
			(len(c.Path) == 1 || len(c.Path) == 2 && c.Path[1] == "bytes")
	})
}

func readParquet(path string) (t *Table, err error) {
	err = withParquet(path, func(f *parquetfile.File) error {
		t = new(Table)
		said := func(key string) (string, bool) { text := f.Metadata(key); return text, text != "" }
		if err := t.about(said); err != nil {
			return err
		}
		if err := t.readVectors(f); err != nil {
			return err
		}
		return t.readRows(f, path)
	})
	return t, err
}

// readVectors reads the one column of vectors, or the one that is called so.
func (t *Table) readVectors(f *parquetfile.File) error {
	columns := vectorColumns(f)
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Path[0]
	}
	at := among(names, vectorNames)
	switch {
	case len(columns) == 0:
		return fmt.Errorf("no column is a list of floating-point numbers; its columns are %s", columnsOf(f))
	case at < 0 && len(columns) > 1:
		return fmt.Errorf("several columns are lists of floating-point numbers (%s); call one of them embedding",
			strings.Join(names, ", "))
	}
	c := columns[max(0, at)]
	if err := room(int(c.Values()), 1); err != nil {
		return err
	}
	float := floatOf(c)
	row, begin := -1, 0
	end := func() error { // of a row
		n := len(t.Vectors) - begin
		if row == 0 {
			t.Dim = n
			t.Vectors = slices.Grow(t.Vectors, max(0, int(min(c.Values(), f.Size()))-n)) // a promise that it can hold
		}
		if row >= 0 && n != t.Dim {
			return rowError(row, "its %s has %d values, that of row 0 has %d", c.Path[0], n, t.Dim)
		}
		row, begin = row+1, len(t.Vectors)
		return nil
	}
	err := c.Each(func(_ int64, v parquet.Value) error {
		if v.RepetitionLevel() == 0 {
			if err := end(); err != nil {
				return err
			}
		}
		if v.IsNull() {
			return rowError(row, "it has no %s, or one with a missing value; remove the row", c.Path[0])
		}
		t.Vectors = append(t.Vectors, float(v))
		return nil
	})
	if err == nil {
		err = end()
	}
	t.Rows = make([]Row, max(0, row))
	return err
}

// readRows reads what the vectors are of.
func (t *Table) readRows(f *parquetfile.File, path string) error {
	columns := f.Columns()
	names := make([]string, len(columns))
	for i, c := range columns {
		if len(c.Path) == 1 && c.Plain() { // others have an empty name, which is none
			names[i] = c.Path[0]
		}
	}
	at := among(names, labelNames)
	if at < 0 {
		return fmt.Errorf("no column of labels (%s); its columns are %s", strings.Join(labelNames, ", "), columnsOf(f))
	}
	if t.Classes == nil {
		t.Classes = classNames(f, names[at])
	}
	known := map[string]string{} // one copy of each text
	intern := func(text string) string {
		if _, is := known[text]; !is {
			known[text] = text
		}
		return known[text]
	}
	into := func(at int, set func(r *Row, text string) error) error {
		if at < 0 {
			return nil
		}
		if n := columns[at].Values(); n != int64(len(t.Rows)) {
			return fmt.Errorf("column %s has %d rows, there are %d vectors", names[at], n, len(t.Rows))
		}
		classes := classNames(f, names[at])
		return columns[at].Each(func(row int64, v parquet.Value) error {
			text, err := cell(v, classes)
			if err == nil {
				err = set(&t.Rows[row], text)
			}
			if err != nil {
				return rowError(int(row), "%s: %w", names[at], err)
			}
			return nil
		})
	}
	splits := among(names, splitNames)
	if splits < 0 {
		for i := range t.Rows {
			t.Rows[i].Split = shardOf(path)
		}
	}
	return errors.Join(
		into(at, func(r *Row, text string) error { r.Label = intern(text); return missing(text) }),
		into(among(names, pathNames), func(r *Row, text string) error { r.Path = text; return nil }),
		into(splits, func(r *Row, text string) error { r.Split = intern(text); return nil }),
		into(among(names, idNames[:1]), func(r *Row, text string) error { return r.setID(text) }),
	)
}

// missing refuses a row without a label.
func missing(label string) error {
	if label == "" {
		return errors.New("it is missing; label the row, or remove it")
	}
	return nil
}

// setID sets the SHA-256 of the image that a row is of.
func (r *Row) setID(text string) error {
	if text == "" {
		return nil
	}
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != len(r.ID) {
		return fmt.Errorf("%.80q is no SHA-256 in hexadecimal; call the column otherwise", text)
	}
	r.ID = store.ID(id)
	return nil
}

// shardOf is the split that the name of a file begins with, as the Hugging Face hub names them: train-00000-of-00002.
func shardOf(path string) string {
	name, _, _ := strings.Cut(strings.ToLower(filepath.Base(path)), "-")
	if _, is := splitOf[name]; is {
		return name
	}
	return ""
}

// cell is a value as text; a number of a class is its name.
func cell(v parquet.Value, classes []string) (string, error) {
	if v.IsNull() {
		return "", nil
	}
	switch v.Kind() {
	case parquet.ByteArray, parquet.FixedLenByteArray:
		return string(v.ByteArray()), nil
	case parquet.Int32, parquet.Int64:
		n := v.Int64()
		if v.Kind() == parquet.Int32 {
			n = int64(v.Int32())
		}
		switch {
		case classes == nil:
			return strconv.FormatInt(n, 10), nil
		case n < 0 || n >= int64(len(classes)):
			return "", fmt.Errorf("%d is no class; the file names %d, from 0", n, len(classes))
		}
		return classes[n], nil
	case parquet.Boolean:
		return strconv.FormatBool(v.Boolean()), nil
	}
	return "", fmt.Errorf("%v is of the type %v, neither text nor a whole number (a table with a label missing may "+
		"have made fractions of them)", v, v.Kind())
}

// classNames are the names that the Hugging Face library gives to the numbers of a column; nil if it does not.
func classNames(f *parquetfile.File, column string) []string {
	var said struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	var feature struct {
		Names []string `json:"names"`
	}
	if json.Unmarshal([]byte(f.Metadata("huggingface")), &said) != nil ||
		json.Unmarshal(said.Info.Features[column], &feature) != nil {
		return nil
	}
	return feature.Names
}

// columnsOf names the columns.
func columnsOf(f *parquetfile.File) string {
	var names []string
	for _, c := range f.Columns() {
		names = append(names, c.Path[0])
	}
	return strings.Join(slices.Compact(names), ", ")
}
