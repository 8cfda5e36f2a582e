package parquetfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Column is a column that holds values. It is safe for concurrent use.
type Column struct {
	Path    []string // its name, after those of the structures that it is in
	file    *File
	node    *parquet.Column
	decoder *parquet.FileColumnChunk

	once  sync.Once
	pages []page
	fault error
}

// Name is the path with dots.
func (c *Column) Name() string { return strings.Join(c.Path, ".") }

// Kind is the physical type.
func (c *Column) Kind() parquet.Kind { return c.node.Type().Kind() }

// Text reports whether bytes are text.
func (c *Column) Text() bool {
	if c.Kind() != parquet.ByteArray {
		return false
	}
	t := c.node.Type().LogicalType()
	if t == nil {
		return false
	}
	switch t.Value.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		return true
	}
	return false
}

// Plain reports whether there is one value in a row, which stands for itself: no list, no date, no decimal number.
func (c *Column) Plain() bool {
	t := c.node.Type().LogicalType()
	if t != nil && t.Value != nil && !c.Text() {
		if _, whole := t.Value.(*format.IntType); !whole {
			return false
		}
	}
	return c.node.MaxRepetitionLevel() == 0
}

// List reports whether a row has any number of values, one after the other, the first of which has the repetition level
// 0. [Column.Each] then counts values.
func (c *Column) List() bool { return c.node.MaxRepetitionLevel() == 1 }

// Size is how many bytes a value of a kind of a fixed length has.
func (c *Column) Size() int { return c.node.Type().Length() }

// Values is how many there are, as the footer says: rows, unless it is a list.
func (c *Column) Values() (n int64) {
	for g := range c.file.meta.RowGroups {
		n += c.valuesOf(g)
	}
	return n
}

// valuesOf is how many values there are in a group of rows.
func (c *Column) valuesOf(g int) int64 {
	if group := &c.file.meta.RowGroups[g]; c.List() {
		return group.Columns[c.node.Index()].MetaData.NumValues
	} else {
		return group.NumRows
	}
}

// Nulls is how many rows have no value, by group of rows as the file's statistics say, and how many rows there are.
func (c *Column) Nulls() (nulls, rows []int64) {
	for _, group := range c.file.meta.RowGroups {
		nulls = append(nulls, group.Columns[c.node.Index()].MetaData.Statistics.NullCount)
		rows = append(rows, group.NumRows)
	}
	return nulls, rows
}

// page is where the values of some rows are.
type page struct {
	first, rows int64
	codec       format.CompressionCodec
	at          place
	dictionary  *place // nil: it needs none
}

// oldDictionary is what older writers call a dictionary's encoding.
const oldDictionary format.Encoding = 2

// place is where a page is in the file.
type place struct {
	at     int64 // of the page's data
	header *format.PageHeader
}

// places finds the pages of a column, by their headers.
func (c *Column) places() ([]page, error) {
	c.once.Do(func() {
		var first int64
		for g := range c.file.meta.RowGroups {
			if c.fault = c.group(g, first); c.fault != nil {
				c.fault = fmt.Errorf("column %s: %w", c.Name(), c.fault)
				return
			}
			first += c.valuesOf(g)
		}
	})
	return c.pages, c.fault
}

// group finds the pages of a group of rows.
func (c *Column) group(g int, first int64) error {
	if c.valuesOf(g) == 0 { // some writers name no place for what is not there
		return nil
	}
	group := &c.file.meta.RowGroups[g]
	chunk := &group.Columns[c.node.Index()]
	m := &chunk.MetaData
	at := m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < at {
		at = d
	}
	end := at + m.TotalCompressedSize
	if at < start || m.TotalCompressedSize < 0 || end < at || end > c.file.size {
		return fmt.Errorf("cut short or damaged: row group %d is said to be in bytes %d to %d, in a file of %d", g, at,
			end, c.file.size)
	}
	if chunk.FilePath != "" {
		return fmt.Errorf("row group %d is in another file, %s", g, chunk.FilePath)
	}
	var rows, size int64 // rows are values of a list
	var dictionary *place
	for all := c.valuesOf(g); rows < all; {
		header, n, err := c.file.header(at, end, size)
		if err != nil {
			return fmt.Errorf("page at byte %d: %w", at, err)
		}
		size = n
		p := place{at + size, header}
		at = p.at + int64(header.CompressedPageSize)
		if at > end {
			return fmt.Errorf("cut short or damaged: the page at byte %d is said to have %d bytes, of which %d are "+
				"there", p.at, header.CompressedPageSize, end-p.at)
		}
		var values int32
		var encoding format.Encoding
		switch header.Type {
		case format.DictionaryPage:
			dictionary = &p
			continue
		case format.DataPage:
			values, encoding = header.DataPageHeader.V.NumValues, header.DataPageHeader.V.Encoding
		case format.DataPageV2:
			values, encoding = header.DataPageHeaderV2.V.NumValues, header.DataPageHeaderV2.V.Encoding
		default:
			continue
		}
		if values < 0 || int64(values) > all-rows {
			return fmt.Errorf("damaged: the page at byte %d is said to have %d of the %d rows that are left", p.at,
				values, all-rows)
		}
		data := page{first: first + rows, rows: int64(values), codec: m.Codec, at: p}
		if encoding == format.RLEDictionary || encoding == oldDictionary {
			if data.dictionary = dictionary; dictionary == nil {
				return fmt.Errorf("damaged: the page at byte %d has no dictionary", p.at)
			}
		}
		if values > 0 {
			c.pages = append(c.pages, data)
		}
		rows += int64(values)
	}
	return nil
}

