package vision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// Tensors inside the graph, for models whose outputs are no features: what a decoder makes of tokens is a mask, a depth
// or boxes.

// narrow is the largest number of channels that is a decoder's and no feature's.
const narrow = 4

// decoded reports whether an output is what a decoder makes: a map or tokens of a few channels, or a map that lost its
// one channel.
func (f *facts) decoded(v graph.Value) bool {
	is := func(channels int64) bool { return channels >= 1 && channels <= narrow }
	switch s := v.Shape; len(s) {
	case 4:
		return is(s[1]) || f.channelsLast(v.Name, s) && is(s[3])
	case 3:
		for n := range f.back(v.Name) {
			if from := f.shapes[first(n)]; len(from) == 4 {
				return from[1] == 1 || is(s[2])
			} else if op := n.GetOpType(); op != "Squeeze" && op != "Identity" && op != "Relu" && op != "Cast" {
				break
			}
		}
		return is(s[2])
	}
	return false
}

// foreign reports whether an output is no feature of the encoder: what a decoder makes, or scores of positions that it
// decided by.
func (f *finder) foreign(v graph.Value) bool {
	return f.decoded(v) || f.decided[v.Name] && len(v.Shape) == 4
}

// normalised are the tokens [B,N,D] of images that the graph normalises, in its order: what layer norms give, also
// those that are spelt out.
func (f *facts) normalised() (list []graph.Value) {
	for _, n := range f.nodes() {
		if len(n.Output) == 0 || !f.layerNorm(n) {
			continue
		}
		on, s := f.dependsOn(n.Output[0]), slices.Clone(f.shapes[n.Output[0]])
		if len(s) == 3 && len(on) == 1 && mayBeImage(on[0]) {
			if on[0].Shape == nil || on[0].Shape[0] == graph.Unknown {
				s[0] = graph.Unknown
			}
			list = append(list, graph.Value{Name: n.Output[0], Type: "float32", Shape: s})
		}
	}
	return list
}

// layerNorm reports whether a node ends a layer norm: as one operator, or as x / deviation * weight + bias, with or
// without the bias.
func (f *facts) layerNorm(n *graph.Node) bool {
	switch n.GetOpType() {
	case "LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "SkipLayerNormalization",
		"SkipSimplifiedLayerNormalization":
		return true
	case "Add":
		scaled := f.byVector(n)
		return scaled != nil && scaled.GetOpType() == "Mul" && f.standard(f.byVector(scaled))
	case "Mul":
		readers := f.index.Consumers[n.Output[0]]
		biased := len(readers) == 1 && readers[0].GetOpType() == "Add" && f.byVector(readers[0]) == n
		return !biased && f.standard(f.byVector(n))
	}
	return false
}

// standard reports whether a node divides by the root of a mean.
func (f *facts) standard(n *graph.Node) bool {
	if n == nil || n.GetOpType() != "Div" && n.GetOpType() != "Mul" {
		return false
	}
	between := []string{"Sqrt", "Reciprocal", "Add", "Pow", "Div", "Cast"}
	return slices.ContainsFunc(n.Input, func(t string) bool {
		m := f.index.Producer[t]
		for range 8 {
			if m == nil || !slices.Contains(between, m.GetOpType()) {
				break
			}
			if t = first(m); f.constant(t) {
				t = second(m)
			}
			m = f.index.Producer[t]
		}
		return m != nil && m.GetOpType() == "ReduceMean"
	})
}

// byVector returns what gives the one input of a node whose other is a constant for each element of the last dimension,
// nil if it has no such inputs.
func (f *facts) byVector(n *graph.Node) *graph.Node {
	x, c := first(n), second(n)
	if f.constant(x) {
		x, c = c, x
	}
	if s := f.shapes[c]; f.constant(c) && len(s) == 1 && s[0] > 1 {
		return f.index.Producer[x]
	}
	return nil
}

// tokensBefore returns the last normalised tokens that an output is computed from, if there are any: of a decoder that
// has tokens of its own, those of the encoder, one for each patch.
func (f *facts) tokensBefore(output string) (last graph.Value, ok bool) {
	_, needed := f.model.Needed(output)
	grid := int64(0)
	if on := f.dependsOn(output); len(on) == 1 && len(on[0].Shape) == 4 {
		if p := f.patch(on[0].Name); p > 0 {
			grid = on[0].Shape[2] / p * (on[0].Shape[3] / p)
		}
	}
	fits := func(v graph.Value) bool { return grid < 1 || v.Shape[1] >= grid && v.Shape[1] <= grid+64 }
	for _, v := range f.normalised() {
		if needed[v.Name] && (fits(v) || last.Name == "" || !fits(last)) {
			last, ok = v, true
		}
	}
	return last, ok
}

