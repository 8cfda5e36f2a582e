package serve

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"github.com/vitft/vitft/engine/classify"
)

// tensor is a tensor of the inference protocol. Its values are floats, or elements of bytes; or, on the way, in JSON or
// raw: FP32 as little-endian floats, BYTES as elements that begin with their length in four bytes.
type tensor struct {
	Name       string          `json:"name"`
	Datatype   string          `json:"datatype"`
	Shape      list[int64]     `json:"shape"`
	Parameters *parameters     `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	raw        []byte
	floats     []float32
	elements   [][]byte
	binary     bool // is to be sent raw
}

// tensor is the output of predictions.
func (o output) tensor(predictions []classify.Prediction) tensor {
	n := int64(len(predictions))
	t := tensor{Name: o.Name, Datatype: o.Datatype, binary: o.binary, Shape: []int64{n}}
	if o.values == nil {
		for _, p := range predictions {
			t.elements = append(t.elements, []byte(p.Label))
		}
		return t
	}
	width := o.Shape[1]
	if o.classes == 0 {
		t.Shape, t.floats = append(t.Shape, width), make([]float32, 0, n*width)
		for _, p := range predictions {
			t.floats = append(t.floats, o.values(p)...)
		}
		return t
	}
	listed := min(o.classes, int(width))
	t.Datatype, t.Shape = "BYTES", append(t.Shape, int64(listed))
	for _, p := range predictions {
		t.elements = append(t.elements, o.largest(p, listed)...)
	}
	return t
}

// largest lists the k largest values of an output as Triton does: value:index, and :label if each is a class's. Classes
// stand in the order of their logits, as probabilities that differ in the last bit may tie.
func (o output) largest(p classify.Prediction, k int) (elements [][]byte) {
	values := o.values(p)
	by := values
	if o.scores {
		by = p.Logits
	}
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(by[b], by[a]) })
	for _, i := range order[:k] {
		text := strconv.AppendFloat(nil, float64(values[i]), 'f', 6, 64)
		text = strconv.AppendInt(append(text, ':'), int64(i), 10)
		if o.scores {
			text = append(append(text, ':'), p.LabelOf(i)...)
		}
		elements = append(elements, text)
	}
	return elements
}

// encode makes JSON or raw data of the values.
func (t *tensor) encode() (err error) {
	if t.binary {
		t.raw = t.bytes()
		n := len(t.raw)
		t.Parameters = &parameters{BinarySize: &n}
		return nil
	}
	var data any = t.floats
	if t.floats == nil {
		texts := make([]string, len(t.elements))
		for i, e := range t.elements {
			texts[i] = string(e)
		}
		data = texts
	}
	t.Data, err = json.Marshal(data)
	return err
}

// bytes are the values as raw data.
func (t *tensor) bytes() []byte {
	if t.floats == nil {
		raw := []byte{}
		for _, e := range t.elements {
			raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(e))), e...)
		}
		return raw
	}
	raw := make([]byte, 0, 4*len(t.floats))
	for _, v := range t.floats {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
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
		wanted := map[int]string{1: "[n]", 4: "[n,3,height,width]"}[rank]
		return 0, badRequest("input %s has the shape %v; send %s of n images, at least one", t.Name, t.Shape, wanted)
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
	values, err := t.floats, error(nil)
	if values == nil {
		values, err = parseFloats(t.Data, n)
	}
	if err != nil {
		return nil, badRequest("input %s: %v", t.Name, err)
	}
	if len(values) != n {
		return nil, badRequest("input %s has %d values, its shape %v needs %d", t.Name, len(values), t.Shape, n)
	}
	return values, nil
}

// encoded are the elements of a BYTES input: files, in JSON as text.
func (t tensor) encoded() (images [][]byte, err error) {
	elements := t.elements
	if t.raw != nil {
		elements, err = unpackBytes(t.raw, int(t.Shape[0]))
	} else if t.Data != nil {
		images, err = textElements(t.Data, t.Shape)
	}
	for _, e := range elements {
		if err == nil {
			e, err = unwrap(e)
			images = append(images, e)
		}
	}
	if err != nil {
		return nil, badRequest("input %s: %v", t.Name, err)
	}
	if int64(len(images)) != t.Shape[0] {
		return nil, badRequest("input %s has %d elements, its shape is %v", t.Name, len(images), t.Shape)
	}
	return images, nil
}

// textElements are the images that stand as text in a JSON list, nested or not.
func textElements(data json.RawMessage, shape []int64) (images [][]byte, err error) {
	if n := 1 + commas(data, everywhere); n > int(shape[0]) {
		return nil, badRequest("%d elements, its shape is %v", n, shape)
	}
	var texts []string
	if err := json.Unmarshal(flat(data), &texts); err != nil {
		return nil, badRequest("data must be a list of base64 strings: %v", err)
	}
	images = make([][]byte, len(texts))
	for i, text := range texts {
		if images[i], err = decodeText(text); err != nil {
			return nil, badRequest("data must be a list of base64 strings: %v", err)
		}
	}
	return images, nil
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
