package scratch

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/vitft/vitft/internal/disk"
)

// Rows come back as they were written, in whatever order and how often they are asked for, from a file without a name.
func TestRows(t *testing.T) {
	const n, dim = 5000, 300 // so that a run of rows is read in several goes
	dir := t.TempDir()
	m, err := New(dir, n, dim)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the folder has %v, %v", left, err)
	}
	x := make([]float32, n*dim)
	for i := range x {
		x[i] = float32(i)
	}
	for _, from := range []int{n / 2, 0} {
		if err := m.Write(from, x[from*dim:(from+n/2)*dim]); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	all, some := make([]int, n), make([]int, 700)
	for i := range all {
		all[i] = i
	}
	for i := range some {
		some[i] = rng.IntN(n)
	}
	for name, rows := range map[string][]int{"all": all, "shuffled": rng.Perm(n), "some": some, "one": {n - 1},
		"the same": {7, 7, 8, 7}, "none": {}} {
		got := make([]float32, len(rows)*dim)
		if err := m.Features(t.Context(), rows, got); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if want := float32(rows[i/dim]*dim + i%dim); v != want {
				t.Fatalf("%s: value %d of row %d is %g, not %g", name, i%dim, rows[i/dim], v, want)
			}
		}
	}
	for _, err := range []error{m.Write(n-1, x[:2*dim]), m.Write(0, x[:dim+1]), m.Write(-1, x[:dim]),
		m.Features(t.Context(), []int{n}, x[:dim]), m.Features(t.Context(), []int{-1}, x[:dim]),
		m.Features(t.Context(), []int{0}, x[:1])} {
		if err == nil {
			t.Error("rows that there are not")
		}
	}
}

// A disk that is too small is refused before anything is written, one that fills up meanwhile says so.
func TestRoom(t *testing.T) {
	dir := t.TempDir()
	if free, known := disk.Free(dir); known {
		if _, err := New(dir, int(free/4), 2); err == nil || !strings.Contains(err.Error(), "make room") {
			t.Error(err)
		}
	}
	m, err := New(dir, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	defer disk.SetFault(func(op disk.Op, _ string) error {
		if op == disk.Write {
			return syscall.ENOSPC
		}
		return nil
	})()
	if err := m.Write(0, make([]float32, 10)); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}
