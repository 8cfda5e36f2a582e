package shape

import (
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// The shape rules of single operators, as the ONNX operator specification gives them.

func first(_ *inference, _ *graph.Node, x []int64) []int64 { return slices.Clone(x) }

func second(s *inference, n *graph.Node, _ []int64) []int64 { return slices.Clone(s.in(n, 1)) }

func constant(s *inference, n *graph.Node, _ []int64) []int64 {
	if t := graph.Attr(n, "value").GetT(); t != nil {
		s.constant(n.Output[0], t)
	} else if graph.Attr(n, "value_int") != nil || graph.Attr(n, "value_float") != nil {
		return []int64{}
	} else if a := graph.Attr(n, "value_ints"); a != nil {
		return []int64{int64(len(a.Ints))}
	}
	return nil
}

func constantOfShape(s *inference, n *graph.Node, _ []int64) []int64 { return s.dimensions(n, 0) }

func lengthOfShape(s *inference, n *graph.Node, x []int64) []int64 {
	if x == nil {
		return nil
	}
	return []int64{int64(len(s.ints[n.Output[0]]))}
}

func span(s *inference, n *graph.Node, _ []int64) []int64 {
	out := []int64{unknown}
	from, to, by := s.values(n, 0), s.values(n, 1), s.values(n, 2)
	if len(from) == 1 && len(to) == 1 && len(by) == 1 && from[0] != open && to[0] != open && by[0] > 0 {
		out[0] = max(0, (to[0]-from[0]+by[0]-1)/by[0])
	}
	return out
}

func broadcast(s *inference, n *graph.Node, _ []int64) []int64 {
	list := make([][]int64, len(n.Input))
	for i := range list {
		if list[i] = s.in(n, i); list[i] == nil {
			return nil
		}
	}
	return broadcastShapes(list...)
}

// broadcastShapes applies numpy's rule. An unknown dimension against one above 1 is the latter.
func broadcastShapes(list ...[]int64) []int64 {
	rank := 0
	for _, d := range list {
		rank = max(rank, len(d))
	}
	out := slices.Repeat([]int64{1}, rank)
	for _, d := range list {
		for k, v := range d {
			if i := rank - len(d) + k; v != 1 && (out[i] == 1 || out[i] == unknown) {
				out[i] = v
			}
		}
	}
	return out
}

func expand(s *inference, n *graph.Node, x []int64) []int64 {
	if v := s.dimensions(n, 1); v != nil && x != nil {
		return broadcastShapes(x, v)
	}
	return nil
}

// normalised makes the rule of a normalisation over the last axis, whose size the input of that index, its scale, has.
func normalised(scale int) shapeRule {
	return func(s *inference, n *graph.Node, x []int64) []int64 {
		x = slices.Clone(x)
		if w, k := s.in(n, scale), len(x)-1; len(w) == 1 && k >= 0 && x[k] == unknown {
			x[k] = w[0]
		}
		if n.GetOpType() == "LayerNormalization" { // the mean and the inverse deviation, where they are asked for
			for _, out := range n.Output[1:] {
				thin := slices.Clone(x)
				for i := clampAxis(graph.AttrInt(n, "axis", -1), len(x)); int(i) < len(x); i++ {
					thin[i] = 1
				}
				s.dims.Refine(out, thin)
			}
		}
		return x
	}
}

// skipNormalised is of the normalised sum of two tensors, and as its fourth output of the sum.
func skipNormalised(s *inference, n *graph.Node, x []int64) []int64 {
	out := normalised(2)(s, n, x)
	if len(n.Output) > 3 {
		s.dims.Refine(n.Output[3], slices.Clone(out))
	}
	return out
}

// positions makes the rule of a pooling, which leaves so many positions along each axis of an image.
func positions(left int64) shapeRule {
	return func(_ *inference, _ *graph.Node, x []int64) []int64 {
		if len(x) < 3 {
			return nil
		}
		return append(slices.Clone(x[:2]), slices.Repeat([]int64{left}, len(x)-2)...)
	}
}

// packedMatmul is of weights of few bits, several in a byte; N is an attribute.
func packedMatmul(_ *inference, n *graph.Node, x []int64) []int64 {
	if len(x) == 0 {
		return nil
	}
	return append(slices.Clone(x[:len(x)-1]), graph.AttrInt(n, "N", unknown))
}

func matmul(s *inference, n *graph.Node, a []int64) []int64 {
	a, b := rowsBehind(n, "transBatchA", a), rowsBehind(n, "transBatchB", s.in(n, 1))
	if len(b) == 0 || len(a) == 0 {
		return nil
	}
	if len(b) == 1 {
		return slices.Clone(a[:len(a)-1])
	}
	cols := b[len(b)-1-int(graph.AttrInt(n, "transB", 0)&1)]
	if len(a) == 1 {
		return append(slices.Clone(b[:len(b)-2]), cols)
	}
	rows := a[len(a)-2+int(graph.AttrInt(n, "transA", 0)&1)]
	return append(broadcastShapes(a[:len(a)-2], b[:len(b)-2]), rows, cols)
}

// rowsBehind brings the first axis behind those of the batch, if an attribute of a fused product says so.
func rowsBehind(n *graph.Node, attr string, x []int64) []int64 {
	if k := len(x) - 1; k > 1 && graph.AttrInt(n, attr, 0) != 0 {
		return slices.Concat(x[1:k], x[:1], x[k:])
	}
	return x
}

func gemm(s *inference, n *graph.Node, x []int64) []int64 {
	rows, cols := int64(unknown), int64(unknown)
	if len(x) == 2 {
		rows = x[graph.AttrInt(n, "transA", 0)&1]
	}
	if b := s.in(n, 1); len(b) == 2 {
		cols = b[1-graph.AttrInt(n, "transB", 0)&1]
	}
	return []int64{rows, cols}
}

// attention covers the fused operators, whose output is [B,N,D] with D that of the values, or a third of the packed
// weights' columns; and the core operator on heads apart, [B,H,N,d], whose d is that of the values. Query, key and
// value may be packed as [B,N,H,3,d].
func attention(s *inference, n *graph.Node, x []int64) []int64 {
	out, w, v := slices.Clone(x), s.in(n, 1), s.in(n, 2)
	packed := n.GetOpType() == "Attention" && n.GetDomain() == "com.microsoft" &&
		graph.Attr(n, "qkv_hidden_sizes") == nil
	switch {
	case len(x) == 4 && len(v) == 4:
		out[3] = v[3]
	case len(x) == 4:
		out[3] = unknown
	case len(x) == 5 && x[2] > 0 && x[4] > 0:
		return []int64{x[0], x[1], x[2] * x[4]}
	case len(x) != 3:
		return nil
	case len(v) == 3:
		heads, groups := graph.AttrInt(n, "q_num_heads", 1), graph.AttrInt(n, "kv_num_heads", 1)
		if out[2] = unknown; v[2] > 0 && groups > 0 && heads > 0 {
			out[2] = v[2] / groups * heads
		}
	case packed && len(w) == 2 && w[1] > 0:
		out[2] = w[1] / 3
	}
	return out
}

func conv(s *inference, n *graph.Node, x []int64) []int64 {
	w := s.in(n, 1)
	if len(w) < 3 {
		return nil
	}
	if len(x) != len(w) {
		return append([]int64{unknown, w[0]}, slices.Repeat([]int64{unknown}, len(w)-2)...)
	}
	return append([]int64{x[0], w[0]}, windows(n, x[2:], w[2:])...)
}

func pooling(_ *inference, n *graph.Node, x []int64) []int64 {
	size := graph.Attr(n, "kernel_shape").GetInts()
	if len(x) < 3 || len(size) != len(x)-2 {
		return nil
	}
	return append(slices.Clone(x[:2]), windows(n, x[2:], size)...)
}

// windows returns how many windows of a size fit along each axis.
func windows(n *graph.Node, x, size []int64) []int64 {
	out := slices.Repeat([]int64{unknown}, len(x))
	if a := graph.Attr(n, "auto_pad"); a != nil && string(a.S) != "NOTSET" && string(a.S) != "VALID" {
		return out
	}
	at := func(name string, i int, def int64) int64 {
		if list := graph.Attr(n, name).GetInts(); i < len(list) {
			return list[i]
		}
		return def
	}
	for i := range x {
		stride := at("strides", i, 1)
		if x[i] < 0 || size[i] < 0 || stride < 1 {
			continue
		}
		front, behind := at("pads", i, 0), at("pads", i+len(x), 0)
		span := x[i] + front + behind - at("dilations", i, 1)*(size[i]-1) - 1
		if span < 0 {
			continue
		}
		out[i] = span/stride + 1
		if graph.AttrInt(n, "ceil_mode", 0) != 0 && span%stride != 0 && out[i]*stride < x[i]+front {
			out[i]++ // one that reaches out, unless it begins behind the end
		}
	}
	return out
}

func reduce(s *inference, n *graph.Node, x []int64) []int64 {
	axes, ok := s.axes(n, len(x), false)
	if x == nil || !ok {
		return nil
	}
	keep := graph.AttrInt(n, "keepdims", 1) != 0
	out := []int64{}
	for i, d := range x {
		switch {
		case len(axes) > 0 && !slices.Contains(axes, int64(i)):
			out = append(out, d)
		case keep:
			out = append(out, 1)
		}
	}
	return out
}

// Images are resized, not batches or channels.
func resize(s *inference, n *graph.Node, x []int64) []int64 {
	if sizes := s.dimensions(n, 3); sizes != nil && len(sizes) == len(x) {
		return sizes
	}
	return positions(unknown)(s, n, x)
}

// einsum is for an explicit output and no ellipsis.
func einsum(s *inference, n *graph.Node, _ []int64) []int64 {
	equation := strings.ReplaceAll(string(graph.Attr(n, "equation").GetS()), " ", "")
	left, right, ok := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if !ok || strings.Contains(left, ".") || len(terms) != len(n.Input) {
		return nil
	}
	size := map[rune]int64{}
	for i, term := range terms {
		d := s.dims[n.Input[i]]
		if d != nil && len(d) != len([]rune(term)) {
			return nil
		}
		for k, label := range []rune(term) {
			if d != nil && d[k] >= 0 {
				size[label] = max(size[label], d[k])
			}
		}
	}
	out := []int64{}
	for _, label := range right {
		d, ok := size[label]
		if !ok {
			d = unknown
		}
		out = append(out, d)
	}
	return out
}
