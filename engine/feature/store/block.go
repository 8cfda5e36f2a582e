package store

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"unsafe"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/vec"
)

// Names of a block's object, tensors and metadata; docs/store.md lists them.
const (
	blockSuffix = ".safetensors"

	tensorIDs      = "ids"      // uint8 [n, 32]
	tensorFeatures = "features" // float32 or float16 [n, D]

	metaFormat   = "format"
	metaKey      = "key"
	metaChecksum = "checksum"
	metaLibrary  = "library"
	metaProvider = "provider"
)

// errCorrupt is wrapped by every fault in a block's content.
var errCorrupt = errors.New("corrupt block")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// form is what a key makes of its blocks.
type form struct {
	hash   string
	dim    int
	stored safetensors.DType
}

func (k Key) form() form {
	f := form{k.Full(), k.Dim, safetensors.F32}
	if k.Stored == Half {
		f.stored = safetensors.F16
	}
	return f
}

// block is a published block. Its features are read when the first of them is asked for.
type block struct {
	name     string
	ids      []ID
	sound    bool // it has passed its checksum since the store was opened
	lost     bool // it has not, and is in the store no more
	*content      // nil while it is not mapped
}

// content is a whole block.
type content struct {
	object bucket.Object // holds the memory
	bytes  int64
	rows
}

// rows are the features of a block, [n, D], in one of the two.
type rows struct {
	whole []float32
	half  []uint16
}

// copy writes row i to dst.
func (r rows) copy(dst []float32, i int) {
	if d := len(dst); r.half != nil {
		vec.Widen(dst, r.half[i*d:(i+1)*d])
	} else {
		copy(dst, r.whole[i*d:])
	}
}

// notFinite is the index of the first value that is NaN or infinite, −1 if there is none.
func (r rows) notFinite() int {
	if r.half == nil {
		return vec.NotFinite(r.whole)
	}
	return slices.IndexFunc(r.half, func(h uint16) bool { return h>>10&31 == 31 })
}

// openBlock reads the header of a block and its ids. The error wraps errCorrupt if the content is at fault.
func openBlock(ctx context.Context, in bucket.Bucket, name string, want form) (*block, error) {
	o, err := in.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	x, err := safetensors.ReadIndex(o, o.Size())
	if err != nil && !errors.Is(err, safetensors.ErrFormat) {
		return nil, err
	}
	var at int
	if err == nil {
		_, at, err = layout(x.Metadata, x.Tensors, want)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	raw := make([]byte, x.Tensors[at].Shape[0]*len(ID{}))
	if _, err := o.ReadAt(raw, x.Offsets[at]); err != nil && err != io.EOF {
		return nil, err
	}
	return &block{name: name, ids: idsOf(raw)}, nil
}

// load maps a block as a whole, and may check its bytes.
func (b *block) load(ctx context.Context, in bucket.Bucket, want form, check bool) (*content, error) {
	o, err := in.Open(ctx, b.name)
	if err != nil {
		return nil, err
	}
	data, err := bucket.Content(o)
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	ids, features, err := parse(data, want, check)
	if err == nil && !slices.Equal(ids, b.ids) {
		err = errors.New("it is of other images than when the store was opened")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errCorrupt, err), o.Close())
	}
	return &content{o, int64(len(data)), features}, nil
}

// parse checks the header and, if it is told to, the bytes of a block, of which the results are views.
func parse(data []byte, want form, check bool) (_ []ID, r rows, err error) {
	f, err := safetensors.Parse(data)
	if err != nil {
		return nil, r, err
	}
	at, idsAt, err := layout(f.Metadata, f.Tensors, want)
	if err != nil {
		return nil, r, err
	}
	features, ids := f.Tensors[at], f.Tensors[idsAt].Data
	if check {
		if got, recorded := checksum(features.Data, ids), f.Metadata[metaChecksum]; got != recorded {
			return nil, r, fmt.Errorf("checksum %s, recorded %s", got, recorded)
		}
	}
	if features.DType == safetensors.F16 {
		features.DType = safetensors.U16 // Go has no float16: its bits
		r.half, err = safetensors.Values[uint16](features)
	} else {
		r.whole, err = safetensors.Values[float32](features)
	}
	return idsOf(ids), r, err
}

// layout checks what a block's header says and finds the tensors of features and ids.
func layout(metadata map[string]string, tensors []safetensors.Tensor, want form) (features, ids int, err error) {
	find := func(name string, kind safetensors.DType, width int) int {
		return slices.IndexFunc(tensors, func(t safetensors.Tensor) bool {
			return t.Name == name && t.DType == kind && len(t.Shape) == 2 && t.Shape[1] == width
		})
	}
	features, ids = find(tensorFeatures, want.stored, want.dim), find(tensorIDs, safetensors.U8, len(ID{}))
	switch {
	case metadata[metaFormat] != format:
		err = fmt.Errorf("format %q, not %q", metadata[metaFormat], format)
	case metadata[metaKey] != want.hash:
		err = fmt.Errorf("made for key %q, not %q", metadata[metaKey], want.hash)
	case len(tensors) != 2 || features < 0 || ids < 0 || tensors[features].Shape[0] != tensors[ids].Shape[0]:
		err = fmt.Errorf("tensors are not features [n, %d] and ids [n, %d]", want.dim, len(ID{}))
	}
	return features, ids, err
}

func idsOf(raw []byte) []ID {
	return unsafe.Slice((*ID)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw)/len(ID{}))
}

func bytesOf(ids []ID) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(ids))), len(ids)*len(ID{}))
}

// checksum is the CRC-32C of the data of a block's tensors, in file order.
func checksum(features, ids []byte) string {
	return fmt.Sprintf("crc32c:%08x", crc32.Update(crc32.Checksum(features, castagnoli), castagnoli, ids))
}
