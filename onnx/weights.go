package onnx

/*
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

// The library's functions by their places in OrtApi of onnxruntime_c_api.h, which later versions only add to: the Go
// package for ONNX Runtime has not those that give sessions weights and memory in common.
static void *const *vitft_ort;

static int vitft_find_ort(void *handle, uint32_t version) {
	typedef struct { const void *(*GetApi)(uint32_t); } base;
	const base *(*get)(void) = (const base *(*)(void))dlsym(handle, "OrtGetApiBase");
	if (get) vitft_ort = (void *const *)get()->GetApi(version);
	return vitft_ort != NULL;
}

// A status is NULL, or an error with a message.
#define FUNCTION(place, ...) ((void *(*)(__VA_ARGS__))vitft_ort[place])
static const char *vitft_message(void *status) { return FUNCTION(2, void *)(status); }
static void *vitft_env(void **env) { return FUNCTION(3, int, const char *, void **)(4, "vitft", env); }
static void *vitft_run(void *session, void *options, char **in, void **ins, size_t n, char **out, size_t m,
		void **outs) {
	return FUNCTION(9, void *, void *, char **, void **, size_t, char **, size_t, void **)(
		session, options, in, ins, n, out, m, outs);
}
static void *vitft_session_options(void **options) { return FUNCTION(10, void **)(options); }
static void *vitft_no_plan(void *options) { return FUNCTION(17, void *)(options); }
static void *vitft_threads(void *options, int n) { return FUNCTION(24, void *, int)(options, n); }
static void *vitft_run_options(void **options) { return FUNCTION(39, void **)(options); }
static void *vitft_terminate(void *options) { return FUNCTION(46, void *)(options); }
static void *vitft_tensor(void *memory, void *data, size_t bytes, int64_t *dims, size_t rank, void **tensor) {
	return FUNCTION(49, void *, void *, size_t, int64_t *, size_t, int, void **)(
		memory, data, bytes, dims, rank, 1, tensor); // 1: float32
}
static void *vitft_memory(void **memory) { return FUNCTION(69, int, int, void **)(1, 0, memory); }
static void *vitft_entry(void *options, char *key, char *value) {
	return FUNCTION(130, void *, char *, char *)(options, key, value);
}
static void *vitft_arena(void *env, void *memory) { return FUNCTION(144, void *, void *, void *)(env, memory, NULL); }
static void *vitft_weight(void *options, char *name, void *tensor) {
	return FUNCTION(150, void *, char *, void *)(options, name, tensor);
}
static void *vitft_packed(void **packed) { return FUNCTION(166, void **)(packed); }
static void *vitft_session(void *env, void *model, size_t bytes, void *options, void *packed, void **session) {
	return FUNCTION(169, void *, void *, size_t, void *, void *, void **)(env, model, bytes, options, packed, session);
}

enum { STATUS = 93, SESSION = 95, TENSOR = 96, RUN_OPTIONS = 97, SESSION_OPTIONS = 100, PACKED = 167 };
static void vitft_release(int place, void *what) { ((void (*)(void *))vitft_ort[place])(what); }
*/
import "C"

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/vitft/vitft/onnx/graph"
)

// Weights are matrices that several models have, such as those of one backbone with several heads and adapters:
// sessions that are opened with them hold them once, as they are and packed for products. They run in turn, as one
// model's batches do, and so take the memory of one for what they compute, too. A session gives the same bits as
// without. Weights may be used by many goroutines.
type Weights struct {
	several map[weightID]bool // those of more than one model
	turn    chan struct{}     // held by the session that runs

	mu       sync.Mutex // held to open and to close sessions
	sessions int
	held     map[weightID]weight
	packed   unsafe.Pointer // the library's; nil without sessions
}

type weightID [sha256.Size]byte

// weight is a tensor of the library's, and the memory of its values.
type weight struct {
	tensor, data unsafe.Pointer
	bytes        int64
}

// leastWeight is how many bytes a weight must have to be worth sharing. Shapes and the like are smaller, which the
// library wants to know before it asks for weights.
const leastWeight = 1024

