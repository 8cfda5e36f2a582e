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

	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/userfile"
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
	_ = withParquet(path, func(f *parquet.File) error {
		is = len(vectorColumns(f)) > 0 && !hasImages(f)
		return nil
	})
	return is
}

// withParquet opens a file. The library answers some damaged files with a panic.
func withParquet(path string, do func(*parquet.File) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it is no sound Parquet file: %v", p)
		}
	}()
	f, info, err := userfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("it is no sound Parquet file: %w", err)
	}
	return do(file)
}

// vectorColumns are the leaves of the columns that are lists of floating-point numbers.
func vectorColumns(f *parquet.File) (leaves []*parquet.Column) {
	for _, c := range f.Root().Columns() {
		for !c.Leaf() && len(c.Columns()) == 1 {
			c = c.Columns()[0]
		}
		if c.Leaf() && c.MaxRepetitionLevel() == 1 && floatOf(c) != nil {
			leaves = append(leaves, c)
		}
	}
	return leaves
}

// floatOf reads the values of a column of floating-point numbers; nil of another.
func floatOf(c *parquet.Column) func(parquet.Value) float32 {
	switch t := c.Type(); t.Kind() {
	case parquet.Float:
		return parquet.Value.Float
	case parquet.Double:
		return func(v parquet.Value) float32 { return float32(v.Double()) }
	case parquet.FixedLenByteArray:
		if t.Length() == 2 { // float16, which the library does not tell from other pairs of bytes
			return func(v parquet.Value) float32 {
				b, one := v.ByteArray(), [1]float32{}
				vec.Widen(one[:], []uint16{uint16(b[0]) | uint16(b[1])<<8})
				return one[0]
			}
		}
	}
	return nil
}

// hasImages reports whether there is a column of encoded images, {bytes, path} as the Hugging Face hub has them or bytes
// alone.
func hasImages(f *parquet.File) bool {
	for _, c := range f.Root().Columns() {
		if !c.Leaf() {
			c = c.Column("bytes")
		}
		if c != nil && c.Leaf() && c.Type().Kind() == parquet.ByteArray && c.Type().LogicalType() == nil {
			return true
		}
	}
	return false
}

