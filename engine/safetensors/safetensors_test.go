package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/go.safetensors")

// content is what testdata/make.py writes.
func content() *File {
	ids := make([]uint8, 35)
	for i := range ids {
		ids[i] = uint8(i)
	}
	return &File{
		Metadata: map[string]string{"format": "np", "ключ": "a\nb\"<"},
		Tensors: []Tensor{
			New("weight", []int{2, 3}, []float32{0, .25, .5, .75, 1, 1.25}),
			New("ids", []int{5, 7}, ids),
			New("steps", []int{2}, []int64{-1, 1 << 40}),
			{Name: "half", DType: F16, Shape: []int{2}, Data: []byte{0x00, 0x38, 0x00, 0xc0}},
			New("empty", []int{0, 4}, []float32{}),
			New("scalar", []int{}, []float64{2.5}),
			New("naïve/名 <&>\"", []int{2}, []int32{1, -1}),
		},
	}
}

func encode(t testing.TB, f *File) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := f.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Fatalf("WriteTo says %d bytes, wrote %d", n, b.Len())
	}
	return b.Bytes()
}

// same compares as sets of tensors.
func same(t *testing.T, got, want *File) {
	t.Helper()
	if len(got.Metadata)+len(want.Metadata) > 0 && !reflect.DeepEqual(got.Metadata, want.Metadata) {
		t.Errorf("metadata %v, want %v", got.Metadata, want.Metadata)
	}
	if len(got.Tensors) != len(want.Tensors) {
		t.Fatalf("%d tensors, want %d", len(got.Tensors), len(want.Tensors))
	}
	for _, w := range want.Tensors {
		g, err := got.Tensor(w.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if g.DType != w.DType || len(g.Shape) != len(w.Shape) || !bytes.Equal(g.Data, w.Data) {
			t.Errorf("tensor %q differs: %v %v, want %v %v", w.Name, g.DType, g.Shape, w.DType, w.Shape)
		}
		for i := range g.Shape {
			if g.Shape[i] != w.Shape[i] {
				t.Errorf("tensor %q: shape %v, want %v", w.Name, g.Shape, w.Shape)
			}
		}
	}
}

func TestReadsPython(t *testing.T) {
	f, err := Read("testdata/python.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, content())
}

// go.safetensors was read back by the reference library (testdata/make.py).
func TestBytesAreStable(t *testing.T) {
	const path = "testdata/go.safetensors"
	if *update {
		if err := content().Write(path); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := content()
	for range len(f.Tensors) {
		f.Tensors = append(f.Tensors[1:], f.Tensors[0]) // any order
		if got := encode(t, f); !bytes.Equal(got, want) {
			t.Fatalf("bytes changed:\n%q\nwant\n%q", got, want)
		}
	}
	f, err = Read(path)
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, content())
}

func TestValues(t *testing.T) {
	f, err := Parse(encode(t, content()))
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Tensor("weight")
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{0, .25, .5, .75, 1, 1.25}
	got, err := Values[float32](w)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("values %v, %v", got, err)
	}
	// A misaligned tensor is copied, not refused.
	w.Data = append(make([]byte, 1, 64), w.Data...)[1:]
	if got, err = Values[float32](w); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("misaligned values %v, %v", got, err)
	}
	if _, err := Values[int32](w); !errors.Is(err, ErrFormat) {
		t.Errorf("int32 of F32: error %v", err)
	}
	if _, err := f.Tensor("none"); !errors.Is(err, ErrFormat) {
		t.Errorf("missing tensor: error %v", err)
	}
	e, _ := f.Tensor("empty")
	if got, err := Values[float32](e); err != nil || len(got) != 0 {
		t.Errorf("empty tensor: %v, %v", got, err)
	}
}

// Every tensor starts at a multiple of its element size, so that a mapped file needs no copying.
func TestAligned(t *testing.T) {
	b := encode(t, content())
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range f.Tensors {
		if len(x.Data) == 0 {
			continue
		}
		at := bytes.Index(b, x.Data)
		if at%x.DType.Size() != 0 {
			t.Errorf("%s at byte %d", x.Name, at)
		}
	}
}

