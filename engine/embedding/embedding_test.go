package embedding_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/embedding"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/testkit"
)

// table has rows with all that can be said of them, and texts that formats may stumble over.
func table(n, dim int) *embedding.Table {
	classes := []string{"zebra", "=1+1", "ant, \"red\"", "größe 象"}
	t := &embedding.Table{Dim: dim, Classes: classes, Vectors: make([]float32, n*dim),
		Made: &embedding.Made{Name: "vit", Views: 2, Key: store.Key{Backbone: "ab12", Feature: "x/cls", Dim: dim}}}
	for i := range n {
		t.Rows = append(t.Rows, embedding.Row{Path: fmt.Sprintf("photos/é %d.jpg", i), Label: classes[i%len(classes)],
			Split: []string{"train", "val", "test"}[i*3/n], ID: sha256.Sum256([]byte{byte(i), byte(i >> 8)})})
	}
	for k := range t.Vectors {
		t.Vectors[k] = float32(math.Sin(float64(k)))
	}
	t.Vectors[1], t.Vectors[2] = float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32
	return t
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := table(5000, 7)
	for _, ext := range embedding.Extensions() {
		path := filepath.Join(t.TempDir(), "deep", "features"+ext)
		largest := 0
		err := embedding.Write(path, want, func(from int, dst []float32) error {
			largest = max(largest, len(dst))
			return want.Gather(from, dst)
		})
		if err != nil {
			t.Fatal(err)
		}
		if !embedding.Is(path) {
			t.Errorf("%s is not known as embeddings", ext)
		}
		got, err := embedding.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if ext == ".npy" {
			got.Made = want.Made // which a CSV file does not say
		}
		if !reflect.DeepEqual(got.Rows, want.Rows) || !slices.Equal(got.Classes, want.Classes) ||
			!reflect.DeepEqual(got.Made, want.Made) || got.Dim != want.Dim {
			t.Errorf("%s: other rows: %+v", ext, got.Rows[:1])
		}
		for k, v := range want.Vectors {
			if math.Float32bits(v) != math.Float32bits(got.Vectors[k]) {
				t.Fatalf("%s: value %d is %v, not %v", ext, k, got.Vectors[k], v)
			}
		}
	}
}

// Vectors are asked for as they are written, a few MiB at a time.
func TestWritingHoldsFewVectors(t *testing.T) {
	of := table(3000, 1)
	of.Dim, of.Vectors = 1024, nil
	for _, ext := range embedding.Extensions() {
		next := 0
		err := embedding.Write(filepath.Join(t.TempDir(), "x"+ext), of, func(from int, dst []float32) error {
			if from != next || len(dst) > 1<<20 {
				t.Errorf("%s: %d values from row %d on, after row %d", ext, len(dst), from, next)
			}
			next += len(dst) / of.Dim
			return nil
		})
		if err != nil || next != len(of.Rows) {
			t.Errorf("%s: %d rows of %d: %v", ext, next, len(of.Rows), err)
		}
	}
}

// After an error there is what was there before, and nothing half written.
func TestAnErrorLeavesNothing(t *testing.T) {
	broken := errors.New("the store is broken")
	for _, ext := range embedding.Extensions() {
		dir := t.TempDir()
		err := embedding.Write(filepath.Join(dir, "x"+ext), table(10, 3), func(int, []float32) error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", ext, err)
		}
		left, _ := filepath.Glob(filepath.Join(dir, "*"+ext))
		temporary, _ := filepath.Glob(filepath.Join(dir, ".tmp*"))
		if len(left)+len(temporary) > 0 {
			t.Errorf("%s: %v %v are left", ext, left, temporary)
		}
	}
	for _, name := range []string{"x.txt", "x"} {
		err := embedding.Write(filepath.Join(t.TempDir(), name), table(10, 3), nil)
		if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), ".parquet, .npz") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testdata/make.py writes the same rows with other libraries.