func readParquet(path string) (t *Table, err error) {
	err = withParquet(path, func(f *parquet.File) error {
		t = new(Table)
		if err := t.about(f.Lookup); err != nil {
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
func (t *Table) readVectors(f *parquet.File) error {
	leaves := vectorColumns(f)
	names := make([]string, len(leaves))
	for i, c := range leaves {
		names[i] = c.Path()[0]
	}
	at := among(names, vectorNames)
	switch {
	case len(leaves) == 0:
		return fmt.Errorf("no column is a list of floating-point numbers; its columns are %s", columnsOf(f))
	case at < 0 && len(leaves) > 1:
		return fmt.Errorf("several columns are lists of floating-point numbers (%s); call one of them embedding",
			strings.Join(names, ", "))
	}
	c := leaves[max(0, at)]
	float := floatOf(c)
	row, begin := -1, 0
	end := func() error { // of a row
		n := len(t.Vectors) - begin
		if row == 0 {
			t.Dim = n
		}
		if row >= 0 && n != t.Dim {
			return rowError(row, "its %s has %d values, that of row 0 has %d", c.Path()[0], n, t.Dim)
		}
		row, begin = row+1, len(t.Vectors)
		return nil
	}
	var values int64
	for _, group := range f.RowGroups() {
		values += group.ColumnChunks()[c.Index()].NumValues()
	}
	if values <= f.Size() { // a promise that the file can hold
		t.Vectors = make([]float32, 0, values)
	}
	err := readColumn(f, c, func(v parquet.Value) error {
		if v.RepetitionLevel() == 0 {
			if err := end(); err != nil {
				return err
			}
		}
		if v.IsNull() {
			return rowError(row, "it has no %s, or one with a missing value; remove the row", c.Path()[0])
		}
		if n := len(t.Vectors); n == cap(t.Vectors) {
			if err := room(n+n/4, 1); err != nil {
				return err
			}
			t.Vectors = slices.Grow(t.Vectors, n/4+1024)
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

// readRows reads what the vectors are of. Without a column of labels, as for a prediction, they are empty.
func (t *Table) readRows(f *parquet.File, path string) error {
	columns := f.Root().Columns()
	names := make([]string, len(columns))
	for i, c := range columns {
		if c.Leaf() && !c.Repeated() { // others have an empty name, which is none
			names[i] = c.Name()
		}
	}
	at := among(names, labelNames)
	if at < 0 {
		return fmt.Errorf("no column of labels (%s); its columns are %s", strings.Join(labelNames, ", "), columnsOf(f))
	}
	into := func(names []string, at int, set func(r *Row, text string) error) error {
		if at < 0 {
			return nil
		}
		c, i := columns[at], 0
		classes := classNames(f, c.Name())
		err := readColumn(f, c, func(v parquet.Value) error {
			if i == len(t.Rows) {
				return fmt.Errorf("column %s has more rows than the vectors", c.Name())
			}
			text, err := cell(v, classes)
			if err == nil {
				err = set(&t.Rows[i], text)
			}
			if err != nil {
				return rowError(i, "%s: %w", c.Name(), err)
			}
			i++
			return nil
		})
		if err == nil && i < len(t.Rows) {
			err = fmt.Errorf("column %s has %d rows, there are %d vectors", c.Name(), i, len(t.Rows))
		}
		return err
	}
	known := map[string]string{} // one copy of each label
	intern := func(text string) string {
		if _, is := known[text]; !is {
			known[text] = text
		}
		return known[text]
	}
	if t.Classes == nil {
		t.Classes = classNames(f, columns[at].Name())
	}
	err := errors.Join(
		into(names, at, func(r *Row, text string) error { r.Label = intern(text); return missing(text) }),
		into(names, among(names, pathNames), func(r *Row, text string) error { r.Path = text; return nil }),
		into(names, among(names, splitNames), func(r *Row, text string) error { r.Split = intern(text); return nil }),
		into(names, among(names, idNames[:1]), func(r *Row, text string) error { return r.setID(text) }),
	)
	if among(names, splitNames) < 0 {
		for i := range t.Rows {
			t.Rows[i].Split = shardOf(path)
		}
	}
	return err
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
	if n, err := hex.Decode(r.ID[:], []byte(text)); text != "" && (err != nil || n != len(r.ID)) {
		return fmt.Errorf("%q is no SHA-256 in hexadecimal", text)
	}
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
	return "", fmt.Errorf("%v is neither text nor a whole number", v)
}

// classNames are the names that the Hugging Face library gives to the numbers of a column; nil if it does not.
func classNames(f *parquet.File, column string) []string {
	text, _ := f.Lookup("huggingface")
	var said struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	var feature struct {
		Names []string `json:"names"`
	}
	if json.Unmarshal([]byte(text), &said) != nil ||
		json.Unmarshal(said.Info.Features[column], &feature) != nil {
		return nil
	}
	return feature.Names
}

// columnsOf names the columns.
func columnsOf(f *parquet.File) string {
	var names []string
	for _, c := range f.Root().Columns() {
		names = append(names, c.Name())
	}
	return strings.Join(names, ", ")
}

// readColumn calls each with the values of a leaf.
func readColumn(f *parquet.File, c *parquet.Column, each func(parquet.Value) error) error {
	values := make([]parquet.Value, 1024)
	for _, group := range f.RowGroups() {
		pages := group.ColumnChunks()[c.Index()].Pages()
		err := func() error {
			defer pages.Close()
			for {
				page, err := pages.ReadPage()
				if err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				err = readPage(page.Values(), values, each)
				parquet.Release(page)
				if err != nil {
					return err
				}
			}
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

func readPage(from parquet.ValueReader, values []parquet.Value, each func(parquet.Value) error) error {
	for {
		n, err := from.ReadValues(values)
		for _, v := range values[:n] {
			if err := each(v); err != nil {
				return err
			}
		}
		if err == io.EOF || err == nil && n == 0 {
			return nil
		} else if err != nil {
			return err
		}
	}
}
