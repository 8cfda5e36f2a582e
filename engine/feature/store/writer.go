package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/vec"
)

// WriterOptions are the settings of a Writer.
type WriterOptions struct {
	// BlockSize is the number of features in a block, and so the most that a killed process loses. Default 512, less
	// where that would be more than 64 MiB.
	BlockSize int
	// Library is recorded in each block for people: the version of the runtime library that computes the features.
	Library string
	// Before is asked before a block is published, if it is not nil. After an error the block is none: its features are
	// dropped.
	Before func() error
}

// Writer adds features to a store. One Writer is for one goroutine; several may add to the same store at once.
type Writer struct {
	store    *Store
	options  WriterOptions
	ids      []ID
	features []float32
	pending  map[ID]struct{}
}

// NotFiniteError says that an image's feature holds NaN or an infinity, which means that the backbone is broken.
type NotFiniteError struct {
	Name  string // the image
	Index int    // of the value in the feature
	Value float32
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("the feature of %s is not finite (value %d is %v)", e.Name, e.Index, e.Value)
}

// Kind says that the model file is at fault.
func (e *NotFiniteError) Kind() string { return string(fault.Data) }

// TooLargeError says that an image's feature holds a value that float16, which the store keeps, cannot hold.
type TooLargeError struct {
	Name  string // the image
	Index int    // of the value in the feature
	Value float32
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("value %d of %s is %v, which float16 cannot hold: the backbone's tokens are too large to be "+
		"kept; adapt fewer blocks or another backbone", e.Index, e.Name, e.Value)
}

// Kind says that the model file is at fault.
func (e *TooLargeError) Kind() string { return string(fault.Data) }

// holds says why the feature of an image, which has a name, cannot be kept.
func (k Key) holds(name string, feature []float32) error {
	if i := vec.NotFinite(feature); i >= 0 {
		return &NotFiniteError{Name: name, Index: i, Value: feature[i]}
	}
	if k.Stored != Half {
		return nil
	}
	for i, v := range feature {
		if _, ok := vec.Half(v); !ok {
			return &TooLargeError{Name: name, Index: i, Value: v}
		}
	}
	return nil
}

