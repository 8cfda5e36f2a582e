// Package scratch keeps matrices that do not fit into memory in files that nobody else sees: they have no name, and are
// gone when the process ends, however it ends.
package scratch

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"unsafe"

	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/par"
)

const (
	together = 1 << 20 // bytes that are read in one go, at most
	atOnce   = 8       // of which so many are waited for at a time
)

// Matrix is rows of numbers. Any number of goroutines may read them, once they are written.
type Matrix struct {
	file      *os.File
	rows, dim int
}

// New makes room for rows of so many numbers in a folder. One that has too little is refused at once.
func New(dir string, rows, dim int) (*Matrix, error) {
	if free, known := disk.Free(dir); known && int64(rows)*int64(dim)*4 > free {
		return nil, fmt.Errorf("%d rows of %d numbers take %.3g GB, and there are %.3g GB left at %s; make room "+
			"there, or name another folder", rows, dim, float64(rows)*float64(dim)*4e-9, float64(free)/1e9, dir)
	}
	if err := disk.MakeAll(dir); err != nil {
		return nil, err
	}
	f, err := disk.New(filepath.Join(dir, ".tmp-"+rand.Text()))
	if err != nil {
		return nil, err
	}
	if err := disk.Delete(f.Name()); err != nil { // the file itself stays for as long as it is open
		return nil, cmp.Or(f.Close(), err)
	}
	return &Matrix{f, rows, dim}, nil
}

// Close frees the room.
func (m *Matrix) Close() error { return m.file.Close() }

// Write sets rows, from the one with that index on.
func (m *Matrix) Write(from int, x []float32) error {
	if n := len(x) / max(m.dim, 1); from < 0 || n*m.dim != len(x) || from+n > m.rows {
		return fmt.Errorf("%d numbers for rows from %d on, of %d rows of %d", len(x), from, m.rows, m.dim)
	}
	_, err := disk.To{File: m.file}.WriteAt(bytesOf(x), m.at(from))
	return err
}

// Features writes rows, [len(rows), dim], to dst. What lies together is read in one go, in the order of the file.
func (m *Matrix) Features(ctx context.Context, rows []int, dst []float32) error {
	if len(dst) != len(rows)*m.dim {
		return fmt.Errorf("%d rows of %d numbers and room for %d", len(rows), m.dim, len(dst))
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	if !slices.IsSorted(rows) {
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rows[a], rows[b]) })
	}
	var runs [][]int // of places in rows
	for most := max(1, together/(4*m.dim)); len(order) > 0; {
		n := 1
		for n < min(len(order), most) && rows[order[n]]-rows[order[n-1]] <= 1 {
			n++
		}
		runs, order = append(runs, order[:n]), order[n:]
	}
	errs := make([]error, len(runs))
	err := par.For(ctx, len(runs), atOnce, func(i int) { errs[i] = m.run(rows, runs[i], dst) })
	return cmp.Or(err, cmp.Or(errs...))
}

// run reads rows that lie together, each for its place in dst.
func (m *Matrix) run(rows, places []int, dst []float32) error {
	first, last := rows[places[0]], rows[places[len(places)-1]]
	if first < 0 || last >= m.rows {
		return fmt.Errorf("rows %d to %d of %d", first, last, m.rows)
	}
	one := func(place int) []float32 { return dst[place*m.dim : (place+1)*m.dim] }
	x := one(places[0])
	if n := (last - first + 1) * m.dim; last > first {
		buffer := buffers.Get().(*[]float32)
		defer buffers.Put(buffer)
		*buffer = slices.Grow((*buffer)[:0], n)[:n]
		x = *buffer
	}
	if _, err := m.file.ReadAt(bytesOf(x), m.at(first)); err != nil && err != io.EOF {
		return fmt.Errorf("reading rows that are laid out on the disk: %w", err)
	}
	for _, place := range places {
		copy(one(place), x[(rows[place]-first)*m.dim:])
	}
	return nil
}

var buffers = sync.Pool{New: func() any { return new([]float32) }}

// at is where a row begins.
func (m *Matrix) at(row int) int64 { return int64(row) * int64(m.dim) * 4 }

func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