// InCommon finds what serialised models have in common; nil if that is nothing.
func InCommon(models iter.Seq[[]byte]) *Weights {
	w := &Weights{several: map[weightID]bool{}, turn: make(chan struct{}, 1)}
	seen := map[weightID]bool{}
	for model := range models {
		own := map[weightID]bool{}
		for _, s := range shareable(model) {
			own[identify(s)] = true
		}
		for id := range own {
			if seen[id] {
				w.several[id] = true
			}
			seen[id] = true
		}
	}
	if len(w.several) == 0 {
		return nil
	}
	return w
}

// of reports whether a model has any of the weights.
func (w *Weights) of(model []byte) bool {
	return w != nil && slices.ContainsFunc(shareable(model),
		func(s graph.Stored) bool { return w.several[identify(s)] })
}

// shareable lists the weights of a model that sessions can hold together. The library moves transpositions over sums
// and the like, and turns what is added round under its old name: what is shared would stand there as it was. Matrices
// of products, nearly all that a transformer has, it leaves alone, or puts others in their place by other names. What
// is wrong with a model is said when it is opened.
func shareable(model []byte) []graph.Stored {
	all, _ := graph.StoredWeights(model)
	return slices.DeleteFunc(all, func(s graph.Stored) bool {
		return !s.Matrix || s.Type != "float32" || len(s.Raw) < leastWeight ||
			int64(len(s.Raw)) != 4*graph.Elements(s.Dims)
	})
}

func identify(s graph.Stored) weightID {
	h := sha256.New()
	fmt.Fprintln(h, s.Dims)
	h.Write(s.Raw)
	return weightID(h.Sum(nil))
}

// library is what all sessions with common weights use of the library: one environment, in which they have their
// memory.
var library struct {
	sync.Once
	env, memory unsafe.Pointer
	err         error
}

func prepare() error {
	library.Do(func() {
		loaded, _ := Loaded()
		handle, err := dlopen(loaded.Path, C.RTLD_LAZY|C.RTLD_LOCAL)
		if err == nil && C.vitft_find_ort(handle, MinAPI) == 0 {
			err = fmt.Errorf("%s does not offer API %d", loaded.Path, MinAPI)
		}
		if err == nil {
			err = first(
				func() unsafe.Pointer { return C.vitft_env(&library.env) },
				func() unsafe.Pointer { return C.vitft_memory(&library.memory) },
				func() unsafe.Pointer { return C.vitft_arena(library.env, library.memory) })
		}
		if err != nil {
			library.err = fmt.Errorf("%w: %v", ErrRuntime, err)
		}
	})
	return library.err
}

// first calls functions of the library until one says an error.
func first(calls ...func() unsafe.Pointer) error {
	for _, call := range calls {
		if status := call(); status != nil {
			defer C.vitft_release(C.STATUS, status)
			return errors.New(C.GoString(C.vitft_message(status)))
		}
	}
	return nil
}

// sharing is a session that holds weights together with others.
type sharing struct {
	weights *Weights
	session unsafe.Pointer
	in, out []*C.char // names
}

