package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"unsafe"

	"github.com/edsrzf/mmap-go"

	"github.com/vitft/vitft/engine/safetensors"
)

// Names of a block's files, tensors and metadata; docs/store.md lists them.
const (
	blockSuffix   = ".safetensors"
	corruptSuffix = ".corrupt"

	tensorIDs      = "ids"      // uint8 [n, 32]
	tensorFeatures = "features" // float32 [n, D]

	metaFormat   = "format"
	metaKey      = "key"
	metaChecksum = "checksum"
	metaLibrary  = "library"
	metaProvider = "provider"
)

// errCorrupt is wrapped by every fault in a block's content.
var errCorrupt = errors.New("corrupt block")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// block is a published block, mapped into memory.
type block struct {
	data     mmap.MMap
	ids      []ID
	features []float32 // [len(ids), D]
}

// openBlock maps and verifies a block. The error wraps errCorrupt if the content
// is at fault.
func openBlock(path string, key Key) (_ *block, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping outlives it
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, fmt.Errorf("%w: empty file", errCorrupt) // cannot be mapped
	}
	b := &block{}
	if b.data, err = mmap.Map(f, mmap.RDONLY, 0); err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	if err := b.parse(key); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errCorrupt, err), b.unmap())
	}
	return b, nil
}

func (b *block) parse(key Key) error {
	f, err := safetensors.Parse(b.data)
	if err != nil {
		return err
	}
	if got := f.Metadata[metaFormat]; got != format {
		return fmt.Errorf("format %q, not %q", got, format)
	}
	if got, want := f.Metadata[metaKey], key.fullHash(); got != want {
		return fmt.Errorf("made for key %q, not %q", got, want)
	}
	features, err := f.Tensor(tensorFeatures)
	if err != nil {
		return err
	}
	ids, err := f.Tensor(tensorIDs)
	if err != nil {
		return err
	}
	if len(f.Tensors) != 2 || len(ids.Shape) != 2 || !slices.Equal(features.Shape, []int{ids.Shape[0], key.Dim}) ||
		ids.Shape[1] != len(ID{}) || ids.DType != safetensors.U8 {
		return fmt.Errorf("tensors are not features [n, %d] and ids [n, %d]", key.Dim, len(ID{}))
	}
	if got, want := checksum(features.Data, ids.Data), f.Metadata[metaChecksum]; got != want {
		return fmt.Errorf("checksum %s, recorded %s", got, want)
	}
	if b.features, err = safetensors.Values[float32](features); err != nil {
		return err
	}
	b.ids = unsafe.Slice((*ID)(unsafe.Pointer(unsafe.SliceData(ids.Data))), ids.Shape[0])
	return nil
}

func (b *block) unmap() error {
	b.ids, b.features = nil, nil
	return b.data.Unmap()
}

// checksum is the CRC-32C of the data of a block's tensors, in file order.
func checksum(features, ids []byte) string {
	return fmt.Sprintf("crc32c:%08x", crc32.Update(crc32.Checksum(features, castagnoli), castagnoli, ids))
}
