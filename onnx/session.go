package onnx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/vitft/vitft/onnx/graph"
	ort "github.com/yalue/onnxruntime_go"
)

// SessionOptions says how to run a model.
type SessionOptions struct {
	Name            string   // of the model, in the errors of an [ImageModel]'s runs
	Provider        Provider // default [Auto]
	Threads         int      // on the CPU, within one run; 0 = GOMAXPROCS
	ExternalDataDir string   // the folder that the model's external data is in; "" when it has none
	AsWritten       bool     // run the nodes as they are, without the runtime's optimisations: slow, to compare with
	Weights         *Weights // to be held together with other sessions, on the CPU; nil: by each session for itself
}

// Tensor is a float32 array in row-major order.
type Tensor struct {
	Shape []int64
	Data  []float32 // at least as many elements as Shape says
}

// Session is a loaded model with float32 inputs and outputs. It may be used by many goroutines at once.
type Session struct {
	inputs, outputs []graph.Value
	provider        Provider
	note            string
	inCommon        int64
	options         SessionOptions

	mu      sync.RWMutex           // held for reading during a run, for writing to open and to close
	session runner                 // nil when closed, and at rest
	model   func() ([]byte, error) // of a session at rest; nil of others
}

// runner is a session of the library's.
type runner interface {
	run(ctx context.Context, inputs, outputs []Tensor) error
	Destroy() error
}

// ErrClosed means that a session was used after Close.
var ErrClosed = errors.New("session is closed")

// NewSession loads a serialised model. [Load] must have been called.
func NewSession(model []byte, o SessionOptions) (*Session, error) { return newSession(model, o, nil) }

// newSession also runs what shows that CUDA works: much that it lacks (cuDNN, code for the GPU, memory) is first missed
// in a run, and [Auto] must know it before it decides.
func newSession(model []byte, o SessionOptions, try func(*Session) error) (*Session, error) {
	sig, err := graph.ReadSignature(model)
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Concat(sig.Inputs, sig.Outputs) {
		if v.Type != "float32" {
			return nil, fmt.Errorf("%w: %s is %s, a session takes float32 only", graph.ErrModel, v.Name, v.Type)
		}
	}
	s := &Session{inputs: sig.Inputs, outputs: sig.Outputs, options: o}
	p, err := ParseProvider(string(o.Provider))
	if err == nil && p != CPU {
		err = s.open(model, o, CUDA, try)
		if err != nil && p == Auto {
			s.note = "cuda not used: " + err.Error()
			if pe, ok := errors.AsType[*ProviderError](err); ok {
				s.note = "cuda not used: " + pe.Missing
			}
			p = CPU
		}
	}
	if p == CPU {
		err = s.open(model, o, CPU, nil)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Session) open(model []byte, o SessionOptions, p Provider, try func(*Session) error) error {
	if _, ok := Loaded(); !ok {
		return fmt.Errorf("%w: no library is loaded", ErrRuntime)
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrRuntime, err)
	}
	defer options.Destroy()
	if err := configure(options, o); err != nil {
		return err
	}
	in, out := graph.Names(s.inputs), graph.Names(s.outputs)
	s.provider = p
	switch {
	case p == CPU && o.Weights.of(model) && !o.AsWritten:
		s.session, s.inCommon, err = o.Weights.open(model, in, out, o)
	case p == CPU:
		s.session, err = openOwn(model, in, out, options)
	default:
		err = keepSignals(func() (err error) {
			if err := appendCUDA(options); err != nil {
				return err
			}
			s.session, err = openOwn(model, in, out, options)
			if err != nil && strings.Contains(strings.ToLower(err.Error()), "cud") { // CUDA, cuDNN: not the model
				return cudaError(err, nvidia.load())
			}
			if err == nil && try != nil {
				if err = try(s); err != nil {
					return errors.Join(cudaError(err, nvidia.load()), s.Close())
				}
			}
			return err
		})
	}
	if err != nil && !errors.Is(err, ErrRuntime) {
		return fmt.Errorf("%w: ONNX Runtime refuses it: %s", graph.ErrModel, said(err))
	}
	return err
}

func configure(options *ort.SessionOptions, o SessionOptions) error {
	err := options.SetIntraOpNumThreads(o.threads())
	for key, value := range o.entries() {
		err = cmp.Or(err, options.AddSessionConfigEntry(key, value))
	}
	if err == nil && o.AsWritten {
		err = options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll)
	}
	if err != nil {
		return fmt.Errorf("%w: session options %+v: %v", ErrRuntime, o, err)
	}
	return nil
}

// threads says how many run a model. ONNX Runtime's own default pins threads to the machine's cores, whatever share of
// them a container may use.
func (o SessionOptions) threads() int {
	if o.Threads <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return o.Threads
}

