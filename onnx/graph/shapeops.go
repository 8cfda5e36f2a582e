package graph

import (
	"slices"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// The shape rules of single operators, as the ONNX operator specification gives them.

func (s *shapes) matmul(n *onnxpb.NodeProto) []int64 {
	if n.GetOpType() == "MatMulNBits" { // weights are packed; N is an attribute
		a := slices.Clone(s.dims[first(n)])
		if len(a) == 0 {
			return nil
		}
		a[len(a)-1] = attrInt(n, "N", unknown)
		return a
	}
	a, b := s.dims[first(n)], s.dims[second(n)]
	if len(b) < 2 || len(a) == 0 {
		return nil
	}
	if attrInt(n, "transB", 0) != 0 {
		b = slices.Clone(b)
		k := len(b)
		b[k-1], b[k-2] = b[k-2], b[k-1]
	}
	if attrInt(n, "transA", 0) != 0 && len(a) > 1 {
		a = slices.Clone(a)
		k := len(a)
		a[k-1], a[k-2] = a[k-2], a[k-1]
	}
	cols := b[len(b)-1]
	if len(a) == 1 {
		return append(slices.Clone(b[:len(b)-2]), cols)
	}
	return append(broadcastShapes([][]int64{a[:len(a)-2], b[:len(b)-2]}), a[len(a)-2], cols)
}

func (s *shapes) gemm(n *onnxpb.NodeProto) []int64 {
	rows, cols := int64(unknown), int64(unknown)
	if a := s.dims[first(n)]; len(a) == 2 {
		rows = a[attrInt(n, "transA", 0)&1]
	}
	if b := s.dims[second(n)]; len(b) == 2 {
		cols = b[1-attrInt(n, "transB", 0)&1]
	}
	return []int64{rows, cols}
}

// attentionShape covers the fused operators, whose output is [B,N,D] with D that of the query, or a third of the
// packed weights' columns; and the core operator on heads apart, [B,H,N,d], whose d is that of the values.
func attentionShape(n *onnxpb.NodeProto, x, w, v []int64) []int64 {
	if len(x) != 3 && len(x) != 4 {
		return nil
	}
	out := slices.Clone(x)
	if len(x) == 4 {
		out[3] = unknown
		if len(v) == 4 {
			out[3] = v[3]
		}
		return out
	}
	if n.GetOpType() == "Attention" && n.GetDomain() == "com.microsoft" && len(w) == 2 && w[1] > 0 && attr(n, "qkv_hidden_sizes") == nil {
		out[2] = w[1] / 3
	}
	return out
}

func convShape(n *onnxpb.NodeProto, x, w []int64) []int64 {
	if len(w) < 3 {
		return nil
	}
	out := make([]int64, len(w))
	for i := range out {
		out[i] = unknown
	}
	out[1] = w[0]
	if len(x) != len(w) {
		return out
	}
	out[0] = x[0]
	if a := attr(n, "auto_pad"); a != nil && string(a.S) != "NOTSET" && string(a.S) != "VALID" {
		return out
	}
	spatial := len(w) - 2
	at := func(name string, i int, def int64) int64 {
		if a := attr(n, name); a != nil && i < len(a.Ints) {
			return a.Ints[i]
		}
		return def
	}
	for i := range spatial {
		stride := at("strides", i, 1)
		if x[i+2] < 0 || w[i+2] < 0 || stride < 1 {
			continue
		}
		reach := at("dilations", i, 1)*(w[i+2]-1) + 1
		if span := x[i+2] + at("pads", i, 0) + at("pads", i+spatial, 0) - reach; span >= 0 {
			out[i+2] = span/stride + 1
		}
	}
	return out
}

func (s *shapes) reshape(n *onnxpb.NodeProto, x []int64) []int64 {
	out := s.dimensions(second(n))
	rest := unknown
	known := int64(1)
	for i, d := range out {
		if d == 0 && attrInt(n, "allowzero", 0) == 0 {
			out[i] = unknown
			if i < len(x) {
				out[i] = x[i]
			}
		}
		if out[i] == unknown {
			if rest != unknown {
				return out // two unknowns: nothing more to say
			}
			rest = i
			continue
		}
		known *= out[i]
	}
	total := int64(1)
	for _, d := range x {
		if d < 0 {
			return out
		}
		total *= d
	}
	if x != nil && rest != unknown && known > 0 && total%known == 0 {
		out[rest] = total / known
	}
	return out
}

func transpose(n *onnxpb.NodeProto, x []int64) []int64 {
	if x == nil {
		return nil
	}
	out := slices.Clone(x)
	if a := attr(n, "perm"); a != nil {
		if len(a.Ints) != len(x) {
			return nil
		}
		for i, p := range a.Ints {
			if p < 0 || p >= int64(len(x)) {
				return nil
			}
			out[i] = x[p]
		}
		return out
	}
	slices.Reverse(out)
	return out
}

func flatten(n *onnxpb.NodeProto, x []int64) []int64 {
	if x == nil {
		return nil
	}
	axis := clampAxis(attrInt(n, "axis", 1), len(x))
	product := func(d []int64) int64 {
		p := int64(1)
		for _, v := range d {
			if v < 0 {
				return unknown
			}
			p *= v
		}
		return p
	}
	return []int64{product(x[:axis]), product(x[axis:])}
}

func (s *shapes) concat(n *onnxpb.NodeProto) []int64 {
	var out []int64
	for i, name := range n.Input {
		d := s.dims[name]
		if d == nil {
			return nil
		}
		if i == 0 {
			out = slices.Clone(d)
			continue
		}
		if len(d) != len(out) {
			return nil
		}
		axis := clampAxis(attrInt(n, "axis", 0), len(out))
		for k := range out {
			switch {
			case int64(k) == axis && (out[k] < 0 || d[k] < 0):
				out[k] = unknown
			case int64(k) == axis:
				out[k] += d[k]
			case out[k] < 0:
				out[k] = d[k]
			}
		}
	}
	return out
}

func gatherShape(n *onnxpb.NodeProto, x, idx []int64) []int64 {
	if x == nil || idx == nil {
		return nil
	}
	axis := clampAxis(attrInt(n, "axis", 0), len(x))
	if int(axis) >= len(x) {
		return nil
	}
	return append(append(slices.Clone(x[:axis]), idx...), x[axis+1:]...) // slices.Concat would make nil of a scalar's shape
}

func (s *shapes) split(n *onnxpb.NodeProto, x []int64) {
	if x == nil {
		return
	}
	axis := clampAxis(attrInt(n, "axis", 0), len(x))
	if int(axis) >= len(x) {
		return
	}
	var sizes []int64
	if a := attr(n, "split"); a != nil {
		sizes = a.Ints
	} else if len(n.Input) > 1 {
		sizes = s.dimensions(n.Input[1])
	}
	for i, name := range n.Output {
		out := slices.Clone(x)
		switch {
		case i < len(sizes):
			out[axis] = sizes[i]
		case len(n.Input) < 2 && x[axis] > 0:
			out[axis] = x[axis] / int64(len(n.Output))
		default:
			out[axis] = unknown
		}
		s.set(name, out)
	}
}

// axes returns the axes of a node, an attribute in older operator sets and an input in newer ones.
func (s *shapes) axes(n *onnxpb.NodeProto, rank int) (axes []int64, ok bool) {
	if a := attr(n, "axes"); a != nil {
		axes = a.Ints
	} else if name := second(n); name != "" {
		if axes, ok = s.ints[name]; !ok {
			return nil, false
		}
	}
	axes = slices.Clone(axes)
	for i, a := range axes {
		if a < 0 {
			axes[i] += int64(rank)
		}
		if axes[i] < 0 || axes[i] >= int64(rank) {
			return nil, false
		}
	}
	return axes, true
}

func (s *shapes) squeeze(n *onnxpb.NodeProto, x []int64) []int64 {
	if x == nil {
		return nil
	}
	axes, ok := s.axes(n, len(x))
	if !ok {
		return nil
	}
	out := []int64{}
	for i, d := range x {
		if (len(axes) == 0 && d == 1) || slices.Contains(axes, int64(i)) {
			continue
		}
		out = append(out, d)
	}
	return out
}

func (s *shapes) unsqueeze(n *onnxpb.NodeProto, x []int64) []int64 {
	if x == nil {
		return nil
	}
	count := len(s.ints[second(n)])
	if a := attr(n, "axes"); a != nil {
		count = len(a.Ints)
	}
	axes, ok := s.axes(n, len(x)+count)
	if !ok {
		return nil
	}
	out := make([]int64, 0, len(x)+count)
	rest := x
	for i := range len(x) + count {
		if slices.Contains(axes, int64(i)) || len(rest) == 0 {
			out = append(out, 1)
			continue
		}
		out = append(out, rest[0])
		rest = rest[1:]
	}
	return out
}

func (s *shapes) reduce(n *onnxpb.NodeProto, x []int64) []int64 {
	if x == nil {
		return nil
	}
	axes, ok := s.axes(n, len(x))
	if !ok {
		return nil
	}
	keep := attrInt(n, "keepdims", 1) != 0
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

func attr(n *onnxpb.NodeProto, name string) *onnxpb.AttributeProto {
	for _, a := range n.Attribute {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

func attrInt(n *onnxpb.NodeProto, name string, def int64) int64 {
	if a := attr(n, name); a != nil && a.I != nil {
		return a.GetI()
	}
	return def
}

func first(n *onnxpb.NodeProto) string  { return input(n, 0) }
func second(n *onnxpb.NodeProto) string { return input(n, 1) }

func input(n *onnxpb.NodeProto, i int) string {
	if i < len(n.Input) {
		return n.Input[i]
	}
	return ""
}
