package graph

import (
	"fmt"
	"slices"
)

// PlainWeights makes weights like others of what else holds the floating-point constants of the main graph: Constant
// nodes, which some exporters and simplifiers keep weights in, and sparse initialisers. The error, which wraps
// [ErrModel], names a weight that is said to have more values than it has.
func (m *Model) PlainWeights() error {
	g := m.proto.Graph
	for _, s := range g.SparseInitializer {
		t, err := dense(s.GetValues(), s.GetIndices(), s.Dims)
		if err != nil {
			return fmt.Errorf("%w: sparse weight %q: %v", ErrModel, s.GetValues().GetName(), err)
		}
		g.Initializer = append(g.Initializer, t)
	}
	g.SparseInitializer = nil
	g.Node = slices.DeleteFunc(slices.Clone(g.Node), func(n *Node) bool {
		if n.GetOpType() != "Constant" || !CoreDomain(n.GetDomain()) || len(n.Output) != 1 {
			return false
		}
		value := Attr(n, "value").GetT()
		if list := Attr(n, "value_floats").GetFloats(); list != nil {
			value = FloatTensor([]int64{int64(len(list))}, list)
		}
		if value == nil || !IsFloat(TypeOf(value)) {
			return false
		}
		// Not the tensor itself, which others may hold: its name is the node's output now.
		g.Initializer = append(g.Initializer, &Tensor{Name: &n.Output[0], Dims: value.Dims, DataType: value.DataType,
			RawData: value.RawData, FloatData: value.FloatData, DoubleData: value.DoubleData,
			Int32Data: value.Int32Data, DataLocation: value.DataLocation, ExternalData: value.ExternalData})
		return true
	})
	for _, t := range g.Initializer {
		if n := Elements(t.Dims); n < 0 || n > held(t) && len(t.ExternalData) == 0 {
			return fmt.Errorf("%w: the weight %q is damaged: its shape is %v, and it has not as many values", ErrModel,
				t.GetName(), t.Dims)
		}
	}
	return nil
}

// held is at most how many values a weight has, of whatever type.
func held(t *Tensor) int64 {
	const packed = 16 // of 4 bits and less
	return packed * int64(len(t.RawData)+len(t.FloatData)+len(t.DoubleData)+len(t.Int32Data)+len(t.Int64Data)+
		len(t.Uint64Data)+len(t.StringData))
}

// dense writes out a sparse float32 weight: values, and where they are, as numbers of elements or as a row of
// coordinates each.
func dense(values, indices *Tensor, dims []int64) (*Tensor, error) {
	n := Elements(dims)
	if n < 0 || n > maxFile/4 {
		return nil, fmt.Errorf("it is of %v values, too many to be written out", dims)
	}
	v, is := Floats(values)
	at, whole := Ints(indices)
	if !is || !whole || len(v) > 0 && len(at)%len(v) != 0 {
		return nil, fmt.Errorf("it has values of %s %v at %s %v: float32 weights can be read", TypeOf(values),
			values.GetDims(), TypeOf(indices), indices.GetDims())
	}
	all := make([]float32, n)
	for i, x := range v {
		place, each := int64(0), len(at)/len(v)
		for k, c := range at[i*each : (i+1)*each] {
			if each > 1 {
				place *= dims[min(k, len(dims)-1)]
			}
			place += c
		}
		if place < 0 || place >= n || each > 1 && each != len(dims) {
			return nil, fmt.Errorf("it has a value outside of %v", dims)
		}
		all[place] = x
	}
	t := FloatTensor(dims, all)
	t.Name = values.Name
	return t, nil
}