// entries are settings of a session of the library's.
func (o SessionOptions) entries() map[string]string {
	// Threads that wait for work by spinning take the cores that decode the next images: with both cores of a machine
	// in use, BenchmarkSession and BenchmarkGemm ran 1.1 to 2 times as fast without.
	entries := map[string]string{"session.intra_op.allow_spinning": "0"}
	if o.ExternalDataDir != "" {
		entries["session.model_external_initializers_file_folder_path"] = o.ExternalDataDir
	}
	return entries
}

// Inputs and Outputs describe the model's inputs and outputs in the order that Run takes them.
func (s *Session) Inputs() []graph.Value  { return s.inputs }
func (s *Session) Outputs() []graph.Value { return s.outputs }

// Provider returns what the session really runs on.
func (s *Session) Provider() Provider { return s.provider }

// Note tells why [Auto] did not take CUDA, "" if it did or was not asked.
func (s *Session) Note() string { return s.note }

// InCommon returns how many bytes of weights the session holds together with others.
func (s *Session) InCommon() int64 { return s.inCommon }

// Run runs the model; the results are written into the outputs' data. When ctx ends it stops after the graph node it is
// at and returns ctx's error; the outputs then hold nothing of use.
func (s *Session) Run(ctx context.Context, inputs, outputs []Tensor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.wake(); err != nil {
		return fmt.Errorf("run model: %w", err)
	}
	defer s.mu.RUnlock()
	if s.provider == CUDA {
		defer repairSignals()
	}
	err := s.session.run(ctx, inputs, outputs)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if fault := cudaFault(err, nil); fault != nil && s.provider == CUDA {
		err = fault
	}
	shapes := func(ts []Tensor) (list [][]int64) {
		for _, t := range ts {
			list = append(list, t.Shape)
		}
		return list
	}
	return fmt.Errorf("run model on %s, inputs %v of shapes %v, outputs %v of shapes %v: %w", s.provider,
		graph.Names(s.inputs), shapes(inputs), graph.Names(s.outputs), shapes(outputs), err)
}

// own is a session that has its weights for itself.
type own struct{ *ort.DynamicAdvancedSession }

func openOwn(model []byte, in, out []string, options *ort.SessionOptions) (runner, error) {
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(model, in, out, options)
	if err != nil {
		return nil, err
	}
	return own{s}, nil
}

func (s own) run(ctx context.Context, inputs, outputs []Tensor) error {
	// ONNX Runtime keeps the addresses of the data between calls, so the collector must leave it in place.
	var pin runtime.Pinner
	defer pin.Unpin()
	values := make([]ort.Value, 0, len(inputs)+len(outputs))
	for _, t := range slices.Concat(inputs, outputs) {
		if len(t.Data) > 0 {
			pin.Pin(&t.Data[0])
		}
		v, err := ort.NewTensor(ort.Shape(t.Shape), t.Data)
		if err != nil {
			return err
		}
		defer v.Destroy()
		values = append(values, v)
	}
	in, out := values[:len(inputs)], values[len(inputs):]
	if ctx.Done() == nil {
		return s.Run(in, out)
	}
	options, err := ort.NewRunOptions()
	if err != nil {
		return err
	}
	defer options.Destroy()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		options.Terminate()
	})
	err = s.RunWithOptions(in, out, options)
	if !stop() {
		<-ended
	}
	return err
}

// wake holds the session open for a run, and opens it again if it is at rest.
func (s *Session) wake() error {
	for {
		s.mu.RLock()
		if s.session != nil {
			return nil
		}
		s.mu.RUnlock()
		if err := s.reopen(); err != nil {
			return err
		}
	}
}

// reopen ends a rest. The error of a closed session is [ErrClosed].
func (s *Session) reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.session != nil: // another run has been quicker
		return nil
	case s.model == nil:
		return ErrClosed
	}
	model, err := s.model()
	if err == nil {
		err = s.open(model, s.options, s.provider, nil)
	}
	if err != nil {
		s.session = nil
		return reloadError{err}
	}
	s.model = nil
	return nil
}

// reloadError is what keeps a session at rest.
type reloadError struct{ error }

func (e reloadError) Error() string { return "loading the model again: " + e.error.Error() }
func (e reloadError) Unwrap() error { return e.error }

// Rest waits for the runs in progress and frees what the session takes, weights and the room of its largest batch,
// until the next run, for which model gives what it was loaded from.
func (s *Session) Rest(model func() ([]byte, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	s.model = model
	return s.free()
}

// Close waits for the runs in progress and frees the session. Later runs fail with [ErrClosed].
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.model = nil
	if s.session == nil {
		return nil
	}
	return s.free()
}

// free frees an open session; the caller holds mu.
func (s *Session) free() error {
	if s.provider == CUDA {
		defer repairSignals()
	}
	err := s.session.Destroy()
	s.session = nil
	trim()
	return err
}
