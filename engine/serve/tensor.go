package serve

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"github.com/vitft/vitft/engine/classify"
)

// tensor is a tensor of the inference protocol. Its data are JSON, or raw: FP32 as little-endian floats, BYTES as
// elements that begin with their length in four bytes.
type tensor struct {
	Name       string          `json:"name"`
	Datatype   string          `json:"datatype"`
	Shape      list[int64]     `json:"shape"`
	Parameters *parameters     `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	raw        []byte
}

// outputTensor fills an output. Only what is to be sent as binary has raw data.
func outputTensor(out output, predictions []classify.Prediction) (t tensor, err error) {
	shape := append([]int64{int64(len(predictions))}, out.Shape[1:]...)
	t = tensor{Name: out.Name, Datatype: out.Datatype, Shape: shape}
	var data any
	var raw []byte
	if out.values == nil {
		labels := make([]string, len(predictions))
		for i, p := range predictions {
			labels[i] = p.Label
			if out.binary {
				raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(p.Label))), p.Label...)
			}
		}
		data = labels
	} else {
		values := make([]float32, 0, len(predictions)*int(out.Shape[1]))
		for _, p := range predictions {
			values = append(values, out.values(p)...)
		}
		data = values
		if out.binary {
			raw, err = binary.Append(nil, binary.LittleEndian, values)
		}
	}
	if out.binary {
		n := len(raw)
		t.Parameters, t.raw = &parameters{BinarySize: &n}, raw
		return t, err
	}
	t.Data, err = json.Marshal(data)
	return t, err
}

// ranks are those of the inputs by name and type.
var ranks = map[[2]string]int{{imageInput, "BYTES"}: 1, {pixelsInput, "FP32"}: 4}

// images checks name, type and rank and says how many images there are. Encoded images may stand in a column.
func (t tensor) images() (int, error) {
	rank, known := ranks[[2]string{t.Name, t.Datatype}]
	if !known {
		return 0, badRequest("input %.100q of type %.100q; send %s (BYTES) or %s (FP32)",
			t.Name, t.Datatype, imageInput, pixelsInput)
	}
	column := rank == 1 && len(t.Shape) == 2 && t.Shape[1] == 1
	if len(t.Shape) != rank && !column || t.Shape[0] < 1 || t.Shape[0] > math.MaxInt32 {
		return 0, badRequest("input %s has the shape %v", t.Name, t.Shape)
	}
	return int(t.Shape[0]), nil
}

// pixels are the values of an FP32 input [n,3,H,W].
func (t tensor) pixels(height, width int64) ([]float32, error) {
	if !slices.Equal(t.Shape[1:], []int64{3, height, width}) {
		return nil, badRequest("input %s has the shape %v, the model takes [n,3,%d,%d]", t.Name, t.Shape, height, width)
	}
	n := int(t.Shape[0] * 3 * height * width)
	if t.raw != nil {
		if len(t.raw) != 4*n {
			return nil, badRequest("input %s has %d bytes, its shape %v needs %d", t.Name, len(t.raw), t.Shape, 4*n)
		}
		values := make([]float32, n)
		_, err := binary.Decode(t.raw, binary.LittleEndian, values)
		return values, err
	}
	values, err := parseFloats(t.Data, n)
	if err != nil {
		return nil, badRequest("input %s: %v", t.Name, err)
	}
	if len(values) != n {
		return nil, badRequest("input %s has %d values, its shape %v needs %d", t.Name, len(values), t.Shape, n)
	}
	return values, nil
}

// encoded are the elements of a BYTES input: files, in JSON as base64.
func (t tensor) encoded() (elements [][]byte, err error) {
	if t.raw != nil {
		elements, err = unpackBytes(t.raw, int(t.Shape[0]))
	} else if n := 1 + bytes.Count(t.Data, []byte(",")); n > int(t.Shape[0]) { // base64 has none
		err = badRequest("%d elements, its shape is %v", n, t.Shape)
	} else if err = json.Unmarshal(flat(t.Data), &elements); err != nil { // a []byte is base64 in JSON
		err = badRequest("data must be a list of base64 strings: %v", err)
	}
	if err != nil {
		return nil, badRequest("input %s: %v", t.Name, err)
	}
	if int64(len(elements)) != t.Shape[0] {
		return nil, badRequest("input %s has %d elements, its shape is %v", t.Name, len(elements), t.Shape)
	}
	return elements, nil
}

// flat makes one list of nested ones of strings, [["a"],["b"]].
func flat(text json.RawMessage) json.RawMessage {
	var nested [][]json.RawMessage
	if json.Unmarshal(text, &nested) == nil {
		if joined, err := json.Marshal(slices.Concat(nested...)); err == nil {
			return joined
		}
	}
	return text
}

// parseFloats reads the numbers of a JSON list, nested or not, in order. It stops at more than most.
func parseFloats(text json.RawMessage, most int) ([]float32, error) {
	values := make([]float32, 0, min(most, len(text)/2+1))
	between := func(r rune) bool { return r == ',' || r <= ' ' || r == '[' || r == ']' }
	for number := range bytes.FieldsFuncSeq(text, between) {
		v, err := strconv.ParseFloat(string(number), 32)
		if err != nil {
			return nil, badRequest("data: %.20s is no 32-bit number", number)
		}
		if values = append(values, float32(v)); len(values) > most {
			break
		}
	}
	return values, nil
}

// unpackBytes shares out raw elements. It stops at more than most.
func unpackBytes(raw []byte, most int) (elements [][]byte, err error) {
	for len(raw) > 0 && len(elements) <= most {
		if len(raw) < 4 || uint64(binary.LittleEndian.Uint32(raw)) > uint64(len(raw)-4) {
			return nil, badRequest("element %d is longer than the data", len(elements))
		}
		n := 4 + int(binary.LittleEndian.Uint32(raw))
		elements, raw = append(elements, raw[4:n:n]), raw[n:]
	}
	return elements, nil
}
