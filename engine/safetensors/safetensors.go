// Package safetensors reads and writes the safetensors format: a little-endian uint64 header length, a JSON header
// naming each tensor's dtype, shape and place, then the raw little-endian values.
//
// # Basics
//
//	f := &safetensors.File{
//		Metadata: map[string]string{"labels": "a,b"},
//		Tensors:  []safetensors.Tensor{safetensors.New("weight", []int{2, 3}, w)},
//	}
//	err := f.Write("head.safetensors")
//
//	f, err = safetensors.Read("head.safetensors")
//	t, err := f.Tensor("weight")
//	w, err := safetensors.Values[float32](t)
//
// The same content always gives the same bytes: metadata is sorted by key, tensors by descending element size and then
// by name, which also keeps every tensor aligned to its element size. Files are replaced atomically.
//
// [Parse] is strict: the tensors must cover the data exactly (no overlap, hole or trailing byte), sizes must match
// dtype and shape, and a name or key may appear only once. Every fault wraps [ErrFormat].
//
// # Caveats
//
// Tensors of a parsed file are views of its bytes, and [Values] of a tensor is a view where the machine allows: keep
// the bytes (or the mapping) alive and do not write to them. Types of less than a byte are not supported.
//
// The format is specified at https://huggingface.co/docs/safetensors.
package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/userfile"
)

// ErrFormat is wrapped by every error about bytes or tensors that do not make a valid file.
var ErrFormat = errors.New("not a valid safetensors file")

// MaxHeader is the largest header, in bytes, that is read or written; the format's reference implementation has the
// same limit.
const MaxHeader = 100_000_000

// DType is the element type of a tensor, named as in the file.
type DType string

// The element types that can be stored.
const (
	Bool   DType = "BOOL"
	U8     DType = "U8"
	I8     DType = "I8"
	F8E5M2 DType = "F8_E5M2"
	F8E4M3 DType = "F8_E4M3"
	U16    DType = "U16"
	I16    DType = "I16"
	F16    DType = "F16"
	BF16   DType = "BF16"
	U32    DType = "U32"
	I32    DType = "I32"
	F32    DType = "F32"
	U64    DType = "U64"
	I64    DType = "I64"
	F64    DType = "F64"
	C64    DType = "C64"
)

var sizes = map[DType]int{
	Bool: 1, U8: 1, I8: 1, F8E5M2: 1, F8E4M3: 1, U16: 2, I16: 2, F16: 2, BF16: 2,
	U32: 4, I32: 4, F32: 4, U64: 8, I64: 8, F64: 8, C64: 8,
}

// Size is the number of bytes of one element, 0 for an unknown type.
func (d DType) Size() int { return sizes[d] }

// Tensor is a named array, row-major.
type Tensor struct {
	Name  string
	DType DType
	Shape []int  // empty for a scalar
	Data  []byte // little-endian, product(Shape)·DType.Size() bytes
	// Fill writes the data of a tensor that is too large to be held; nil: they are Data.
	Fill func(io.Writer) error
}

// Element is a Go type that has a DType.
type Element interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | float32 | uint64 | int64 | float64
}

// New is the tensor of values, which are not copied on a little-endian machine. A shape that does not fit them is
// reported when the file is written.
func New[T Element](name string, shape []int, values []T) Tensor {
	t := Tensor{Name: name, DType: dtypeOf[T](), Shape: shape}
	if littleEndian {
		t.Data = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*t.DType.Size())
		return t
	}
	// Appending fixed-size numbers cannot fail.
	t.Data, _ = binary.Append(nil, binary.LittleEndian, values)
	return t
}

// Values is t's content. It is a view of t.Data where byte order and alignment allow, else a copy. A tensor of another
// type is an error that wraps ErrFormat.
func Values[T Element](t Tensor) ([]T, error) {
	want := dtypeOf[T]()
	if t.DType != want {
		return nil, fmt.Errorf("%w: tensor %q is %s, not %s", ErrFormat, t.Name, t.DType, want)
	}
	n := len(t.Data) / want.Size()
	p := unsafe.Pointer(unsafe.SliceData(t.Data))
	if littleEndian && uintptr(p)%uintptr(want.Size()) == 0 {
		return unsafe.Slice((*T)(p), n), nil
	}
	values := make([]T, n)
	_, err := binary.Decode(t.Data, binary.LittleEndian, values)
	return values, err
}

// File is the content of a safetensors file.
type File struct {
	Metadata map[string]string // nil or empty: none
	Tensors  []Tensor
}

// Tensor finds a tensor by name.
func (f *File) Tensor(name string) (Tensor, error) {
	if i := slices.IndexFunc(f.Tensors, func(t Tensor) bool { return t.Name == name }); i >= 0 {
		return f.Tensors[i], nil
	}
	return Tensor{}, fmt.Errorf("%w: no tensor %q", ErrFormat, name)
}

// Read reads a whole file into memory.
func Read(path string) (*File, error) {
	data, err := userfile.Read(path, userfile.Large)
	if err != nil {
		return nil, err
	}
	f, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return f, nil
}

// Write replaces the file at path atomically: temporary file, sync, rename.
func (f *File) Write(path string) error {
	return atomicfile.Write(path, func(w io.Writer) error { _, err := f.WriteTo(w); return err })
}

// WriteTo writes the file to w; the bytes depend on the content only, not on the order of f.Tensors. Tensors that make
// no valid file are refused before anything is written.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	tensors := slices.Clone(f.Tensors)
	slices.SortStableFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(b.DType.Size(), a.DType.Size()), strings.Compare(a.Name, b.Name))
	})
	header, err := formatHeader(f.Metadata, tensors)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	n, err := w.Write(header)
	written := int64(n)
	for i := 0; i < len(tensors) && err == nil; i++ {
		t := tensors[i]
		if t.Fill == nil {
			n, err = w.Write(t.Data)
			written += int64(n)
			continue
		}
		size, _ := byteSize(t.DType, t.Shape) // which formatHeader has found right
		out := &counter{w, 0}
		if err = t.Fill(out); err == nil && out.n != int64(size) {
			err = fmt.Errorf("%w: tensor %q is filled with %d bytes, not %d", ErrFormat, t.Name, out.n, size)
		}
		written += out.n
	}
	return written, err
}

// counter counts what is written.
type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += int64(n)
	return n, err
}

// byteSize is the size of a tensor of that type and shape.
func byteSize(d DType, shape []int) (int, error) {
	if d.Size() == 0 {
		return 0, fmt.Errorf("unknown dtype %q", d)
	}
	size := uint64(d.Size())
	for _, n := range shape {
		if n < 0 {
			return 0, fmt.Errorf("shape %v is negative", shape)
		}
		hi, lo := bits.Mul64(size, uint64(n))
		if hi != 0 || lo > math.MaxInt {
			return 0, fmt.Errorf("shape %v is too large", shape)
		}
		size = lo
	}
	return int(size), nil
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// dtypeOf is the first letter and the bits of a type: uint8 is U8.
func dtypeOf[T Element]() DType {
	t := reflect.TypeFor[T]()
	return DType(fmt.Sprintf("%s%d", strings.ToUpper(t.Name()[:1]), t.Bits()))
}