func raw(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestParseRefuses(t *testing.T) {
	const a = `"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`
	for _, c := range []struct{ name, header, want string }{
		{"not an object", `[]`, "not a JSON object"},
		{"empty", ``, "not a JSON object"},
		{"cut", `{` + a, "EOF"},
		{"trailing", `{` + a + `}x`, "follows"},
		{"duplicate tensor", `{` + a + `,` + a + `}`, "twice"},
		{"duplicate field", `{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, "twice"},
		{"duplicate metadata", `{"__metadata__":{"k":"1","k":"2"},` + a + `}`, "twice"},
		{"metadata number", `{"__metadata__":{"k":1},` + a + `}`, "not a string"},
		{"metadata null", `{"__metadata__":{"k":null},` + a + `}`, "not a string"},
		{"unknown dtype", `{"a":{"dtype":"X9","shape":[2],"data_offsets":[0,2]}}`, "unknown dtype"},
		{"missing field", `{"a":{"dtype":"U8","shape":[2]}}`, "needs"},
		{"extra field", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":1}}`, "unknown field"},
		{"null shape", `{"a":{"dtype":"U8","shape":null,"data_offsets":[0,2]}}`, "not an array"},
		{"null size", `{"a":{"dtype":"U8","shape":[null],"data_offsets":[0,2]}}`, "not a size"},
		{"negative", `{"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}}`, "not a size"},
		{"fraction", `{"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}}`, "not a size"},
		{"string size", `{"a":{"dtype":"U8","shape":["2"],"data_offsets":[0,2]}}`, "not a size"},
		{"overflow", `{"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,2]}}`, "too large"},
		{"beyond int", `{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,2]}}`, "not a size"},
		{"size mismatch", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,2]}}`, "do not fit"},
		{"reversed", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}`, "do not fit"},
		{"hole", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "belong to no tensor"},
		{"overlap", `{` + a + `,"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "inside"},
		{"out of bounds", `{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}`, "truncated"},
		{"data left over", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "after the last"},
		{"invalid UTF-8", "{\"\xff\":{}}", "UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(raw(c.header, 2))
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want ErrFormat naming %q", err, c.want)
			}
		})
	}
	for name, b := range map[string][]byte{
		"short":       {1, 2, 3},
		"long header": binary.LittleEndian.AppendUint64(nil, 9),
		"huge header": binary.LittleEndian.AppendUint64(nil, math.MaxUint64),
	} {
		if _, err := Parse(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: error %v, want ErrFormat", name, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	ok := New("a", []int{1}, []uint8{1})
	for name, f := range map[string]*File{
		"duplicate":     {Tensors: []Tensor{ok, ok}},
		"reserved name": {Tensors: []Tensor{New("__metadata__", []int{1}, []uint8{1})}},
		"reserved too": {Metadata: map[string]string{"k": "v"},
			Tensors: []Tensor{New("__metadata__", []int{1}, []uint8{1})}},
		"shape":      {Tensors: []Tensor{New("a", []int{2}, []float32{1})}},
		"negative":   {Tensors: []Tensor{New("a", []int{-1, -1}, []float32{1})}},
		"dtype":      {Tensors: []Tensor{{Name: "a", DType: "F4", Shape: []int{1}, Data: []byte{1}}}},
		"name bytes": {Tensors: []Tensor{New("\xff", []int{1}, []uint8{1})}},
		"metadata":   {Metadata: map[string]string{"k": "\xff"}, Tensors: []Tensor{ok}},
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := f.Write(path); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: error %v, want ErrFormat", name, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: file written all the same", name)
		}
	}
}

// What parses can be written, and parses again to the same content.
func FuzzParse(f *testing.F) {
	f.Add(encode(f, content()))
	f.Add(raw(`{}`, 0))
	f.Add(raw(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2))
	f.Add(raw(`{"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		x, indexErr := ReadIndex(bytes.NewReader(data), int64(len(data)))
		if (err == nil) != (indexErr == nil) || err != nil && err.Error() != indexErr.Error() {
			t.Fatalf("the whole: %v; its index: %v", err, indexErr)
		}
		for i := 0; err == nil && i < len(x.Tensors); i++ {
			want := file.Tensors[i]
			if got := x.Tensors[i]; got.Name != want.Name || !bytes.Equal(data[x.Offsets[i]:][:len(want.Data)],
				want.Data) {
				t.Fatalf("tensor %d is %q at %d, want %q", i, got.Name, x.Offsets[i], want.Name)
			}
		}
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error %v does not wrap ErrFormat", err)
			}
			return
		}
		again, err := Parse(encode(t, file))
		if err != nil {
			t.Fatal(err)
		}
		same(t, again, file)
	})
}

func BenchmarkParse(b *testing.B) {
	x := make([]float32, 20000*192)
	data := encode(b, &File{Tensors: []Tensor{New("features", []int{20000, 192}, x)}})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	x := make([]float32, 20000*192)
	file := &File{Tensors: []Tensor{New("features", []int{20000, 192}, x)}}
	path := filepath.Join(b.TempDir(), "f")
	b.Run("safetensors", func(b *testing.B) {
		b.SetBytes(int64(4 * len(x)))
		for b.Loop() {
			if err := file.Write(path); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reference=os.WriteFile", func(b *testing.B) {
		data := encode(b, file)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	})
}
