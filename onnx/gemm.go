package onnx

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// Gemm multiplies float32 matrices on ONNX Runtime, whose product reaches what the processor can do. It may be used by
// many goroutines at once. The same operands in the same shape give the same bits on the same machine, whatever the
// number of threads.
//
// That holds because every product of ONNX Runtime's is of one thread, and threads share out the rows of C: a row's
// bits depend on that row of op(A) and on op(B) only (TestGemmBits holds ONNX Runtime to it). Threads that other
// products keep busy are not counted on, so that many small products at once run one thread each.
//
// Operands are not copied, except for a transposed A that is shared out. Each of the four combinations of transposes is
// a session of its own, made when it is first needed and good for all shapes.
//
// With the provider CUDA both operands go to the device and the product comes back, each time. Products that this does
// not pay for are computed on the CPU, just as with the provider CPU; [Gemm.OnDevice] decides, by default from the
// shape and the number of threads.
type Gemm struct {
	// OnDevice reports whether the product of an m×k and a k×n matrix is computed on CUDA, when that is the provider.
	// It may be replaced before the first product.
	OnDevice func(m, n, k int) bool

	provider Provider
	threads  int
	busy     atomic.Int32 // threads at work on products now
	mu       sync.Mutex   // of sessions
	sessions map[gemmKey]*Session
}

type gemmKey struct {
	provider       Provider
	transA, transB bool
}

// NewGemm returns a matrix product on a provider that uses so many threads, 0 = GOMAXPROCS. [Load] comes first.
func NewGemm(threads int, provider Provider) (*Gemm, error) {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	g := &Gemm{provider: provider, threads: threads, sessions: map[gemmKey]*Session{}}
	g.OnDevice = g.pays
	s, err := g.session(provider, false, false)
	if err != nil {
		return nil, fmt.Errorf("matrix product: %w", err)
	}
	g.provider = s.Provider() // auto has decided
	return g, nil
}

// Provider returns what the product really runs on.
func (g *Gemm) Provider() string { return string(g.provider) }

// pays reports whether the device is sure to be faster: whether the copies and the call take less than half the time of
// the threads. A thread makes 28·10⁹ multiplications a second (BenchmarkGemm on the machine of docs/performance.md).
// The other two are of an NVIDIA H100 (docs/gpu.md; bench/gpu measures them).
func (g *Gemm) pays(m, n, k int) bool {
	const (
		multiply = 28e9  // a second and thread
		copying  = 10e9  // bytes a second, from and to pageable memory
		call     = 50e-6 // seconds
	)
	onThreads := float64(m) * float64(n) * float64(k) / (multiply * float64(g.threads))
	onDevice := 4*(float64(m)*float64(k)+float64(k)*float64(n)+float64(m)*float64(n))/copying + call
	return onDevice < onThreads/2
}

// Mul computes C = op(A)·op(B), all in row-major order: op(A) is m×k, and A is k×m if transA; op(B) is k×n, and B is
// n×k if transB; C is m×n and is overwritten. It must not overlap A or B.
func (g *Gemm) Mul(transA, transB bool, m, n, k int, a, b, c []float32) error {
	if m < 0 || n < 0 || k < 0 || len(a) < m*k || len(b) < k*n || len(c) < m*n {
		return fmt.Errorf("matrix product: %d×%d by %d×%d needs %d, %d and %d values, got %d, %d and %d",
			m, k, k, n, m*k, k*n, m*n, len(a), len(b), len(c))
	}
	if m == 0 || n == 0 || k == 0 {
		clear(c[:m*n]) // empty sums
		return nil
	}
	provider, threads, parts := CUDA, 1, 1
	if g.provider != CUDA || !g.OnDevice(m, n, k) {
		provider = CPU
		threads, parts = g.share(m, n, k)
	}
	s, err := g.session(provider, transA, transB)
	if err != nil {
		return fmt.Errorf("matrix product: %w", err)
	}
	g.busy.Add(int32(threads))
	defer g.busy.Add(-int32(threads))
	if parts == 1 {
		return mul(s, transA, transB, m, n, k, a, b, c)
	}
	part := func(p int) error {
		from, to := p*m/parts, (p+1)*m/parts
		rows := a[from*k : m*k]
		if transA { // its columns [from, to)
			buffer := columns.Get().(*[]float32)
			defer columns.Put(buffer)
			*buffer = (*buffer)[:0]
			for at := range k {
				*buffer = append(*buffer, a[at*m+from:at*m+to]...)
			}
			rows = *buffer
		}
		return mul(s, transA, transB, to-from, n, k, rows, b, c[from*n:])
	}
	// Parts go to whoever is ready: nobody waits for a goroutine that the machine starts late, and finds nothing left.
	var next atomic.Int32
	var done sync.WaitGroup
	done.Add(parts)
	errs := make([]error, parts)
	work := func() {
		for p := int(next.Add(1)) - 1; p < parts; p = int(next.Add(1)) - 1 {
			errs[p] = part(p)
			done.Done()
		}
	}
	for range threads - 1 {
		go work()
	}
	work()
	done.Wait()
	return errors.Join(errs...)
}

