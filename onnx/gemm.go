package onnx

import (
	"context"
	"fmt"
	"sync"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Gemm multiplies float32 matrices on ONNX Runtime, whose product reaches what the processor can do. It may be used by
// many goroutines at once. The same operands in the same shape give the same bits on the same machine with the same
// number of threads; for narrow products another number may give others.
//
// The operands are not copied. Each of the four combinations of transposes is a session of its own, made when it is
// first needed and good for all shapes.
type Gemm struct {
	options  SessionOptions
	sessions [2][2]struct {
		sync.Mutex
		s *Session
	}
}

// NewGemm returns a matrix product that uses so many threads (0 = GOMAXPROCS) on a provider. [Load] must have been
// called.
func NewGemm(threads int, provider Provider) (*Gemm, error) {
	g := &Gemm{options: SessionOptions{Provider: provider, Threads: threads}}
	s, err := g.session(false, false)
	if err != nil {
		return nil, fmt.Errorf("matrix product: %w", err)
	}
	g.options.Provider = s.Provider() // all four on the same one
	return g, nil
}

// Provider returns what the product really runs on.
func (g *Gemm) Provider() string { return string(g.options.Provider) }

// Mul computes C = op(A)·op(B), all in row-major order: op(A) is m×k, and A is k×m if transA; op(B) is k×n, and B is
// n×k if transB; C is m×n and is overwritten. It must not overlap A or B.
func (g *Gemm) Mul(transA, transB bool, m, n, k int, a, b, c []float32) error {
	if m < 0 || n < 0 || k < 0 || len(a) < m*k || len(b) < k*n || len(c) < m*n {
		return fmt.Errorf("matrix product: %d×%d by %d×%d needs %d, %d and %d values, got %d, %d and %d", m, k, k, n, m*k, k*n, m*n, len(a), len(b), len(c))
	}
	if m == 0 || n == 0 {
		return nil
	}
	if k == 0 { // an empty sum
		clear(c[:m*n])
		return nil
	}
	s, err := g.session(transA, transB)
	if err != nil {
		return fmt.Errorf("matrix product: %w", err)
	}
	if err := s.Run(context.Background(),
		[]Tensor{{Shape: dims(m, k, transA), Data: a}, {Shape: dims(k, n, transB), Data: b}},
		[]Tensor{{Shape: dims(m, n, false), Data: c}}); err != nil {
		return fmt.Errorf("matrix product: %w", err)
	}
	return nil
}

// Close frees the sessions, after the products in progress.
func (g *Gemm) Close() error {
	for i := range g.sessions {
		for j := range g.sessions[i] {
			slot := &g.sessions[i][j]
			slot.Lock()
			if slot.s != nil {
				slot.s.Close()
			}
			slot.Unlock()
		}
	}
	return nil
}

func (g *Gemm) session(transA, transB bool) (*Session, error) {
	slot := &g.sessions[index(transA)][index(transB)]
	slot.Lock()
	defer slot.Unlock()
	if slot.s != nil {
		return slot.s, nil
	}
	model, err := gemmModel(transA, transB)
	if err != nil {
		return nil, err
	}
	slot.s, err = NewSession(model, g.options)
	return slot.s, err
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

func dims(rows, cols int, transposed bool) []int64 {
	if transposed {
		rows, cols = cols, rows
	}
	return []int64{int64(rows), int64(cols)}
}

// gemmModel is a model of a single Gemm node with matrices of any size.
func gemmModel(transA, transB bool) ([]byte, error) {
	matrix := func(name, rows, cols string) *onnxpb.ValueInfoProto {
		dim := func(symbol string) *onnxpb.TensorShapeProto_Dimension {
			return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: symbol}}
		}
		return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{
				ElemType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)),
				Shape:    &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{dim(rows), dim(cols)}},
			}}}}
	}
	flag := func(name string, on bool) *onnxpb.AttributeProto {
		return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(int64(index(on)))}
	}
	swap := func(rows, cols string, trans bool) (string, string) {
		if trans {
			return cols, rows
		}
		return rows, cols
	}
	aRows, aCols := swap("m", "k", transA)
	bRows, bCols := swap("k", "n", transB)
	return proto.Marshal(&onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(13)}},
		Graph: &onnxpb.GraphProto{
			Name: proto.String("gemm"),
			Node: []*onnxpb.NodeProto{{
				OpType: proto.String("Gemm"), Input: []string{"a", "b"}, Output: []string{"c"},
				Attribute: []*onnxpb.AttributeProto{flag("transA", transA), flag("transB", transB)},
			}},
			Input:  []*onnxpb.ValueInfoProto{matrix("a", aRows, aCols), matrix("b", bRows, bCols)},
			Output: []*onnxpb.ValueInfoProto{matrix("c", "m", "n")},
		},
	})
}
