package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// lengthSize is the size of the header length at the start of a file.
const lengthSize = 8

// metadataKey is the header entry that is no tensor.
const metadataKey = "__metadata__"

// Parse reads a file from its bytes. The tensors are views of data, in the order of their place in it.
func Parse(data []byte) (*File, error) {
	f, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return f, nil
}

func parse(data []byte) (*File, error) {
	n, err := headerLength(data, int64(len(data)))
	if err != nil {
		return nil, err
	}
	start := lengthSize + n
	metadata, places, err := parseHeader(data[lengthSize:start], len(data)-start)
	if err != nil {
		return nil, err
	}
	f := &File{Metadata: metadata}
	for _, p := range places {
		p.Data = data[start+p.begin : start+p.end : start+p.end]
		f.Tensors = append(f.Tensors, p.Tensor)
	}
	return f, nil
}

// Index is what the header of a file says, without its data.
type Index struct {
	Metadata map[string]string
	Tensors  []Tensor // in the order of their place in the file, without Data
	Offsets  []int64  // where the data of each begin in the file
}

// ReadIndex reads the header of a file of that size and checks it as Parse does. Faults of the content wrap ErrFormat.
func ReadIndex(r io.ReaderAt, size int64) (*Index, error) {
	start := make([]byte, min(size, lengthSize))
	if _, err := r.ReadAt(start, 0); err != nil && err != io.EOF {
		return nil, err
	}
	n, err := headerLength(start, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, lengthSize); err != nil && err != io.EOF {
		return nil, err
	}
	metadata, places, err := parseHeader(header, int(size)-lengthSize-n)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	x := &Index{Metadata: metadata}
	for _, p := range places {
		x.Tensors, x.Offsets = append(x.Tensors, p.Tensor), append(x.Offsets, int64(lengthSize+n+p.begin))
	}
	return x, nil
}

// headerLength is that of the header of a file of size bytes, of which start are the first.
func headerLength(start []byte, size int64) (int, error) {
	if len(start) < lengthSize {
		return 0, fmt.Errorf("only %d bytes, too short for a header length", size)
	}
	n := binary.LittleEndian.Uint64(start)
	if n > MaxHeader {
		return 0, fmt.Errorf("header of %d bytes is over the limit of %d", n, MaxHeader)
	}
	if n > uint64(size-lengthSize) {
		return 0, fmt.Errorf("header of %d bytes ends after the file's %d (truncated?)", n, size)
	}
	return int(n), nil
}

// parseHeader gives the metadata and, in order, the tensors whose data fill the body of so many bytes exactly.
func parseHeader(header []byte, body int) (metadata map[string]string, places []place, err error) {
	if !utf8.Valid(header) {
		return nil, nil, fmt.Errorf("header is not UTF-8")
	}
	entries, err := members(header)
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	for _, e := range entries {
		if e.name == metadataKey {
			if metadata, err = parseMetadata(e.value); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", metadataKey, err)
			}
			continue
		}
		p, err := parseTensor(e)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", e.name, err)
		}
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.Name, b.Name))
	})
	at := 0
	for _, p := range places {
		switch {
		case p.begin < at:
			return nil, nil, fmt.Errorf("tensor %q begins at byte %d, inside the tensor that ends at %d", p.Name,
				p.begin, at)
		case p.begin > at:
			return nil, nil, fmt.Errorf("bytes %d to %d before tensor %q belong to no tensor", at, p.begin, p.Name)
		case p.end > body:
			return nil, nil, fmt.Errorf("tensor %q ends at byte %d of %d (truncated?)", p.Name, p.end, body)
		}
		at = p.end
	}
	if at != body {
		return nil, nil, fmt.Errorf("%d bytes after the last tensor", body-at)
	}
	return metadata, places, nil
}

// place is a tensor with its bytes' range in the data.
type place struct {
	Tensor
	begin, end int
}

