// Package parquetfile reads columns of Parquet files page by page, whatever the files claim, within bounds: the places
// of pages are checked against the file before one is read, and none unpacks to more than it says.
//
// Footers and pages are decoded by parquet-go, which trusts what it reads. So what a footer claims is counted first,
// and pages come to it unpacked, one at a time, as if each were all there is of its column.
package parquetfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// File is a Parquet file of which the footer has been read.
type File struct {
	from    io.ReaderAt
	size    int64
	meta    format.FileMetaData
	rows    int64
	columns []*Column
}

const (
	magic         = "PAR1"
	largestFooter = 64 << 20
	mostColumns   = 10_000
)

// Open reads the footer of a file of that size.
func Open(from io.ReaderAt, size int64) (*File, error) {
	f := &File{from: from, size: size}
	footer, err := f.footer()
	if err != nil {
		return nil, err
	}
	if err := f.decode(footer); err != nil {
		return nil, err
	}
	return f, nil
}

// footer reads the bytes of the footer.
func (f *File) footer() ([]byte, error) {
	const end = 8 // the size of the footer and a mark
	if f.size < int64(len(magic)+end) {
		return nil, fmt.Errorf("no Parquet file: it has %d bytes", f.size)
	}
	tail, err := f.read(f.size-end, end)
	if err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	switch mark := string(tail[4:]); {
	case mark == "PARE":
		return nil, errors.New("encrypted; write it anew without encryption")
	case mark != magic:
		return nil, fmt.Errorf("no Parquet file, or cut short: it ends in %q, not in %s", mark, magic)
	case n > f.size-end-int64(len(magic)):
		return nil, fmt.Errorf("damaged: its footer is said to have %d bytes, in a file of %d", n, f.size)
	case n > largestFooter:
		return nil, fmt.Errorf("its footer has %d bytes; the limit here is %d MiB", n, largestFooter>>20)
	}
	return f.read(f.size-end-n, n)
}

// decode takes a footer apart.
func (f *File) decode(footer []byte) (err error) {
	if err := count(footer); err != nil {
		return fmt.Errorf("damaged footer: %w", err)
	}
	defer recovered(&err)
	protocol := new(thrift.CompactProtocol)
	if err := thrift.NewDecoder(protocol.NewReaderFromBytes(footer)).Decode(&f.meta); err != nil {
		return fmt.Errorf("damaged footer: %w", err)
	}
	m := &f.meta
	switch {
	case len(m.Schema) > mostColumns:
		return fmt.Errorf("it has %d columns; the limit here is %d", len(m.Schema), mostColumns)
	case len(m.RowGroups) == 0:
		return errors.New("it has no rows")
	}
	for g, group := range m.RowGroups {
		if group.NumRows < 0 || group.NumRows > math.MaxInt32 || len(group.Columns) != len(m.RowGroups[0].Columns) {
			return fmt.Errorf("damaged footer: row group %d has %d rows in %d columns", g, group.NumRows,
				len(group.Columns))
		}
		f.rows += group.NumRows
	}
	root, chunks, err := f.decoder()
	if err != nil {
		return fmt.Errorf("damaged footer: %w", err)
	}
	return f.collect(root, chunks, nil)
}

// start is where the pages are that a decoder is given.
const start = int64(len(magic))

// decoder is a file of the same columns that are not compressed, whose pages are where a reader says.
func (f *File) decoder() (*parquet.Column, []parquet.ColumnChunk, error) {
	m := f.meta
	group := m.RowGroups[0]
	group.Columns = slices.Clone(group.Columns)
	for i := range group.Columns {
		group.Columns[i] = format.ColumnChunk{MetaData: group.Columns[i].MetaData}
		c := &group.Columns[i].MetaData
		c.Codec, c.DataPageOffset, c.DictionaryPageOffset = format.Uncompressed, start, 0
		c.TotalCompressedSize, c.BloomFilterOffset = math.MaxInt64-start, 0
	}
	group.SortingColumns, group.Ordinal = nil, 0
	m.RowGroups = []format.RowGroup{group}
	text, err := thrift.Marshal(new(thrift.CompactProtocol), &m)
	if err != nil {
		return nil, nil, err
	}
	text = append([]byte(magic), text...)
	text = binary.LittleEndian.AppendUint32(text, uint32(len(text)-len(magic)))
	text = append(text, magic...)
	d, err := parquet.OpenFile(bytes.NewReader(text), int64(len(text)), parquet.SkipPageIndex(true),
		parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, nil, err
	}
	return d.Root(), d.RowGroups()[0].ColumnChunks(), nil
}

// collect lists the columns below a node.
func (f *File) collect(node *parquet.Column, chunks []parquet.ColumnChunk, path []string) error {
	for _, child := range node.Columns() {
		path := append(slices.Clip(path), child.Name())
		if !child.Leaf() {
			if err := f.collect(child, chunks, path); err != nil {
				return err
			}
			continue
		}
		chunk, ok := chunks[child.Index()].(*parquet.FileColumnChunk)
		if !ok {
			return fmt.Errorf("column %s cannot be read", path)
		}
		f.columns = append(f.columns, &Column{Path: path, file: f, node: child, decoder: chunk})
	}
	return nil
}

// Size is how many bytes the file has.
func (f *File) Size() int64 { return f.size }

// Rows is how many there are.
func (f *File) Rows() int64 { return f.rows }

// Columns are the columns that hold values, those within structures among them.
func (f *File) Columns() []*Column { return f.columns }

// Metadata is what a key of the file's metadata says, empty if it is not there.
func (f *File) Metadata(key string) string {
	for _, entry := range f.meta.KeyValueMetadata {
		if entry.Key == key {
			return string(entry.Value)
		}
	}
	return ""
}

// read reads a part of the file.
func (f *File) read(at, size int64) ([]byte, error) {
	if at < 0 || size < 0 || at > f.size || size > f.size-at {
		return nil, fmt.Errorf("cut short or damaged: %d bytes from %d on, in a file of %d", size, at, f.size)
	}
	content := make([]byte, size)
	n, err := f.from.ReadAt(content, at)
	if n == len(content) {
		err = nil
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return content, err
}

// recovered turns a panic of the decoder into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("damaged: %v", r)
	}
}