// share is how many threads a product is worth and can have, and in how many parts. ONNX Runtime takes other ways, and
// gives other bits, where a matrix has one row or one column: no part has one row, and no C of one column is shared.
func (g *Gemm) share(m, n, k int) (threads, parts int) {
	const (
		fewestRows = 16
		leastWork  = 1 << 20 // multiplications, 20 to 40 µs; a call costs 5
	)
	idle := g.threads - int(g.busy.Load())
	parts = min(m/fewestRows, m*n*k/leastWork, 2*idle)
	if idle < 2 || parts < 2 || n == 1 {
		return 1, 1
	}
	return min(idle, parts), parts
}

// mul is one product of one thread.
func mul(s *Session, transA, transB bool, m, n, k int, a, b, c []float32) error {
	rows, cols, inner := int64(m), int64(n), int64(k)
	err := s.Run(context.Background(), []Tensor{{dims(rows, inner, transA), a}, {dims(inner, cols, transB), b}},
		[]Tensor{{dims(rows, cols, false), c}})
	if err != nil {
		return fmt.Errorf("matrix product: %w", err)
	}
	return nil
}

// columns are buffers for the parts of a transposed A.
var columns = sync.Pool{New: func() any { return new([]float32) }}

// Close frees the sessions, after the products in progress.
func (g *Gemm) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var err error
	for _, s := range g.sessions {
		err = errors.Join(err, s.Close())
	}
	return err
}

func (g *Gemm) session(p Provider, transA, transB bool) (*Session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.sessions[gemmKey{p, transA, transB}]; s != nil {
		return s, nil
	}
	model, err := gemmModel(transA, transB)
	if err != nil {
		return nil, err
	}
	// Threads share out the work in Mul; see Gemm.
	s, err := newSession(model, SessionOptions{Provider: p, Threads: 1}, func(s *Session) error {
		return mul(s, transA, transB, 1, 1, 1, []float32{1}, []float32{1}, []float32{0})
	})
	if err == nil {
		g.sessions[gemmKey{s.Provider(), transA, transB}] = s
	}
	return s, err
}

// dims are the dimensions of a matrix as it is stored.
func dims[T any](rows, cols T, transposed bool) []T {
	if transposed {
		return []T{cols, rows}
	}
	return []T{rows, cols}
}

// gemmModel is a model of a single Gemm node with matrices of any size.
func gemmModel(transA, transB bool) ([]byte, error) {
	m := graph.New("gemm", 13)
	graph.NewBuilder(m, "").Node("Gemm", []string{"a", "b"}, "c", graph.FlagAttr("transA", transA),
		graph.FlagAttr("transB", transB))
	matrix := func(name string, symbols []string) *onnxpb.ValueInfoProto {
		return graph.Declare(graph.Value{Name: name, Type: "float32", Shape: []int64{-1, -1}}, symbols...)
	}
	g := m.Graph()
	g.Input = []*onnxpb.ValueInfoProto{matrix("a", dims("m", "k", transA)), matrix("b", dims("k", "n", transB))}
	g.Output = []*onnxpb.ValueInfoProto{matrix("c", dims("m", "n", false))}
	return m.Bytes()
}
