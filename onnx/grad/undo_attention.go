package grad

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// Attention in one operator, of products and softmax; rotary embeddings.

var errHeads = errors.New("the shape of one of its inputs is not known, or not one there is a rule for")

// heads makes [B,H,N,d] of [B,N,H·d].
func (t *tape) heads(x string, count int64) (string, error) {
	d := t.dims[x]
	if len(d) != 3 || d[1] < 1 || d[2] < 1 || count < 1 || d[2]%count != 0 {
		return "", errHeads
	}
	return t.transpose(t.reshape(x, []int64{d[0], d[1], count, d[2] / count}, ""), 0, 2, 1, 3), nil
}

// joined makes [B,N,H·d] of [B,H,N,d].
func (t *tape) joined(x string) string {
	x = t.transpose(x, 0, 2, 1, 3)
	d := t.dims[x]
	return t.reshape(x, []int64{d[0], d[1], size(d[2:])}, "")
}

// attend is softmax(scale·q·kᵀ + bias)·v for heads apart; softcap and bias may be left out.
func (t *tape) attend(q, k, v, bias string, scale, softcap float64) string {
	scores := t.product(t.scale(q, scale), t.swap(k))
	if softcap != 0 {
		scores = t.scale(t.each("Tanh", t.scale(scores, 1/softcap)), softcap)
	}
	if bias != "" {
		scores = t.add(scores, bias)
	}
	p := t.op("Softmax", t.dims[scores], []string{scores}, graph.IntAttr("axis", -1))
	return t.product(p, v)
}

// attention is the operator of ONNX itself, from operator set 23 on.
func attention(t *tape, n *graph.Node) (string, error) {
	if err := t.needs(n, 4, 1); err != nil {
		return "", err
	}
	if graph.AttrInt(n, "is_causal", 0) != 0 {
		return "", errors.New("there is no rule for is_causal")
	}
	apart := make([]string, 3)
	for i := range apart {
		apart[i] = n.Input[i]
		if len(t.dims[n.Input[i]]) != 4 {
			count := graph.AttrInt(n, "kv_num_heads", 0)
			if i == 0 {
				count = graph.AttrInt(n, "q_num_heads", 0)
			}
			var err error
			if apart[i], err = t.heads(n.Input[i], count); err != nil {
				return "", err
			}
		}
	}
	q, k, v := apart[0], apart[1], apart[2]
	if t.dims[q][1] != t.dims[k][1] || t.dims[q][3] < 1 {
		return "", errors.New("there is no rule for queries of more heads than keys")
	}
	mask := graph.Input(n, 3)
	if mask != "" && t.isBool(mask) {
		mask = t.when(mask, t.number(0), t.number(math.Inf(-1)))
	}
	y := t.attend(q, k, v, mask, floatAttr(n, "scale", 1/math.Sqrt(float64(t.dims[q][3]))), floatAttr(n, "softcap", 0))
	if len(t.dims[n.Input[0]]) == 3 {
		y = t.joined(y)
	}
	return y, nil
}

// isBool reports whether a tensor holds truth values.
func (t *tape) isBool(name string) bool {
	if w := t.index.Weight[name]; w != nil {
		return graph.TypeOf(w) == "bool"
	}
	n := t.index.Producer[name]
	if n == nil {
		return false
	}
	switch n.GetOpType() {
	case "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not", "And", "Or", "Xor", "IsNaN", "IsInf":
		return true
	case "Cast":
		return graph.CastTo(n) == "bool"
	case "Constant", "ConstantOfShape":
		return graph.TypeOf(graph.Attr(n, "value").GetT()) == "bool"
	case "Where":
		return t.isBool(n.Input[1])
	case "Expand", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Identity", "Concat", "Transpose", "Gather", "Tile":
		return t.isBool(n.Input[0])
	}
	return false
}

// multiHead is ONNX Runtime's attention on projections that are already made, apart or packed.
func multiHead(t *tape, n *graph.Node) (string, error) {
	if err := t.needs(n, 6, 1); err != nil {
		return "", err
	}
	if graph.Input(n, 4) != "" || graph.AttrInt(n, "unidirectional", 0) != 0 {
		return "", errors.New("there is no rule for its key padding mask, or for unidirectional")
	}
	count := graph.AttrInt(n, "num_heads", 0)
	q, k, v := n.Input[0], graph.Input(n, 1), graph.Input(n, 2)
	bias := graph.Input(n, 3)
	switch {
	case len(t.dims[q]) == 5 && bias == "":
		all := t.transpose(q, 3, 0, 2, 1, 4) // [3,B,H,N,d] of [B,N,H,3,d]
		q, k, v = t.one(all, 0), t.one(all, 1), t.one(all, 2)
	case len(t.dims[q]) == 3 && len(t.dims[k]) == 5 && bias == "":
		both := t.transpose(k, 3, 0, 2, 1, 4)
		k, v = t.one(both, 0), t.one(both, 1)
	}
	at := int64(0)
	for _, x := range []*string{&q, &k, &v} {
		d := t.dims[*x]
		if len(d) == 4 && bias == "" {
			continue
		}
		if bias != "" && len(d) == 3 && d[2] > 0 {
			*x = t.add(*x, t.slice(bias, 0, at, at+d[2]))
			at += d[2]
		}
		var err error
		if *x, err = t.heads(*x, count); err != nil {
			return "", err
		}
	}
	scale := floatAttr(n, "scale", 0)
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(t.dims[q][3]))
	}
	return t.joined(t.attend(q, k, v, graph.Input(n, 5), scale, 0)), nil
}