// open opens a session of a model.
func (w *Weights) open(model []byte, in, out []string, o SessionOptions) (_ runner, bytes int64, err error) {
	if err := prepare(); err != nil {
		return nil, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &sharing{weights: w, in: cStrings(in), out: cStrings(out)}
	w.sessions++
	defer func() {
		if err != nil {
			s.free()
		}
	}()
	var options unsafe.Pointer
	if err := first(func() unsafe.Pointer { return C.vitft_session_options(&options) }); err != nil {
		return nil, 0, err
	}
	defer C.vitft_release(C.SESSION_OPTIONS, options)
	// A plan of the memory that each size of batch takes would be one for each session, with blocks that the others
	// cannot use: a server of eight ViT-Tinies took 259 MB with such plans and 233 MB without.
	calls := []func() unsafe.Pointer{
		func() unsafe.Pointer { return C.vitft_threads(options, C.int(o.threads())) },
		func() unsafe.Pointer { return C.vitft_no_plan(options) },
	}
	if w.packed == nil {
		calls = append(calls, func() unsafe.Pointer { return C.vitft_packed(&w.packed) })
	}
	entries := o.entries()
	entries["session.use_env_allocators"] = "1" // what they compute is in the environment's memory
	for key, value := range entries {
		calls = append(calls, func() unsafe.Pointer {
			pair := cStrings([]string{key, value})
			defer freeStrings(pair)
			return C.vitft_entry(options, pair[0], pair[1])
		})
	}
	for _, x := range shareable(model) {
		id := identify(x)
		if !w.several[id] {
			continue
		}
		bytes += int64(len(x.Raw))
		calls = append(calls, func() unsafe.Pointer {
			if status := w.hold(id, x); status != nil {
				return status
			}
			name := cStrings([]string{x.Name})
			defer freeStrings(name)
			return C.vitft_weight(options, name[0], w.held[id].tensor)
		})
	}
	calls = append(calls, func() unsafe.Pointer {
		data := unsafe.Pointer(unsafe.SliceData(model))
		return C.vitft_session(library.env, data, C.size_t(len(model)), options, w.packed, &s.session)
	})
	err = first(calls...)
	trim() // of the model as the library has read it
	return s, bytes, err
}

// hold sees to it that a weight is held.
func (w *Weights) hold(id weightID, s graph.Stored) (status unsafe.Pointer) {
	if _, is := w.held[id]; is {
		return nil
	}
	x := weight{data: C.CBytes(s.Raw), bytes: int64(len(s.Raw))}
	dims := (*C.int64_t)(unsafe.SliceData(s.Dims))
	status = C.vitft_tensor(library.memory, x.data, C.size_t(x.bytes), dims, C.size_t(len(s.Dims)), &x.tensor)
	if status != nil {
		C.free(x.data)
		return status
	}
	if w.held == nil {
		w.held = map[weightID]weight{}
	}
	w.held[id] = x
	return nil
}

func (s *sharing) run(ctx context.Context, inputs, outputs []Tensor) error {
	select {
	case s.weights.turn <- struct{}{}:
		defer func() { <-s.weights.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	tensors := make([]unsafe.Pointer, len(inputs)+len(outputs))
	for i, t := range slices.Concat(inputs, outputs) {
		n := graph.Elements(t.Shape)
		if int64(len(t.Data)) < n {
			return fmt.Errorf("%d values for the shape %v", len(t.Data), t.Shape)
		}
		data, dims := unsafe.Pointer(unsafe.SliceData(t.Data)), (*C.int64_t)(unsafe.SliceData(t.Shape))
		if data != nil {
			pin.Pin(data)
		}
		err := first(func() unsafe.Pointer {
			return C.vitft_tensor(library.memory, data, C.size_t(4*n), dims, C.size_t(len(t.Shape)), &tensors[i])
		})
		if err != nil {
			return err
		}
		defer C.vitft_release(C.TENSOR, tensors[i])
	}
	var options unsafe.Pointer
	if ctx.Done() != nil {
		if err := first(func() unsafe.Pointer { return C.vitft_run_options(&options) }); err != nil {
			return err
		}
		defer C.vitft_release(C.RUN_OPTIONS, options)
		ended := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(ended)
			C.vitft_terminate(options)
		})
		defer func() {
			if !stop() {
				<-ended
			}
		}()
	}
	n, m := len(inputs), len(outputs)
	return first(func() unsafe.Pointer {
		return C.vitft_run(s.session, options, unsafe.SliceData(s.in), unsafe.SliceData(tensors[:n]), C.size_t(n),
			unsafe.SliceData(s.out), C.size_t(m), unsafe.SliceData(tensors[n:]))
	})
}

// Destroy frees the session, and the weights with the last of those that hold them.
func (s *sharing) Destroy() error {
	s.weights.mu.Lock()
	defer s.weights.mu.Unlock()
	s.free()
	return nil
}

func (s *sharing) free() {
	w := s.weights
	if s.session != nil {
		C.vitft_release(C.SESSION, s.session)
	}
	freeStrings(s.in)
	freeStrings(s.out)
	if w.sessions--; w.sessions > 0 {
		return
	}
	for _, x := range w.held {
		C.vitft_release(C.TENSOR, x.tensor)
		C.free(x.data)
	}
	if w.packed != nil {
		C.vitft_release(C.PACKED, w.packed)
	}
	w.held, w.packed = nil, nil
}

func cStrings(list []string) []*C.char {
	out := make([]*C.char, len(list))
	for i, s := range list {
		out[i] = C.CString(s)
	}
	return out
}

func freeStrings(list []*C.char) {
	for _, s := range list {
		C.free(unsafe.Pointer(s))
	}
}