func parseTensor(e member) (place, error) {
	p := place{Tensor: Tensor{Name: e.name, Shape: []int{}}}
	fields, err := members(e.value)
	if err != nil {
		return p, err
	}
	var offsets []int
	seen := 0
	for _, f := range fields {
		switch f.name {
		case "dtype":
			var s string
			s, err = parseString(f.value)
			p.DType = DType(s)
		case "shape":
			p.Shape, err = parseInts(f.value)
		case "data_offsets":
			offsets, err = parseInts(f.value)
		default:
			return p, fmt.Errorf("unknown field %q", f.name)
		}
		if err != nil {
			return p, fmt.Errorf("%s: %w", f.name, err)
		}
		seen++
	}
	if seen != 3 || len(offsets) != 2 {
		return p, fmt.Errorf("needs dtype, shape and two data_offsets")
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

func parseMetadata(raw []byte) (map[string]string, error) {
	fields, err := members(raw)
	if err != nil {
		return nil, err
	}
	m := make(map[string]string, len(fields))
	for _, f := range fields {
		if m[f.name], err = parseString(f.value); err != nil {
			return nil, fmt.Errorf("%q: %w", f.name, err)
		}
	}
	return m, nil
}

// member is one name and value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// members are those of a JSON object in their order. encoding/json alone would let the last of several equal names win.
func members(raw []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object")
	}
	var out []member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: t.(string)} // the decoder allows nothing else here
		if seen[m.name] {
			return nil, fmt.Errorf("%q appears twice", m.name)
		}
		seen[m.name] = true
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the JSON object")
	}
	return out, nil
}

func parseString(raw []byte) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", fmt.Errorf("%s is not a string", raw)
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

func parseInts(raw []byte) ([]int, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var values []any
	if err := d.Decode(&values); err != nil || values == nil {
		return nil, fmt.Errorf("%s is not an array", raw)
	}
	out := make([]int, len(values))
	for i, v := range values {
		number, ok := v.(json.Number)
		n, err := strconv.ParseUint(string(number), 10, 64)
		if !ok || err != nil || n > math.MaxInt {
			return nil, fmt.Errorf("%v is not a size", v)
		}
		out[i] = int(n)
	}
	return out, nil
}

// formatHeader is everything before the data of tensors, which are placed one after the other: length, JSON, spaces up
// to a multiple of 8 bytes.
func formatHeader(metadata map[string]string, tensors []Tensor) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, lengthSize))
	b.WriteByte('{')
	entry := func(name string, value string) {
		if b.Len() > lengthSize+1 {
			b.WriteByte(',')
		}
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(value)
	}

	if len(metadata) > 0 {
		fields, err := formatMetadata(metadata)
		if err != nil {
			return nil, fmt.Errorf("%w: metadata: %w", ErrFormat, err)
		}
		entry(`"`+metadataKey+`"`, fields)
	}
	seen := map[string]bool{metadataKey: true}
	at := 0
	for _, t := range tensors {
		name, err := formatString(t.Name)
		if err != nil {
			return nil, fmt.Errorf("%w: tensor name: %w", ErrFormat, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("%w: tensor name %q is reserved or appears twice", ErrFormat, t.Name)
		}
		seen[t.Name] = true
		size, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return nil, fmt.Errorf("%w: tensor %q: %w", ErrFormat, t.Name, err)
		}
		if size != len(t.Data) {
			return nil, fmt.Errorf("%w: tensor %q: %d bytes of data for %s%v, which takes %d",
				ErrFormat, t.Name, len(t.Data), t.DType, t.Shape, size)
		}
		if at > math.MaxInt-size {
			return nil, fmt.Errorf("%w: tensor %q: the data is too large", ErrFormat, t.Name)
		}
		entry(name, fmt.Sprintf(`{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, t.DType, formatInts(t.Shape), at, at+size))
		at += size
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-lengthSize > MaxHeader {
		return nil, fmt.Errorf("%w: header of %d bytes is over the limit of %d", ErrFormat, b.Len()-lengthSize,
			MaxHeader)
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-lengthSize))
	return b.Bytes(), nil
}

func formatMetadata(m map[string]string) (string, error) {
	out := []byte{'{'}
	for i, k := range slices.Sorted(maps.Keys(m)) {
		name, err := formatString(k)
		if err != nil {
			return "", err
		}
		value, err := formatString(m[k])
		if err != nil {
			return "", fmt.Errorf("%q: %w", k, err)
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return string(append(out, '}')), nil
}

// formatString refuses what JSON could only carry changed.
func formatString(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is not UTF-8", s)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

func formatInts(v []int) string {
	out := []byte{'['}
	for i, n := range v {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendInt(out, int64(n), 10)
	}
	return string(append(out, ']'))
}