// one takes a part of the first axis, which goes.
func (t *tape) one(x string, i int64) string {
	part := t.slice(x, 0, i, i+1)
	return t.reshape(part, t.dims[x][1:], "")
}

// packedAttention is ONNX Runtime's attention with the projections in it.
func packedAttention(t *tape, n *graph.Node) (string, error) {
	if err := t.needs(n, 6, 1); err != nil {
		return "", err
	}
	if graph.Input(n, 3) != "" || graph.Input(n, 4) != "" || graph.AttrInt(n, "unidirectional", 0) != 0 ||
		graph.AttrInt(n, "do_rotary", 0) != 0 {
		return "", errors.New("there is no rule for its mask, its past, unidirectional or do_rotary")
	}
	w := t.dims[n.Input[1]]
	if len(w) != 2 || w[1] < 3 || len(t.dims[n.Input[0]]) != 3 {
		return "", errHeads
	}
	sizes := graph.Attr(n, "qkv_hidden_sizes").GetInts()
	if len(sizes) != 3 {
		sizes = slices.Repeat([]int64{w[1] / 3}, 3)
	}
	all := t.product(n.Input[0], n.Input[1])
	if bias := graph.Input(n, 2); bias != "" {
		all = t.add(all, bias)
	}
	var parts [3]string
	at := int64(0)
	for i, s := range sizes {
		var err error
		if parts[i], err = t.heads(t.slice(all, 2, at, at+s), graph.AttrInt(n, "num_heads", 0)); err != nil {
			return "", err
		}
		at += s
	}
	scale := floatAttr(n, "scale", 0)
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(t.dims[parts[0]][3]))
	}
	return t.joined(t.attend(parts[0], parts[1], parts[2], graph.Input(n, 5), scale, 0)), nil
}

// rotary turns pairs of numbers by angles that depend on the position: halves of a head, or neighbours if interleaved.
func rotary(t *tape, n *graph.Node) (string, error) {
	x, cos, sin, positions := n.Input[0], graph.Input(n, 1), graph.Input(n, 2), graph.Input(n, 3)
	if !graph.CoreDomain(n.GetDomain()) {
		positions, cos, sin = graph.Input(n, 1), graph.Input(n, 2), graph.Input(n, 3)
		if floatAttr(n, "scale", 1) != 1 || len(t.dims[positions]) != 2 {
			return "", errors.New("there is no rule for scale, or for one position for all")
		}
	}
	flat := len(t.dims[x]) == 3
	if flat {
		var err error
		if x, err = t.heads(x, graph.AttrInt(n, "num_heads", 0)); err != nil {
			return "", err
		}
	}
	if positions != "" {
		taken := slices.Concat(t.dims[positions], t.dims[cos][1:])
		cos = t.op("Gather", taken, []string{cos, positions})
		sin = t.op("Gather", taken, []string{sin, positions})
	}
	d, angles := t.dims[x], t.dims[cos]
	if len(d) != 4 || d[3] < 2 || len(angles) != 3 || angles[2] < 1 {
		return "", errHeads
	}
	turned := graph.AttrInt(n, "rotary_embedding_dim", 0)
	if turned == 0 {
		turned = d[3]
	}
	if turned%2 != 0 || turned > d[3] {
		return "", fmt.Errorf("rotary_embedding_dim is %d of %d", turned, d[3])
	}
	half := turned / 2
	over := []int64{angles[0], 1, angles[1], angles[2]} // the same for all heads
	cos, sin = t.slice(t.reshape(cos, over, ""), 3, 0, half), t.slice(t.reshape(sin, over, ""), 3, 0, half)
	interleaved := graph.AttrInt(n, "interleaved", 0) != 0
	front := t.slice(x, 3, 0, turned)
	a, b := t.slice(front, 3, 0, half), t.slice(front, 3, half, turned)
	if interleaved {
		pairs := t.reshape(front, []int64{d[0], d[1], d[2], half, 2}, "")
		apart := []int64{d[0], d[1], d[2], half}
		a, b = t.reshape(t.slice(pairs, 4, 0, 1), apart, ""), t.reshape(t.slice(pairs, 4, 1, 2), apart, "")
	}
	re := t.sub(t.mul(cos, a), t.mul(sin, b))
	im := t.add(t.mul(sin, a), t.mul(cos, b))
	shape := []int64{d[0], d[1], d[2], turned}
	var y string
	if interleaved {
		column := []int64{d[0], d[1], d[2], half, 1}
		pair := []int64{d[0], d[1], d[2], half, 2}
		parts := []string{t.reshape(re, column, ""), t.reshape(im, column, "")}
		y = t.reshape(t.op("Concat", pair, parts, graph.IntAttr("axis", 4)), shape, "")
	} else {
		y = t.op("Concat", shape, []string{re, im}, graph.IntAttr("axis", 3))
	}
	if turned < d[3] {
		y = t.op("Concat", d, []string{y, t.slice(x, 3, turned, d[3])}, graph.IntAttr("axis", 3))
	}
	if flat {
		y = t.joined(y)
	}
	return y, nil
}