// encoded puts the encoder's tokens in the place of what a decoder made of them; what has none stays.
func (f *finder) encoded(outs []graph.Value) (list []graph.Value) {
	if slices.ContainsFunc(outs, f.foreign) {
		f.inferEarly()
	}
	for _, v := range outs {
		tokens, ok := f.tokensBefore(v.Name)
		if !ok || !f.foreign(v) {
			list = append(list, v)
			continue
		}
		f.reason("output %s %v is what a decoder made of the tokens %s; they are used instead", v.Name, v.Shape,
			tokens.Name)
		list = append(list, tokens)
	}
	return list
}

// candidates is how many tensors an inspection lists that could serve besides the chosen one.
const candidates = 12

// others are tensors that could serve besides the chosen one: outputs, and normalised tokens inside, the last ones
// first.
func (f *finder) others() (list []graph.Value) {
	outs := slices.DeleteFunc(slices.Clone(f.result.Outputs), func(v graph.Value) bool {
		on := f.dependsOn(v.Name)
		scores, _ := f.decision(v.Name)
		return len(on) != 1 || !mayBeImage(on[0]) || !strings.HasPrefix(v.Type, "float") || scores != "" ||
			f.isClassifier(v)
	})
	tokens := f.normalised()
	slices.Reverse(tokens)
	seen := map[string]bool{f.result.Feature.Tensor: true}
	for _, v := range append(outs, tokens...) {
		s := f.openBatch(v.Name)
		if seen[v.Name] || len(s) < 2 || len(s) > 4 || s[0] == graph.Unknown && f.shapes[v.Name][0] > some {
			continue
		}
		seen[v.Name] = true
		list = append(list, graph.Value{Name: v.Name, Type: v.Type, Shape: s})
	}
	return list[:min(candidates, len(list))]
}

// refuseName says why a tensor of a name cannot be had, with those whose names are near.
func (f *finder) refuseName(name string) {
	switch {
	case f.index.Weight[name] != nil:
		f.problem("%s is a weight, which is the same for all images", name)
		return
	case slices.Contains(graph.Names(f.inputs), name):
		f.problem("%s is an input; name a tensor that is computed from it", name)
		return
	}
	if at := strings.LastIndexByte(name, ':'); at > 0 && f.index.Producer[name[:at]] != nil {
		_, err := ParsePooling(name[at+1:])
		f.problem("%s: %v", name[:at], err)
		return
	}
	f.inferEarly()
	near := f.near(name)
	if near == "" {
		near = describe(f.others())
	}
	f.problem("it has no tensor %q; its outputs are %s; near that, or inside, are %s", name, list(f.result.Outputs),
		near)
}

// near lists tensors with names like one that is not there, and outputs of nodes of that name, with their shapes.
func (f *finder) near(name string) string {
	var found []string
	wanted := letters(name)
	for _, n := range slices.Backward(f.nodes()) {
		for _, o := range n.Output {
			has := letters(o)
			alike := n.GetName() == name || len(wanted) > 2 && strings.Contains(has, wanted) ||
				len(has) > 4 && strings.Contains(wanted, has)
			if !alike || f.shapes[o] == nil || len(f.dependsOn(o)) == 0 {
				continue
			}
			if found = append(found, fmt.Sprintf("%s %v", o, f.openBatch(o))); len(found) == 5 {
				return strings.Join(found, ", ")
			}
		}
	}
	return strings.Join(found, ", ")
}

// openBatch is the shape of a tensor whose batch was taken to be of some images.
func (f *finder) openBatch(tensor string) []int64 {
	s := slices.Clone(f.shapes[tensor])
	if on := f.dependsOn(tensor); len(s) > 0 && len(on[0].Shape) > 0 && on[0].Shape[0] == graph.Unknown {
		s[0] = graph.Unknown
	}
	return s
}

// letters reduces a name to lower case, letters and digits only.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			if r < '0' || r > '9' {
				return -1
			}
		}
		return r
	}, strings.ToLower(name))
}
