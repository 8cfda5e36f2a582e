package parquetfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

type row struct {
	Image []byte `parquet:"image,snappy"`
	Label int64  `parquet:"label"`
}

// written is a file of n images of size bytes, in pages of about 4 KiB and groups of 100 rows.
func written(t testing.TB, n, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.PageBufferSize(4096), parquet.MaxRowsPerRowGroup(100))
	for i := range n {
		if _, err := w.Write([]row{{image(i, size), int64(i % 7)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func image(i, size int) []byte {
	return bytes.Repeat(binary.LittleEndian.AppendUint32(nil, uint32(i)), size/4)
}

func opened(content []byte) (*File, error) {
	return Open(bytes.NewReader(content), int64(len(content)))
}

// footerOf takes the footer of a file apart.
func footerOf(t testing.TB, content []byte) (m *format.FileMetaData, before []byte) {
	t.Helper()
	end := len(content) - 8
	from := end - int(binary.LittleEndian.Uint32(content[end:]))
	m = new(format.FileMetaData)
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), content[from:end], m); err != nil {
		t.Fatal(err)
	}
	return m, content[:from]
}

// closed appends a footer to what is before it.
func closed(t testing.TB, before []byte, footer any) []byte {
	t.Helper()
	text, is := footer.([]byte)
	if !is {
		var err error
		if text, err = thrift.Marshal(new(thrift.CompactProtocol), footer); err != nil {
			t.Fatal(err)
		}
	}
	out := append(slices.Clone(before), text...)
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(text))), magic...)
}

type meta = format.FileMetaData

func first(m *meta) *format.ColumnChunk { return &m.RowGroups[0].Columns[0] }

func column(t testing.TB, f *File, name string) *Column {
	t.Helper()
	for _, c := range f.Columns() {
		if c.Name() == name {
			return c
		}
	}
	t.Fatalf("no column %s", name)
	return nil
}

// Rows come in any order and from many goroutines as they were written, each in its place.
func TestRows(t *testing.T) {
	const n, size = 1000, 300
	f, err := opened(written(t, n, size))
	if err != nil || f.Rows() != n {
		t.Fatal(f, err)
	}
	images, labels := column(t, f, "image"), column(t, f, "label")
	pages, err := images.places()
	if err != nil || len(pages) < 50 {
		t.Fatalf("%d pages, %v; want many", len(pages), err)
	}
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := range n {
				at := (i*(2*k+1)*7 + k) % n
				if got, err := images.Bytes(int64(at)); err != nil || !bytes.Equal(got, image(at, size)) {
					t.Errorf("row %d: %d bytes, %v", at, len(got), err)
					return
				}
			}
		})
	}
	wg.Wait()
	next := int64(0)
	if err := labels.Each(func(row int64, v parquet.Value) error {
		if row != next || v.Int64() != row%7 {
			return fmt.Errorf("row %d after %d has %v", row, next, v)
		}
		next++
		return nil
	}); err != nil || next != n {
		t.Errorf("%d labels, %v", next, err)
	}
	for _, row := range []int64{-1, n} {
		if _, err := images.Bytes(row); err == nil {
			t.Errorf("row %d is there", row)
		}
	}
}

