package embedding

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

// Vectors that do not fit into memory twice are mapped, and the table is the same; a file that is cut short is refused.
func TestMapped(t *testing.T) {
	const n, dim = 1000, 512
	want := &Table{Dim: dim, Vectors: make([]float32, n*dim), Rows: make([]Row, n), Classes: []string{"a", "b"}}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range want.Vectors {
		want.Vectors[i] = rng.Float32()
	}
	for i := range want.Rows {
		want.Rows[i] = Row{Path: "x", Label: want.Classes[i%2], Split: "train",
			ID: identify(want.Vectors[i*dim : (i+1)*dim])}
	}
	for _, ext := range []string{".npy", ".safetensors"} {
		path := filepath.Join(t.TempDir(), "features"+ext)
		if err := Write(path, want, want.Gather); err != nil {
			t.Fatal(err)
		}
		before, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(8*n*dim - 1))
			var got *Table
			took := testkit.PeakMemory(t, func() { got, err = Read(path) })
			if err != nil || before.mapped || !got.mapped {
				t.Fatalf("%s: mapped %v before and %v now, %v", ext, before.mapped, got.mapped, err)
			}
			if got.mapped = false; !reflect.DeepEqual(got, before) {
				t.Errorf("%s: another table when it is mapped", ext)
			}
			t.Logf("%s: %d kB more were resident", ext, took>>10)
			content := testkit.ReadFile(t, path)
			if err := os.WriteFile(path, content[:len(content)-4*n*dim], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(path); err == nil {
				t.Errorf("%s: cut short", ext)
			}
		}()
	}
}
