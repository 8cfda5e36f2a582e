package vision

import (
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// Outputs that are decisions of a classifier: the numbers, names or scores of the best classes. The class scores that
// they were decided by stand for them.

// deciding are the operators that decide.
var deciding = []string{"TopK", "ArgMax", "ArgMin", "Hardmax", "ReduceMax", "ZipMap", "LabelEncoder", "Greater",
	"GreaterOrEqual", "Less", "LessOrEqual", "Equal"}

// decision leads back from an output to the class scores that it was decided by, with the operator that did; "" if it
// is no decision. The way goes over what changes shape, type or range only, and over tables looked up by class.
func (f *facts) decision(output string) (scores, op string) {
	t := output
	for range f.nodes() {
		n := f.index.Producer[t]
		if n == nil {
			return scores, op
		}
		kind, constant := n.GetOpType(), f.constant(second(n))
		switch {
		case slices.Contains(deciding, kind) && f.decides(n):
			t = first(n)
			scores, op = t, kind
		case kind == "Gather" && f.constant(first(n)):
			t = second(n) // a table of names
		case slices.Contains([]string{"Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Slice",
			"OneHot"}, kind),
			scores == "" && constant && slices.Contains([]string{"Mul", "Add", "Div", "Gather"}, kind):
			t = first(n)
		default:
			return scores, op
		}
	}
	return scores, op
}

// softmaxOf returns the one softmax of classes, [B,C], that all of an output is computed from, such as its entropy, a
// part of it, or the best class and how sure it is; "" if there is none, or anything besides.
func (f *facts) softmaxOf(output string) (scores string) {
	seen := map[string]bool{}
	for next := []string{output}; len(next) > 0; next = next[1:] {
		t := next[0]
		if seen[t] || f.constant(t) || t == "" {
			continue
		}
		seen[t] = true
		n := f.index.Producer[t]
		if n == nil || len(f.shapes[t]) > 2 {
			return ""
		}
		if op := n.GetOpType(); op != "Softmax" && op != "LogSoftmax" {
			next = append(next, n.Input...)
		} else if scores == "" && len(f.shapes[t]) == 2 {
			scores = t
		} else {
			return ""
		}
	}
	return scores
}

// decides reports whether a node decides between classes, [B,C] or [B,C,h,w], rather than pools or compares what else.
func (f *facts) decides(n *graph.Node) bool {
	s := f.shapes[first(n)]
	switch n.GetOpType() {
	case "TopK", "ArgMax", "ArgMin", "Hardmax":
		if s == nil {
			_, err := f.classifierEnd(first(n), true)
			return err == nil
		}
		return len(s) == 2 || len(s) == 4
	case "ZipMap", "LabelEncoder":
		return true
	}
	return len(s) == 2
}

// undecided puts the class scores in the place of decisions by them.
func (f *finder) undecided(outputs []graph.Value) (list []graph.Value) {
	for _, v := range outputs {
		scores, op := f.decision(v.Name)
		if _, err := f.classifierEnd(v.Name, true); scores == "" && err != nil {
			scores, op = f.softmaxOf(v.Name), f.index.Producer[v.Name].GetOpType()
		}
		if scores == "" {
			list = append(list, v)
			continue
		}
		f.decided[scores] = true
		if !slices.ContainsFunc(list, func(v graph.Value) bool { return v.Name == scores }) {
			f.reason("output %s is a decision (%s) by %s", v.Name, op, scores)
			list = append(list, graph.Value{Name: scores, Type: "float32", Shape: f.shapes[scores]})
		}
	}
	return list
}
