package store

import (
	"context"
	"fmt"
	"io"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/safetensors"
)

// indexSuffix follows the name of a block in that of its index: a small object with the block's ids, so that which
// images there are is known without reading a feature where every read is a request. A bucket of files has none, whose
// blocks are read in part.
const indexSuffix = ".ids"

// together is how many objects are opened at a time: as many as there are processors or, where the wait is for answers,
// more.
func together(b bucket.Bucket) int {
	if bucket.Remote(b) {
		return 32
	}
	return 0
}

// putIndex puts the index of a block beside it.
func (s *Store) putIndex(ctx context.Context, block string, ids []ID) error {
	raw := bytesOf(ids)
	f := safetensors.File{
		Metadata: map[string]string{metaFormat: format, metaKey: s.key.Full(), metaChecksum: checksum(nil, raw)},
		Tensors:  []safetensors.Tensor{safetensors.New(tensorIDs, []int{len(ids), len(ID{})}, raw)},
	}
	return s.bucket.Publish(ctx, block+indexSuffix, func(w io.Writer) error { _, err := f.WriteTo(w); return err })
}

// mendIndex makes the index of a block anew that has lost it, if its content is sound. Where only reading is allowed
// there is none, and the next one reads the block again.
func (s *Store) mendIndex(ctx context.Context, b *block) {
	if !bucket.Remote(s.bucket) {
		return
	}
	if c, err := b.load(ctx, s.bucket, s.key.form(), true); err == nil {
		_ = c.object.Close()
		_ = s.putIndex(ctx, b.name, b.ids)
	}
}

// openIndexed is openBlock by the block's index.
func openIndexed(ctx context.Context, in bucket.Bucket, name string, want form) (*block, error) {
	o, err := in.Open(ctx, name+indexSuffix)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	data := make([]byte, o.Size()) // which outlives o
	if _, err := o.ReadAt(data, 0); err != nil && err != io.EOF {
		return nil, err
	}
	ids, err := indexed(data, want)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return &block{name: name, ids: ids}, nil
}

// indexed are the ids of an index.
func indexed(data []byte, want form) ([]ID, error) {
	f, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	ids, err := f.Tensor(tensorIDs)
	switch {
	case err != nil:
		return nil, err
	case f.Metadata[metaFormat] != format || f.Metadata[metaKey] != want.hash:
		return nil, fmt.Errorf("it is of %s %q", f.Metadata[metaFormat], f.Metadata[metaKey])
	case ids.DType != safetensors.U8 || len(ids.Shape) != 2 || ids.Shape[1] != len(ID{}):
		return nil, fmt.Errorf("its ids are %s %d", ids.DType, ids.Shape)
	case f.Metadata[metaChecksum] != checksum(nil, ids.Data):
		return nil, fmt.Errorf("checksum %s, recorded %s", checksum(nil, ids.Data), f.Metadata[metaChecksum])
	}
	return idsOf(ids.Data), nil
}