// header reads the header of a page, and how many bytes it has; that before it had so many.
func (f *File) header(at, end, before int64) (h *format.PageHeader, size int64, err error) {
	defer recovered(&err)
	const least, largest = 1 << 9, 16 << 20 // statistics in it may hold whole values
	for n := max(least, 2*before); ; n *= 8 {
		text, err := f.read(at, min(n, end-at))
		if err != nil {
			return nil, 0, err
		}
		h = new(format.PageHeader)
		r := new(thrift.CompactProtocol).NewReaderFromBytes(text)
		err = count(text)
		if err == nil {
			err = thrift.NewDecoder(r).Decode(h)
		}
		switch {
		case err == nil && (h.CompressedPageSize < 0 || h.UncompressedPageSize < 0):
			return nil, 0, errors.New("damaged header")
		case err == nil:
			return h, int64(r.BytesRead()), nil
		case n >= largest || n >= end-at:
			return nil, 0, fmt.Errorf("damaged header: %w", err)
		}
	}
}

// Each calls f with the value of each row, in order; what a value holds is valid until f returns.
func (c *Column) Each(f func(row int64, v parquet.Value) error) error {
	pages, err := c.places()
	if err != nil {
		return err
	}
	for _, p := range pages {
		if err := c.values(p, func(values []parquet.Value) error {
			for i, v := range values {
				if err := f(p.first+int64(i), v); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// values decodes a page, and calls f with the values in it.
func (c *Column) values(p page, f func([]parquet.Value) error) error {
	values, release, err := c.decode(p)
	if err != nil {
		return fmt.Errorf("column %s, rows from %d on: %w", c.Name(), p.first, err)
	}
	defer release()
	return f(values)
}

func (c *Column) decode(p page) (values []parquet.Value, release func(), err error) {
	defer recovered(&err)
	var stream bytes.Buffer
	done, err := c.file.reserve(p)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			done()
		}
	}()
	for _, at := range []*place{p.dictionary, &p.at} {
		if at == nil {
			continue
		}
		if err := c.file.unpack(&stream, *at, p.codec); err != nil {
			return nil, nil, err
		}
	}
	pages := c.decoder.PagesFrom(&shifted{bytes.NewReader(stream.Bytes())})
	decoded, err := pages.ReadPage()
	if err != nil {
		return nil, nil, err
	}
	release = func() {
		parquet.Release(decoded)
		pages.Close()
		done()
	}
	values = make([]parquet.Value, p.rows)
	n, err := decoded.Values().ReadValues(values)
	if int64(n) != p.rows && (err == nil || err == io.EOF) {
		err = fmt.Errorf("damaged: it has %d values, not %d", n, p.rows)
	} else if err == io.EOF {
		err = nil
	}
	return values, release, err
}

// shifted has its first byte where a decoder looks for pages.
type shifted struct{ *bytes.Reader }

func (s *shifted) ReadAt(p []byte, at int64) (int, error) { return s.Reader.ReadAt(p, at-start) }

// find is the page that a row is in.
func (c *Column) find(row int64) (int, error) {
	pages, err := c.places()
	if err != nil {
		return 0, err
	}
	k, found := slices.BinarySearchFunc(pages, row, func(p page, row int64) int { return int(p.first - row) })
	if !found {
		k--
	}
	if k < 0 || row >= pages[k].first+pages[k].rows {
		return 0, fmt.Errorf("it has no row %d", row)
	}
	return k, nil
}
