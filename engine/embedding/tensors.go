package embedding

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unsafe"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/internal/vec"
)

// writeTensors writes tensors features, ids, labels and splits; the texts that the last two are numbers of, and the
// paths, are lists in the metadata.
func writeTensors(path string, t *Table, gather Gather) error {
	labels, classes := t.numbers(t.Classes, label)
	splits, splitNames := t.numbers(nil, split)
	paths, small, ids := make([]string, len(t.Rows)), make([]uint8, len(t.Rows)), []uint8(nil)
	for i, r := range t.Rows {
		paths[i], small[i], ids = text(r.Path), uint8(splits[i]), append(ids, r.ID[:]...)
	}
	f := safetensors.File{Metadata: t.metadata(), Tensors: []safetensors.Tensor{
		{Name: "features", DType: safetensors.F32, Shape: []int{len(t.Rows), t.Dim},
			Fill: func(w io.Writer) error { return t.writeVectors(w, gather) }},
		safetensors.New("ids", []int{len(t.Rows), len(store.ID{})}, ids),
		safetensors.New("labels", []int{len(t.Rows)}, labels),
		safetensors.New("splits", []int{len(t.Rows)}, small),
	}}
	f.Metadata[classesKey], f.Metadata[splitsKey] = toJSON(classes), toJSON(splitNames)
	f.Metadata[pathsKey] = toJSON(paths)
	err := atomicfile.Write(path, func(w io.Writer) error { _, err := f.WriteTo(w); return err })
	if errors.Is(err, safetensors.ErrFormat) { // whose header has the paths
		return fault.Config.Errorf("out: %w; write a .parquet file", err)
	}
	return err
}

func readTensors(path string) (*Table, error) {
	here, err := place.Fetch(path) // which can be mapped
	if err != nil {
		return nil, err
	}
	f, info, err := userfile.Open(here)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	x, err := safetensors.ReadIndex(f, info.Size())
	if err != nil {
		return nil, err
	}
	names := make([]string, len(x.Tensors))
	for i, tensor := range x.Tensors {
		names[i] = tensor.Name
	}
	far := false // what was read last is mapped
	read := func(any []string) (t safetensors.Tensor, is bool, err error) {
		at := among(names, any)
		if at < 0 {
			return t, false, nil
		}
		t = x.Tensors[at]
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		if far = t.DType == safetensors.F32 && mappable(x.Offsets[at], n); far {
			values, err := mapped(f, x.Offsets[at], n)
			t.Data = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
			return t, true, err
		}
		if err := room(n, 1); err != nil {
			return t, true, err
		}
		t.Data = make([]byte, n*t.DType.Size())
		if _, err := f.ReadAt(t.Data, x.Offsets[at]); err != nil && err != io.EOF {
			return t, true, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		return t, true, nil
	}
	features, is, err := read(vectorNames)
	switch {
	case err != nil:
		return nil, err
	case !is:
		return nil, fmt.Errorf("no tensor of vectors (%s); its tensors are %s", strings.Join(vectorNames, ", "),
			strings.Join(names, ", "))
	case len(features.Shape) != 2:
		return nil, fmt.Errorf("tensor %s has the shape %v; vectors are [n, D]", features.Name, features.Shape)
	}
	t := &Table{Dim: features.Shape[1], Rows: make([]Row, features.Shape[0]), mapped: far}
	if t.Vectors, err = floats(features); err != nil {
		return nil, err
	}
	list := func(key string) (all []string, err error) {
		if text, is := x.Metadata[key]; is {
			if err = json.Unmarshal([]byte(text), &all); err != nil {
				err = fmt.Errorf("metadata %s: %w", key, err)
			}
		}
		return all, err
	}
	paths, err1 := list(pathsKey)
	splitNames, err2 := list(splitsKey)
	if err := errors.Join(err1, err2, t.about(func(key string) (string, bool) {
		text, is := x.Metadata[key]
		return text, is
	})); err != nil {
		return nil, err
	}
	if paths != nil && len(paths) != len(t.Rows) {
		return nil, fmt.Errorf("metadata %s has %d paths for %d vectors", pathsKey, len(paths), len(t.Rows))
	}
	for i, p := range paths {
		t.Rows[i].Path = p
	}
	numbers := func(any []string, classes []string, set func(r *Row, text string)) (bool, error) {
		tensor, is, err := read(any)
		if err != nil || !is {
			return is, err
		}
		values, err := wholes(tensor)
		if err == nil && (len(values) != len(t.Rows) || len(tensor.Shape) != 1) {
			err = fmt.Errorf("tensor %s has the shape %v for %d vectors", tensor.Name, tensor.Shape, len(t.Rows))
		}
		for i := 0; i < len(values) && err == nil; i++ {
			text, fault := named(classes, strconv.FormatInt(values[i], 10))
			if set(&t.Rows[i], text); fault != nil {
				err = rowError(i, "%s: %w", tensor.Name, fault)
			}
		}
		return true, err
	}
	is, err = numbers(labelNames, t.Classes, func(r *Row, text string) { r.Label = text })
	if err == nil && !is {
		err = fmt.Errorf("no tensor of labels (%s); its tensors are %s", strings.Join(labelNames, ", "),
			strings.Join(names, ", "))
	}
	if err == nil && splitNames != nil {
		_, err = numbers(splitTensors, splitNames, func(r *Row, text string) { r.Split = text })
	}
	if err != nil {
		return nil, err
	}
	ids, is, err := read(idNames)
	if err == nil && is {
		if len(ids.Data) != len(t.Rows)*len(store.ID{}) {
			return nil, fmt.Errorf("tensor %s has the shape %v for %d vectors", ids.Name, ids.Shape, len(t.Rows))
		}
		for i := range t.Rows {
			t.Rows[i].ID = store.ID(ids.Data[i*len(store.ID{}):])
		}
	}
	return t, err
}

var splitTensors = []string{"splits", "split"}

// floats are the values of a tensor of floating-point numbers.
func floats(t safetensors.Tensor) ([]float32, error) {
	switch t.DType {
	case safetensors.F32:
		return safetensors.Values[float32](t)
	case safetensors.F64:
		wide, err := safetensors.Values[float64](t)
		values := make([]float32, len(wide))
		for i, v := range wide {
			values[i] = float32(v)
		}
		return values, err
	case safetensors.F16:
		t.DType = safetensors.U16
		halves, err := safetensors.Values[uint16](t)
		values := make([]float32, len(halves))
		vec.Widen(values, halves)
		return values, err
	}
	return nil, fmt.Errorf("tensor %s is %s; vectors are F32, F64 or F16", t.Name, t.DType)
}

// wholes are the values of a tensor of whole numbers.
func wholes(t safetensors.Tensor) ([]int64, error) {
	switch t.DType {
	case safetensors.I64:
		return safetensors.Values[int64](t)
	case safetensors.I32:
		return widened[int32](t)
	case safetensors.U8:
		return widened[uint8](t)
	}
	return nil, fmt.Errorf("tensor %s is %s; it must be I64, I32 or U8", t.Name, t.DType)
}

func widened[T int32 | uint8](t safetensors.Tensor) ([]int64, error) {
	narrow, err := safetensors.Values[T](t)
	values := make([]int64, len(narrow))
	for i, v := range narrow {
		values[i] = int64(v)
	}
	return values, err
}