// Writer starts adding features. It fails with ErrReadOnly, before anything is encoded, if nothing can be written.
func (s *Store) Writer(ctx context.Context, o WriterOptions) (*Writer, error) {
	if o.BlockSize == 0 {
		o.BlockSize = max(1, min(512, 64<<20/(4*s.key.Dim)))
	}
	if o.BlockSize < 0 {
		return nil, fmt.Errorf("feature store: block size %d is negative", o.BlockSize)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	// Writing what is there anyway is the one sure test on every file system.
	if err := s.publishKey(ctx); err != nil {
		return nil, err
	}
	return &Writer{store: s, options: o, pending: map[ID]struct{}{}}, nil
}

// Append buffers the feature of an image and publishes a block when enough are buffered. An image that the store or the
// buffer has already is passed over. A feature with NaN or infinity is refused with a *NotFiniteError carrying name,
// which serves for nothing else. When publishing fails the feature is buffered all the same, and the next Append or
// Flush tries again.
func (w *Writer) Append(ctx context.Context, id ID, name string, feature []float32) error {
	if d := w.store.key.Dim; len(feature) != d {
		return fmt.Errorf("feature of %s has %d values, the store's have %d", name, len(feature), d)
	}
	if err := w.store.key.holds(name, feature); err != nil {
		return err
	}
	if _, ok := w.pending[id]; ok || w.store.Has(id) {
		return nil
	}
	w.pending[id] = struct{}{}
	w.ids = append(w.ids, id)
	w.features = append(w.features, feature...)
	if len(w.ids) >= w.options.BlockSize {
		return w.Flush(ctx)
	}
	return nil
}

// Flush publishes what is buffered as a block: durable when it returns, and visible to the store's readers.
func (w *Writer) Flush(ctx context.Context) error {
	if len(w.ids) == 0 {
		return nil
	}
	s := w.store
	if w.options.Before != nil {
		if err := w.options.Before(); err != nil {
			w.drop()
			return err
		}
	}
	if err := s.publish(ctx, s.name(newBlockName()), w.ids, w.features, w.options.Library); err != nil {
		return err
	}
	w.drop()
	return nil
}

// PublishBlock publishes features [len(ids), D] as a block of a name, without its folder and suffix, that follows from
// what they are of. That there is one already is no error: who made it did so of the same. The store does not show it
// before it is opened anew.
func (s *Store) PublishBlock(ctx context.Context, name string, ids []ID, features []float32, library string) error {
	for i, id := range ids {
		if err := s.key.holds(fmt.Sprintf("image %x", id), features[i*s.key.Dim:(i+1)*s.key.Dim]); err != nil {
			return err
		}
	}
	block := s.name(name + blockSuffix)
	err := s.put(ctx, block, ids, features, library)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}

// Published lists the blocks in the bucket whose names, as PublishBlock has them, begin with prefix.
func (s *Store) Published(ctx context.Context, prefix string) (names []string, err error) {
	all, err := s.bucket.List(ctx, s.name(prefix))
	for _, name := range all {
		if block, is := strings.CutSuffix(name, blockSuffix); is {
			names = append(names, strings.TrimPrefix(block, s.name("")))
		}
	}
	return names, err
}

// publish makes a block and adds it to the store.
func (s *Store) publish(ctx context.Context, name string, ids []ID, features []float32, library string) error {
	if err := s.put(ctx, name, ids, features, library); err != nil {
		return err
	}
	// Readers are served from what was published, verified like any other.
	b, err := openBlock(ctx, s.bucket, name, s.key.form())
	if err == nil {
		b.content, err = b.load(ctx, s.bucket, s.key.form(), true)
	}
	if err != nil {
		return fmt.Errorf("reading back %d features: %w", len(ids), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(ErrClosed, b.object.Close())
	}
	s.add(b)
	b.sound = true
	return s.mapped.add(b)
}

// put writes a block to the bucket, and its index where it has one.
func (s *Store) put(ctx context.Context, name string, ids []ID, features []float32, library string) error {
	n := len(ids)
	rows := s.tensor(n, features)
	which := safetensors.New(tensorIDs, []int{n, len(ID{})}, bytesOf(ids))
	f := safetensors.File{
		Metadata: map[string]string{
			metaFormat:   format,
			metaKey:      s.key.Full(),
			metaChecksum: checksum(rows.Data, which.Data),
			metaLibrary:  library,
			metaProvider: s.key.Provider,
		},
		Tensors: []safetensors.Tensor{rows, which},
	}
	err := s.bucket.Publish(ctx, name, func(to io.Writer) error { _, err := f.WriteTo(to); return err })
	if err != nil {
		return s.explain(fmt.Errorf("publishing %d features: %w", n, err))
	}
	if bucket.Remote(s.bucket) {
		if err := s.putIndex(ctx, name, ids); err != nil {
			return s.explain(fmt.Errorf("publishing which images %d features are of: %w", n, err))
		}
	}
	return nil
}

// drop empties the buffer.
func (w *Writer) drop() {
	w.ids, w.features = w.ids[:0], w.features[:0]
	clear(w.pending)
}

// tensor is n features as they are kept.
func (s *Store) tensor(n int, features []float32) safetensors.Tensor {
	shape := []int{n, s.key.Dim}
	if s.key.Stored == "" {
		return safetensors.New(tensorFeatures, shape, features)
	}
	halves := make([]uint16, len(features))
	for i, v := range features {
		halves[i], _ = vec.Half(v) // holds has seen to it that they fit
	}
	t := safetensors.New(tensorFeatures, shape, halves)
	t.DType = safetensors.F16
	return t
}

// Close publishes what is buffered. After an error it may be called again.
func (w *Writer) Close(ctx context.Context) error { return w.Flush(ctx) }

// newBlockName sorts by time of publication and is unique among processes.
func newBlockName() string {
	at := time.Now().UTC().Format("20060102T150405.000000000Z")
	return fmt.Sprintf("%s-%08x%s", at, rand.Uint32(), blockSuffix)
}
