package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	lengthSize  = 8              // of the header length at the start of a file
	metadataKey = "__metadata__" // the header entry that is no tensor
)

// Parse reads a file from its bytes. The tensors are views of data, in the order of their place in it.
func Parse(data []byte) (*File, error) {
	x, err := ReadIndex(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	for i, at := range x.Offsets {
		size, _ := byteSize(x.Tensors[i].DType, x.Tensors[i].Shape) // which has been found right
		x.Tensors[i].Data = data[at:][:size:size]
	}
	return &File{x.Metadata, x.Tensors}, nil
}

// Index is what the header of a file says, without its data.
type Index struct {
	Metadata map[string]string
	Tensors  []Tensor // in the order of their place in the file, without Data
	Offsets  []int64  // where the data of each begin in the file
}

// ReadIndex reads the header of a file of that size and checks it as Parse does. Faults of the content wrap ErrFormat.
func ReadIndex(r io.ReaderAt, size int64) (*Index, error) {
	var length [lengthSize]byte
	if size < lengthSize {
		return nil, fmt.Errorf("%w: only %d bytes, too short for a header length", ErrFormat, size)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil && err != io.EOF {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > MaxHeader {
		return nil, fmt.Errorf("%w: header of %d bytes is over the limit of %d", ErrFormat, n, MaxHeader)
	}
	if n > uint64(size-lengthSize) {
		return nil, fmt.Errorf("%w: header of %d bytes ends after the file's %d (truncated?)", ErrFormat, n, size)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, lengthSize); err != nil && err != io.EOF {
		return nil, err
	}
	x, err := parseHeader(header, int(size)-lengthSize-len(header))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return x, nil
}

// parseHeader finds the tensors in order; their data must fill the body of so many bytes exactly.
func parseHeader(header []byte, body int) (*Index, error) {
	if !utf8.Valid(header) {
		return nil, errors.New("header is not UTF-8")
	}
	x := new(Index)
	var places []place
	err := members(header, func(name string, value []byte) (err error) {
		if name != metadataKey {
			p, err := parseTensor(name, value)
			places = append(places, p)
			return err
		}
		x.Metadata = map[string]string{}
		return members(value, func(key string, value []byte) (err error) {
			x.Metadata[key], err = parseString(value)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.Name, b.Name))
	})
	at := 0
	for _, p := range places {
		switch {
		case p.begin < at:
			return nil, fmt.Errorf("tensor %q begins at byte %d, inside the one that ends at %d", p.Name, p.begin, at)
		case p.begin > at:
			return nil, fmt.Errorf("bytes %d to %d before tensor %q belong to no tensor", at, p.begin, p.Name)
		case p.end > body:
			return nil, fmt.Errorf("tensor %q ends at byte %d of %d (truncated?)", p.Name, p.end, body)
		}
		at = p.end
		x.Tensors, x.Offsets = append(x.Tensors, p.Tensor), append(x.Offsets, int64(lengthSize+len(header)+p.begin))
	}
	if at != body {
		return nil, fmt.Errorf("%d bytes after the last tensor", body-at)
	}
	return x, nil
}

// place is a tensor with its bytes' range in the data.
type place struct {
	Tensor
	begin, end int
}

func parseTensor(name string, raw []byte) (place, error) {
	p := place{Tensor: Tensor{Name: name}}
	var offsets []int
	err := members(raw, func(field string, value []byte) (err error) {
		switch field {
		case "dtype":
			var s string
			s, err = parseString(value)
			p.DType = DType(s)
		case "shape":
			p.Shape, err = parseInts(value)
		case "data_offsets":
			offsets, err = parseInts(value)
		default:
			err = errors.New("unknown field")
		}
		return err
	})
	if err != nil {
		return p, err
	}
	if p.DType == "" || p.Shape == nil || len(offsets) != 2 {
		return p, errors.New("needs dtype, shape and two data_offsets")
	}
	size, err := byteSize(p.DType, p.Shape)
	if err != nil {
		return p, err
	}
	p.begin, p.end = offsets[0], offsets[1]
	if p.end < p.begin || p.end-p.begin != size {
		return p, fmt.Errorf("data_offsets %v do not fit %s%v, which takes %d bytes", offsets, p.DType, p.Shape, size)
	}
	return p, nil
}

// members calls each for those of a JSON object in their order. encoding/json alone would let the last of several equal
// names win.
func members(raw []byte, each func(name string, value []byte) error) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name := t.(string) // the decoder allows nothing else here
		if seen[name] {
			return fmt.Errorf("%q appears twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := each(name, value); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func parseString(raw []byte) (s string, err error) {
	if raw[0] != '"' {
		return "", fmt.Errorf("%s is not a string", raw)
	}
	err = json.Unmarshal(raw, &s)
	return s, err
}

func parseInts(raw []byte) ([]int, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil || values == nil {
		return nil, fmt.Errorf("%s is not an array", raw)
	}
	out := make([]int, len(values))
	for i, v := range values {
		n, err := strconv.ParseUint(string(v), 10, strconv.IntSize-1)
		if err != nil {
			return nil, fmt.Errorf("%s is not a size", v)
		}
		out[i] = int(n)
	}
	return out, nil
}

// formatHeader is everything before the data of tensors, which are placed one after the other: length, JSON, spaces up
// to a multiple of 8 bytes. What could not be read back makes no header.
func formatHeader(metadata map[string]string, tensors []Tensor) ([]byte, error) {
	var entries []string
	texts := slices.AppendSeq(slices.Collect(maps.Keys(metadata)), maps.Values(metadata))
	if len(metadata) > 0 {
		entries = append(entries, jsonOf(metadataKey)+":"+jsonOf(metadata))
	}
	at := 0
	for _, t := range tensors {
		texts = append(texts, t.Name)
		size := len(t.Data)
		if t.Fill != nil {
			var err error
			if size, err = byteSize(t.DType, t.Shape); err != nil {
				return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
			}
		}
		entries = append(entries, jsonOf(t.Name)+":"+jsonOf(struct {
			DType   DType  `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{t.DType, append([]int{}, t.Shape...), [2]int{at, at + size}}))
		at += size
	}
	for _, text := range texts {
		if !utf8.ValidString(text) { // JSON could only carry it changed
			return nil, fmt.Errorf("%q is not UTF-8", text)
		}
	}
	header := []byte("{" + strings.Join(entries, ",") + "}")
	header = append(header, strings.Repeat(" ", -len(header)&7)...)
	if len(header) > MaxHeader {
		return nil, fmt.Errorf("header of %d bytes is over the limit of %d", len(header), MaxHeader)
	}
	_, err := parseHeader(header, at)
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), err
}

// jsonOf is a value of texts and numbers as JSON, with <, > and & as they are.
func jsonOf(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // such a value has a JSON
	return strings.TrimSuffix(b.String(), "\n")
}
