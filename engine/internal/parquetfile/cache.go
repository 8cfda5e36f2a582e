package parquetfile

import (
	"bytes"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"
)

// Bytes is the value of a row of a column of bytes, nil if it has none. The pages that were read last, of all files,
// are kept for the rows beside it, as many as 128 MiB hold.
func (c *Column) Bytes(row int64) ([]byte, error) {
	k, err := c.find(row)
	if err != nil {
		return nil, err
	}
	values, err := kept.get(c, k)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(values[row-c.pages[k].first]), nil
}

// kept are the pages that were read last.
var kept = cache{most: 128 << 20}

type cache struct {
	most int // bytes

	mu      sync.Mutex
	entries []*entry // the one that was asked for last is the last
	size    int
}

type entry struct {
	column *Column
	page   int
	once   sync.Once
	values [][]byte
	err    error
	size   int // 0 until it has been read
}

// get is the values of a page, which is decoded once for all who ask for it meanwhile.
func (k *cache) get(c *Column, page int) ([][]byte, error) {
	e := k.entry(c, page)
	e.once.Do(func() {
		var size int
		e.err = c.values(c.pages[page], func(values []parquet.Value) error {
			e.values, size = owned(values)
			return nil
		})
		k.grown(e, size)
	})
	return e.values, e.err
}

func (k *cache) entry(c *Column, page int) *entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &entry{column: c, page: page}
	if at := slices.IndexFunc(k.entries, func(e *entry) bool { return e.column == c && e.page == page }); at >= 0 {
		e = k.entries[at]
		k.entries = slices.Delete(k.entries, at, at+1)
	}
	k.entries = append(k.entries, e)
	return e
}

// grown makes room for an entry that has been read. One that failed is read again when it is asked for again.
func (k *cache) grown(e *entry, size int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.err != nil {
		k.entries = slices.DeleteFunc(k.entries, func(other *entry) bool { return other == e })
		return
	}
	e.size = size
	for k.size += size; k.size > k.most; {
		oldest := slices.IndexFunc(k.entries, func(other *entry) bool { return other != e && other.size > 0 })
		if oldest < 0 {
			return
		}
		k.size -= k.entries[oldest].size
		k.entries = slices.Delete(k.entries, oldest, oldest+1)
	}
}

// owned copies values out of a page.
func owned(values []parquet.Value) ([][]byte, int) {
	const each = 24
	size := each * len(values)
	for _, v := range values {
		if !v.IsNull() {
			size += len(v.ByteArray())
		}
	}
	room := make([]byte, 0, size-each*len(values))
	out := make([][]byte, len(values))
	for i, v := range values {
		if !v.IsNull() {
			from := len(room)
			room = append(room, v.ByteArray()...)
			out[i] = room[from:len(room):len(room)]
		}
	}
	return out, size
}
