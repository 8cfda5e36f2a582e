package embedding

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vitft/vitft/internal/machine"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/internal/vec"
)

// The format of arrays: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
const magic = "\x93NUMPY"

// array is an array of a .npy file before its values.
type array struct {
	kind    byte // 'f' floating-point, 'i', 'u' or 'b' whole, 'U' UTF-32, 'S' bytes
	size    int  // of a value, in bytes
	order   binary.ByteOrder
	fortran bool
	shape   []int
}

// arrayHeader is what comes before the values of an array, padded as numpy pads it.
func arrayHeader(descr string, shape ...int) []byte {
	dims := strings.TrimSuffix(strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ", "), ",")
	if len(shape) == 1 {
		dims += ","
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims)
	const before = len(magic) + 4 // version and length
	text += strings.Repeat(" ", 63-(before+len(text))%64) + "\n"
	return append(binary.LittleEndian.AppendUint16([]byte(magic+"\x01\x00"), uint16(len(text))), text...)
}

var (
	descrPattern   = regexp.MustCompile(`'descr':\s*'([<>|=]?)([a-zA-Z])(\d*)'`)
	fortranPattern = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	shapePattern   = regexp.MustCompile(`'shape':\s*\(([\d,\s]*)\)`)
)

// readArray reads the header of an array and leaves its values.
func readArray(r io.Reader) (a array, err error) {
	begin := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(r, begin); err != nil || string(begin[:len(magic)]) != magic {
		return a, errors.New("it is no array of numpy's")
	}
	length := int(binary.LittleEndian.Uint16(begin[8:]))
	if begin[6] > 1 { // versions 2 and 3 have a longer length
		rest := make([]byte, 2)
		if _, err := io.ReadFull(r, rest); err != nil {
			return a, err
		}
		length |= int(binary.LittleEndian.Uint16(rest)) << 16
	}
	if length > userfile.Small {
		return a, fmt.Errorf("its header has %d bytes", length)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(r, header); err != nil {
		return a, err
	}
	descr, fortran, shape := descrPattern.FindSubmatch(header), fortranPattern.FindSubmatch(header),
		shapePattern.FindSubmatch(header)
	if descr != nil && descr[2][0] == 'O' {
		return a, errors.New("it is of Python objects, which only pickle reads; save it as numbers or as text, " +
			"np.array(x, dtype=str)")
	}
	if descr == nil || fortran == nil || shape == nil {
		return a, fmt.Errorf("its header says %.200q; save a plain array of numbers or text", header)
	}
	a.kind, a.order, a.fortran = descr[2][0], binary.LittleEndian, string(fortran[1]) == "True"
	if string(descr[1]) == ">" {
		a.order = binary.BigEndian
	}
	a.size, _ = strconv.Atoi(string(descr[3])) // of none it is 0
	if a.kind == 'U' {
		a.size *= 4
	}
	for text := range strings.SplitSeq(string(shape[1]), ",") {
		if text = strings.TrimSpace(text); text != "" {
			n, err := strconv.ParseInt(text, 10, 40)
			if err != nil {
				return a, fmt.Errorf("its shape is (%s)", shape[1])
			}
			a.shape = append(a.shape, int(n))
		}
	}
	return a, nil
}

// elements is how many values there are, refused if there cannot be so many or they take more memory than there is:
// each bytes a value.
func (a array) elements(most int64, each int) (int, error) {
	n := 1.0
	for _, d := range a.shape {
		n *= float64(d)
	}
	if bytes := n * float64(a.size); bytes > float64(most) {
		return 0, fmt.Errorf("its header promises %.0f bytes, it has %d at most", bytes, most)
	}
	return int(n), machine.Check(n*float64(each), "an array of %.0f values", n)
}

// read reads n values and calls each with some of them at a time.
func (a array) read(r io.Reader, n int, each func(values []byte)) error {
	left := n * a.size
	buffer := make([]byte, min(left, 1<<20/a.size*a.size+a.size))
	for left > 0 {
		part := buffer[:min(left, len(buffer))]
		if _, err := io.ReadFull(r, part); err != nil {
			return fmt.Errorf("cut short: %w", err)
		}
		each(part)
		left -= len(part)
	}
	return nil
}

// vectors reads an array [n, D] of floating-point numbers.
func (a array) vectors(r io.Reader, most int64) ([]float32, error) {
	if len(a.shape) != 2 || a.kind != 'f' {
		return nil, fmt.Errorf("it is %v of type %c%d; vectors are an array [n, D] of floating-point numbers", a.shape,
			a.kind, a.size)
	}
	var float func(b []byte) float32
	switch a.size {
	case 4:
		float = func(b []byte) float32 { return math.Float32frombits(a.order.Uint32(b)) }
	case 8:
		float = func(b []byte) float32 { return float32(math.Float64frombits(a.order.Uint64(b))) }
	case 2:
		float = func(b []byte) float32 {
			var one [1]float32
			vec.Widen(one[:], []uint16{a.order.Uint16(b)})
			return one[0]
		}
	default:
		return nil, fmt.Errorf("it is of type f%d; save it as float32", a.size)
	}
	n, err := a.elements(most, 8) // they are there once more in the order of learning
	if err != nil {
		return nil, err
	}
	values := make([]float32, 0, n)
	err = a.read(r, n, func(part []byte) {
		for b := range slices.Chunk(part, a.size) {
			values = append(values, float(b))
		}
	})
	if err != nil || !a.fortran {
		return values, err
	}
	rows, dim := a.shape[0], a.shape[1]
	turned := make([]float32, len(values))
	for k := range dim {
		for i := range rows {
			turned[i*dim+k] = values[k*rows+i]
		}
	}
	return turned, nil
}

// vectorsOf takes the vectors of a file that has been read up to them, mapped where they do not fit into memory.
func (t *Table) vectorsOf(a array, f *os.File, most int64) error {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	plain := len(a.shape) == 2 && a.kind == 'f' && a.size == 4 && a.order == binary.LittleEndian && !a.fortran
	if n := float64(most-at) / 4; plain && float64(a.shape[0])*float64(a.shape[1]) == n && mappable(at, int(n)) {
		t.mapped = true
		if t.Vectors, err = mapped(f, at, int(n)); err == nil {
			_, err = f.Seek(0, io.SeekEnd)
		}
		return err
	}
	t.Vectors, err = a.vectors(f, most)
	return err
}

// texts reads an array [n] of texts or whole numbers as text.
func (a array) texts(r io.Reader, most int64) (texts []string, err error) {
	text := func(b []byte) string { return strings.TrimRight(string(b), "\x00") }
	switch {
	case len(a.shape) != 1:
		return nil, fmt.Errorf("it has the shape %v; it must be [n]", a.shape)
	case a.kind == 'U':
		text = func(b []byte) string {
			var s []byte
			for c := range slices.Chunk(b, 4) {
				s = utf8.AppendRune(s, rune(a.order.Uint32(c)))
			}
			return strings.TrimRight(string(s), "\x00")
		}
	case a.kind == 'S':
	case strings.ContainsRune("iub", rune(a.kind)) && slices.Contains([]int{1, 2, 4, 8}, a.size):
		text = func(b []byte) string { return strconv.FormatInt(a.whole(b), 10) }
	default:
		return nil, fmt.Errorf("it is of type %c%d; save it as whole numbers or text", a.kind, a.size)
	}
	n, err := a.elements(most, a.size+32)
	if err != nil || a.size == 0 { // of texts that are all empty
		return make([]string, n), err
	}
	err = a.read(r, n, func(part []byte) {
		for b := range slices.Chunk(part, a.size) {
			texts = append(texts, text(b))
		}
	})
	return texts, err
}

// whole is a whole number.
func (a array) whole(b []byte) int64 {
	var v uint64
	for i := range b {
		if a.order == binary.BigEndian {
			v = v<<8 | uint64(b[i])
		} else {
			v |= uint64(b[i]) << (8 * i)
		}
	}
	if shift := 64 - 8*len(b); a.kind == 'i' {
		return int64(v<<shift) >> shift
	}
	return int64(v)
}