func TestFilesOfOthers(t *testing.T) {
	labels := []string{"cat", "dog", "cat", "ant", "dog", "cat"}
	numbers := []string{"1", "0", "1", "2", "0", "1"}
	for name, want := range map[string][]string{
		"list-double.parquet": labels, "fixed-size.parquet": numbers, "float16.parquet": labels,
		"class-label.parquet": labels, "dictionary.parquet": labels, "polars.parquet": labels,
		"compressed.npz": labels, "bytes.npz": labels, "numbers.npy": numbers, "numbers.safetensors": numbers,
	} {
		path := filepath.Join("testdata", name)
		if !embedding.Is(path) {
			t.Errorf("%s is not known as embeddings", name)
		}
		got, err := embedding.Read(path)
		if err != nil {
			t.Error(err)
			continue
		}
		for i, r := range got.Rows {
			v, x := got.Vectors[i*3:][:3], float32(i)
			if !slices.Equal(v, []float32{x, x + 0.25, -x}) || r.Label != want[i] {
				t.Errorf("%s: row %d is %v, %q", name, i, v, r.Label)
			}
			hasPath := slices.Contains([]string{"list-double.parquet", "fixed-size.parquet", "numbers.npy"}, name)
			if path := fmt.Sprintf("photos/%d.jpg", i); hasPath && r.Path != path {
				t.Errorf("%s: row %d is of %s", name, i, r.Path)
			}
			if !hasPath && r.Path != fmt.Sprint(filepath.Join("testdata", name), "#", i) {
				t.Errorf("%s: row %d is called %s", name, i, r.Path)
			}
		}
		if len(got.Rows) != 6 || got.Dim != 3 {
			t.Errorf("%s: %d rows of %d values", name, len(got.Rows), got.Dim)
		}
		if name == "class-label.parquet" && !slices.Equal(got.Classes, []string{"dog", "cat", "ant"}) {
			t.Errorf("%s: the classes are %q", name, got.Classes)
		}
	}
	if embedding.Is(filepath.Join("testdata", "images.parquet")) {
		t.Error("a file of images is taken for embeddings")
	}
}

func TestRefusals(t *testing.T) {
	for name, says := range map[string]string{
		"null-vector.parquet":      "row 3 (from 0): it has no embedding",
		"null-value.parquet":       "row 2 (from 0): it has no embedding, or one with a missing value",
		"ragged.parquet":           "row 4 (from 0): its embedding has 2 values, that of row 0 has 3",
		"null-label.parquet":       "row 5 (from 0): label: it is missing",
		"not-finite.parquet":       "row 1 (from 0): value 1 of its vector is NaN",
		"no-label.parquet":         "no column of labels (label, labels, class",
		"two-vectors.parquet":      "several columns are lists of floating-point numbers (a, b); call one of them",
		"float-label.parquet":      "row 0 (from 0): label: 0.5 is of the type DOUBLE, neither text nor a whole",
		"images.parquet":           "no column is a list of floating-point numbers; its columns are image, label",
		"objects.npz":              "array labels: it is of Python objects, which only pickle reads",
		"fewer.npz":                "array labels: it has 5 values for 6 vectors",
		"alone.npy":                "there is no alone.csv beside it",
		"unlabelled.safetensors":   "no tensor of labels",
		"missing.parquet":          "no such file",
		"make.py":                  "is no file of embeddings; those end in .parquet",
		"../embedding_test.go.npz": "no such file",
	} {
		path := filepath.Join("testdata", name)
		_, err := embedding.Read(path)
		if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), says) ||
			!strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A folder of Parquet files is one table; where they have no column of splits their names may say it.
func TestShards(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"} {
		content := testkit.ReadFile(t, "testdata", "float16.parquet")
		testkit.WriteFile(t, filepath.Join(dir, name+".parquet"), content)
	}
	if !embedding.Is(dir) {
		t.Fatal("it is not known as embeddings")
	}
	got, err := embedding.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	splits := map[string]int{}
	for _, r := range got.Rows {
		splits[r.Split]++
	}
	if splits["train"] != 12 || splits["test"] != 6 || len(got.Vectors) != 18*3 {
		t.Errorf("%v", splits)
	}
	testkit.WriteFile(t, filepath.Join(dir, "x.parquet"), testkit.ReadFile(t, "testdata", "not-finite.parquet"))
	if err := os.Mkdir(filepath.Join(dir, "class"), 0o755); err != nil || embedding.Is(dir) {
		t.Errorf("a folder with folders in it is taken for embeddings (%v)", err)
	}
}