// A page is unpacked once for the rows in it, and no more pages are kept than the bound allows.
func TestPagesAreKept(t *testing.T) {
	const n, size = 400, 1 << 10
	images := column(t, must(opened(written(t, n, size))), "image")
	pages := must(images.places())
	small := cache{most: 20 << 10}
	first := must(small.get(images, 0))
	if &first[0] != &must(small.get(images, 0))[0] {
		t.Error("a page is unpacked again")
	}
	for k := range pages {
		if values := must(small.get(images, k)); int64(len(values)) != pages[k].rows {
			t.Errorf("page %d: %d rows", k, len(values))
		}
	}
	if small.size > small.most || small.size < small.most/2 || len(small.entries) >= len(pages) {
		t.Errorf("%d bytes are kept, of %d pages", small.size, len(small.entries))
	}
	if again := must(small.get(images, 0)); &first[0] == &again[0] || !bytes.Equal(first[0], again[0]) {
		t.Error("a page that was given up is another")
	}
	if one := must(images.Bytes(0)); &one[0] == &must(images.Bytes(0))[0] {
		t.Error("two who ask have the same bytes")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What a file claims is not believed: it is refused before memory is taken for it.
func TestClaims(t *testing.T) {
	good := written(t, 200, 300)
	edited := func(edit func(*meta)) []byte {
		m, before := footerOf(t, good)
		edit(m)
		return closed(t, before, m)
	}
	// chunk has one page of images, of that header and those bytes.
	chunk := func(h format.PageHeader, codec format.CompressionCodec, data []byte) []byte {
		m, _ := footerOf(t, written(t, 4, 300))
		h.CompressedPageSize = int32(len(data))
		header := must(thrift.Marshal(new(thrift.CompactProtocol), &h))
		c := &m.RowGroups[0].Columns[0].MetaData
		c.DataPageOffset, c.DictionaryPageOffset, c.Codec = start, 0, codec
		c.TotalCompressedSize = int64(len(header) + len(data))
		return closed(t, slices.Concat([]byte(magic), header, data), m)
	}
	page := format.PageHeader{Type: format.DataPage, UncompressedPageSize: 1 << 29,
		DataPageHeader: thrift.New(format.DataPageHeader{NumValues: 4})}
	large := page
	large.UncompressedPageSize = 1<<31 - 1
	many := page
	many.DataPageHeader.V.NumValues = 1<<31 - 1
	bomb := must(zstd.NewWriter(nil)).EncodeAll(make([]byte, 256<<20), nil)
	small := page
	small.UncompressedPageSize = 1000
	footer := func(text ...byte) []byte { return closed(t, []byte(magic), text) }
	parts := append([]byte{0x29, 0xfc, 0x80, 0x80, 0x80, 0x01}, make([]byte, 3<<20)...) // a list of 2 Mi structures
	nested := append(bytes.Repeat([]byte{0x1c}, 1<<20), make([]byte, 1<<20)...)
	fewer := func(m *meta) { m.RowGroups[1].Columns = m.RowGroups[1].Columns[:1] }
	beyond := func(m *meta) { first(m).MetaData.TotalCompressedSize = 1 << 60 }
	ones := bytes.Repeat([]byte{255}, 1000)
	hundred := snappy.Encode(nil, make([]byte, 100))
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"nothing":               {nil, "it has 0 bytes"},
		"a list of many":        {footer(0x29, 0xfc, 0xff, 0xff, 0xff, 0x07, 0), "elements in 1 bytes"},
		"nested":                {footer(nested...), "nested too deep"},
		"empty structures":      {footer(parts...), "more than 2000000 parts"},
		"no rows":               {edited(func(m *meta) { m.RowGroups = nil }), "no rows"},
		"rows without pages":    {edited(func(m *meta) { m.RowGroups[0].NumRows = 1 << 30 }), "damaged"},
		"rows below nothing":    {edited(func(m *meta) { m.RowGroups[0].NumRows = -1 }), "-1 rows"},
		"columns that are not":  {edited(fewer), "row group 1"},
		"children that are not": {edited(func(m *meta) { m.Schema[0].NumChildren.V = 1 << 30 }), "damaged footer"},
		"a chunk beyond it":     {edited(beyond), "cut short"},
		"a chunk before it":     {edited(func(m *meta) { first(m).MetaData.DataPageOffset = -5 }), "cut short"},
		"another file":          {edited(func(m *meta) { first(m).FilePath = "x" }), "in another file"},
		"a large page":          {chunk(large, format.Snappy, hundred), "the limit here is 1024 MiB"},
		"a page that is not":    {chunk(page, format.Snappy, hundred), "are said to unpack"},
		"snappy that lies":      {chunk(page, format.Snappy, []byte("\x80\x80\x80\x80\x02\x00")), "are said"},
		"LZ4 that lies":         {chunk(page, format.Lz4Raw, []byte{0x10, 0}), "are said to unpack"},
		"gzip that is none":     {chunk(page, format.Gzip, []byte("no gzip at all")), "gzip"},
		"a bomb":                {chunk(small, format.Zstd, bomb), "1001 bytes unpacked, not 1000"},
		"values that are not":   {chunk(small, format.Uncompressed, ones), "rows from 0 on"},
		"many values":           {chunk(many, format.Uncompressed, make([]byte, 1000)), "of the 4 rows that are left"},
		"LZO":                   {chunk(small, format.LZO, make([]byte, 1000)), "which is not read here"},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			before := allocated()
			f, err := opened(c.content)
			for i := 0; err == nil && i < int(f.Rows()); i++ {
				_, err = column(t, f, "image").Bytes(int64(i))
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one with %q", err, c.says)
			}
			if used := allocated() - before; used > 48<<20 {
				t.Errorf("took %d bytes to find that out", used)
			}
		})
	}
}

// allocated is how many bytes were allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// Whatever bytes are a footer, it is counted in bounds, and what passes is decoded without harm.
func FuzzFooter(f *testing.F) {
	good := written(f, 3, 300)
	f.Add(good[len(good)-8-int(binary.LittleEndian.Uint32(good[len(good)-8:])) : len(good)-8])
	f.Fuzz(func(t *testing.T, footer []byte) {
		err := count(footer)
		file, opening := opened(closed(t, good[:len(good)/2], footer))
		if err != nil && opening == nil {
			t.Fatalf("opened in spite of %v", err)
		}
		if opening == nil && file.Rows() < 0 {
			t.Fatalf("%d rows", file.Rows())
		}
	})
}

// BenchmarkBytes reads photos as large as those of Caltech-101 from pages of a megabyte, as pyarrow writes them.
func BenchmarkBytes(b *testing.B) {
	const n, size = 10_000, 15 << 10
	var file bytes.Buffer
	w := parquet.NewGenericWriter[row](&file, parquet.PageBufferSize(1<<20), parquet.MaxRowsPerRowGroup(1000))
	photo, noise := make([]byte, size), rand.NewChaCha8([32]byte{})
	for i := range n {
		noise.Read(photo)
		if _, err := w.Write([]row{{photo, int64(i)}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	f, err := opened(file.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	images := column(b, f, "image")
	for _, order := range []struct {
		name string
		step int
	}{{"in=order", 1}, {"in=disorder", 7919}} {
		b.Run(order.name, func(b *testing.B) {
			b.SetBytes(size)
			for i := 0; b.Loop(); i++ {
				if _, err := images.Bytes(int64(i * order.step % n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