// A file that is named in several ways is read once, and it is told what its vectors take.
func TestReadOnce(t *testing.T) {
	dir := t.TempDir()
	want := table(60, 8)
	path := filepath.Join(dir, "x.parquet")
	if err := embedding.Write(path, want, want.Gather); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	s := dataset.Sources{Train: "x.parquet", Val: path, Test: "./x.parquet"}
	x, err := embedding.Given(t.Context(), &s, nil, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	sets, err := s.Open(t.Context(), 1, nil, event.Events{})
	if err != nil || sets.Images() != 60 || x.Memory() != 60*8*4 {
		t.Errorf("%d bytes of vectors are in memory, of 60 of 8 values: %v", x.Memory(), err)
	}
}

// What numpy reads of our files, and pyarrow where it is installed, is what was written.
func TestPythonReads(t *testing.T) {
	python := os.Getenv("VITFT_PYTHON")
	if python == "" {
		t.Skip("VITFT_PYTHON is not set; see scripts/python.sh")
	}
	want, dir := table(50, 5), t.TempDir()
	for _, ext := range embedding.Extensions() {
		if err := embedding.Write(filepath.Join(dir, "f"+ext), want, want.Gather); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(python, filepath.Join("testdata", "read.py"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	var wanted bytes.Buffer
	for i, r := range want.Rows {
		fmt.Fprintf(&wanted, "%s|%s|%s|%x", r.Path, r.Label, r.Split, r.ID)
		for _, v := range want.Vectors[i*5 : (i+1)*5] {
			fmt.Fprintf(&wanted, "|%08x", math.Float32bits(v))
		}
		wanted.WriteString("\n")
	}
	read, _ := filepath.Glob(filepath.Join(dir, "*.txt"))
	if len(read) < 3 {
		t.Fatalf("it has read %v", read)
	}
	for _, path := range read {
		if got := testkit.ReadFile(t, path); !bytes.Equal(got, wanted.Bytes()) {
			t.Errorf("%s: %.300s, not %.300s", filepath.Base(path), got, wanted.Bytes())
		}
	}
}

// FuzzRead reads anything under each name: what is read is whole and finite, and no word of a header is believed that
// the file cannot hold.
func FuzzRead(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.*")
	for _, name := range names {
		if ext := filepath.Ext(name); slices.Contains(embedding.Extensions(), ext) {
			content, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(slices.Index(embedding.Extensions(), ext), content)
		}
	}
	f.Fuzz(func(t *testing.T, kind int, content []byte) {
		kinds := embedding.Extensions()
		dir := t.TempDir()
		path := filepath.Join(dir, "x"+kinds[(kind%len(kinds)+len(kinds))%len(kinds)])
		testkit.WriteFile(t, path, content)
		testkit.WriteFile(t, filepath.Join(dir, "x.csv"), []byte("label\na\nb\na\nb\na\nb\n"))
		got, err := embedding.Read(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("an error that does not name the file: %v", err)
			}
			return
		}
		if len(got.Rows) == 0 || len(got.Vectors) != len(got.Rows)*got.Dim {
			t.Errorf("%d rows of %d values: %d", len(got.Rows), got.Dim, len(got.Vectors))
		}
		for i, r := range got.Rows {
			if r.Label == "" || r.Path == "" {
				t.Errorf("row %d: %+v", i, r)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	of := table(10000, 768)
	for _, ext := range embedding.Extensions() {
		path := filepath.Join(b.TempDir(), "x"+ext)
		if err := embedding.Write(path, of, of.Gather); err != nil {
			b.Fatal(err)
		}
		b.Run(ext, func(b *testing.B) {
			b.SetBytes(int64(4 * len(of.Vectors)))
			for b.Loop() {
				if _, err := embedding.Read(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
