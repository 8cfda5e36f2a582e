package grad

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// Options says what a graph of gradients takes and gives beside the gradients.
type Options struct {
	// Seed is the name of an input to add: the gradient of whatever lies above by the tensor that is differentiated.
	// The gradients are then products of it with the Jacobian. Without it the tensor must be one number.
	Seed string
	// Outputs are tensors of the model that the graph gives too, before the gradients.
	Outputs []string
}

// Gradients is a graph that gives gradients.
type Gradients struct {
	*graph.Model
	Names []string // the outputs that hold them, in the order in which they were asked for
}

// UnsupportedError tells what a gradient would have to pass through and cannot. It wraps [graph.ErrModel].
type UnsupportedError struct {
	Of    string
	Nodes []Refusal // in the order of the graph
}

// Refusal is a node that no gradient passes.
type Refusal struct{ Op, Node, Why string }

func (r Refusal) String() string { return fmt.Sprintf("%s %q: %s", r.Op, r.Node, r.Why) }

func (e *UnsupportedError) Error() string {
	const shown = 5
	var list []string
	for _, r := range e.Nodes[:min(len(e.Nodes), shown)] {
		list = append(list, r.String())
	}
	more := ""
	if n := len(e.Nodes) - shown; n > 0 {
		more = fmt.Sprintf("; and %d nodes more", n)
	}
	return fmt.Sprintf("%v: %q cannot be differentiated: %s%s", graph.ErrModel, e.Of, strings.Join(list, "; "), more)
}

func (e *UnsupportedError) Unwrap() error { return graph.ErrModel }

// Supported reports through which nodes between some tensors and another a gradient cannot pass, none if all is well.
// The error is for a question that makes no sense: tensors that are not there, or that have nothing to do with it.
func Supported(m *graph.Model, of string, wrt ...string) ([]Refusal, error) {
	_, err := Backward(m, of, wrt, Options{Seed: "grad.Supported/seed"})
	if no, ok := err.(*UnsupportedError); ok {
		return no.Nodes, nil
	}
	return nil, err
}

// Backward returns a graph that gives the gradient of a tensor, summed over its elements with the weights that the seed
// gives them, by others: weights, which become inputs of the graph, inputs, or tensors inside. Its inputs are the
// model's, then those weights, then the seed. m stays as it is.
//
// What has no gradient for certain is an error, which wraps [graph.ErrModel] and may be an [UnsupportedError].
func Backward(m *graph.Model, of string, wrt []string, o Options) (*Gradients, error) {
	c := m.Copy()
	if err := c.Sort(); err != nil {
		return nil, err
	}
	if err := c.PlainWeights(); err != nil {
		return nil, err
	}
	if err := float32s(c); err != nil {
		return nil, err
	}
	inputs, err := weightsToInputs(c, wrt)
	if err != nil {
		return nil, err
	}
	c.SetInputs(inputs...)
	asked := append(slices.Clone(o.Outputs), of)
	if err := check(c, asked...); err != nil {
		return nil, err
	}
	_, used := c.Needed(asked...)
	for _, v := range inputs {
		if used[v.Name] && (v.Shape == nil || slices.Contains(v.Shape[min(1, len(v.Shape)):], graph.Unknown)) {
			return nil, fmt.Errorf("%w: input %q has shape %v; only its first dimension, the batch, may be left open",
				graph.ErrModel, v.Name, v.Shape)
		}
	}
	if err := undo(c, of, wrt); err != nil {
		return nil, err
	}
	if err := fold(c, of, wrt, asked); err != nil {
		return nil, err
	}
	p := findPath(c, of, wrt)
	for _, name := range wrt {
		if !p.needed[name] {
			return nil, fmt.Errorf("%w: %q does not depend on %q, there is no gradient", graph.ErrModel, of, name)
		}
	}
	t := newTape(c, "grad")
	t.live = p.live
	g := &Gradients{Model: c}
	switch shape := t.dims[of]; {
	case o.Seed != "":
		v := graph.Value{Name: o.Seed, Type: "float32", Shape: declarable(shape)}
		if check(c, o.Seed) == nil {
			return nil, fmt.Errorf("%w: it has a tensor %q already, the seed needs a name of its own", graph.ErrModel,
				o.Seed)
		}
		inputs = append(inputs, v)
		c.SetInputs(inputs...)
		t.dims[o.Seed] = shape
		t.give(of, o.Seed)
	case shape != nil && size(shape) == 1:
		t.give(of, t.reshape(t.number(1), shape, of))
	default:
		return nil, fmt.Errorf("%w: %q is not one number: its gradient needs a seed", graph.ErrModel, of)
	}
	if refused := t.run(p.nodes); len(refused) > 0 {
		return nil, &UnsupportedError{of, refused}
	}

	values := make([]graph.Value, 0, len(o.Outputs)+len(wrt))
	for _, name := range o.Outputs {
		values = append(values, graph.Value{Name: name, Type: "float32", Shape: declarable(t.dims[name])})
	}
	for _, name := range wrt {
		out := t.Node("Identity", []string{t.full(t.sum(name), name)}, t.Name("of/"+name))
		g.Names = append(g.Names, out)
		values = append(values, graph.Value{Name: out, Type: "float32", Shape: declarable(t.dims[name])})
	}
	c.SetOutputs(values...)
	c.Prune()
	return g, nil
}

// weightsToInputs takes the weights that gradients are wanted of out of the model, and returns its inputs with them.
func weightsToInputs(m *graph.Model, wrt []string) ([]graph.Value, error) {
	inputs, weights, g := m.Inputs(), m.Index().Weight, m.Graph()
	for i, name := range wrt {
		if slices.Contains(wrt[:i], name) {
			return nil, fmt.Errorf("%w: the gradient by %q is asked for twice", graph.ErrModel, name)
		}
		w := weights[name]
		if w == nil {
			if err := check(m, name); err != nil {
				return nil, err
			}
			continue
		}
		if kind := graph.TypeOf(w); kind != "float32" {
			return nil, fmt.Errorf("%w: weight %q is of %s, it has no gradient", graph.ErrModel, name, kind)
		}
		inputs = append(inputs, graph.Value{Name: name, Type: "float32", Shape: w.Dims})
		g.Initializer = slices.DeleteFunc(g.Initializer, func(t *graph.Tensor) bool { return t == w })
	}
	return inputs, nil
}

// check returns an error for a tensor that the model does not have.
func check(m *graph.Model, names ...string) error {
	x, inputs := m.Index(), graph.Names(m.Inputs())
	for _, name := range names {
		if x.Producer[name] == nil && x.Weight[name] == nil && !slices.Contains(inputs, name) {
			return fmt.Errorf("%w: it has no tensor %q", graph.ErrModel, name)
		}
	}
	return nil
}

// declarable are dimensions as an output declares them.
func declarable(dims []int64) []int64 {
	out := slices.Clone(dims)
	for i := range out {
		out[i] = max(out[i], graph.Unknown)
	}
	return out
}

// path is what lies between some tensors and another.
type path struct {
	live   map[string]bool // what depends on them, as far as a gradient passes
	needed map[string]bool // of that, what the other depends on
	nodes  []*graph.Node   // which a gradient passes, in the order of the graph
}

func findPath(m *graph.Model, of string, wrt []string) path {
	p := path{live: map[string]bool{}, needed: map[string]bool{of: true}}
	for _, name := range wrt {
		p.live[name] = true
	}
	isLive := func(name string) bool { return name != "" && p.live[name] }
	for _, n := range m.Graph().Node {
		if !flat(n) && slices.ContainsFunc(graph.Uses(n), isLive) {
			for _, o := range n.Output {
				p.live[o] = true
			}
		}
	}
	p.needed[of] = p.live[of]
	for _, n := range slices.Backward(m.Graph().Node) {
		if flat(n) || !slices.ContainsFunc(graph.Uses(n), isLive) ||
			!slices.ContainsFunc(n.Output, func(o string) bool { return p.needed[o] }) {
			continue
		}
		p.nodes = append(p.nodes, n)
		for _, name := range graph.Uses(n) {
			if isLive(name) {
				p.needed[name] = true
			}
		}
	}
	slices.Reverse(p.nodes)
	return p
}

// flat reports whether what a node gives stays the same, or does not exist, when what it reads changes a little.
func flat(n *graph.Node) bool {
	if n.GetOpType() == "Cast" {
		return !graph.IsFloat(graph.CastTo(n))
	}
	return slices.Contains(flatOps, n.GetOpType())
}

var flatOps = []string{"Shape", "Size", "ConstantOfShape", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
	"Not", "And", "Or", "Xor", "ArgMax", "ArgMin", "Floor", "Ceil", "Round", "Sign", "IsNaN", "IsInf", "NonZero",
	"RandomNormalLike", "RandomUniformLike", "EyeLike", "Range"}

// run leads the gradients that were given back through the nodes of a path, and returns those that they cannot pass.
func (t *tape) run(nodes []*graph.Node) (refused []Refusal) {
	for _, n := range slices.Backward(nodes) {
		if err := t.node(n); err != nil {
			refused = append(refused, Refusal{opName(n), n.GetName(), err.Error()})
			for _, name := range graph.Uses(n) { // so that the nodes before it are looked at too
				if t.live[name] && t.dims[name] != nil {
					t.give(name, t.full(t.number(0), name))
				}
			}
		}
	}
	slices.Reverse(refused)
	return refused
}

func (t *tape) node(n *graph.Node) error {
	r, ok := rules[opName(n)]
	if !ok {
		return fmt.Errorf("there is no rule for this operator")
	}
	given := make([]string, len(n.Output))
	for i, out := range n.Output {
		if given[i] = t.sum(out); given[i] != "" && !r.thin {
			given[i] = t.full(given[i], out)
		}
		if given[i] != "" && i > 0 && !r.several {
			return fmt.Errorf("there is no rule for its output %q", out)
		}
	}
	if !slices.ContainsFunc(given, func(d string) bool { return d != "" }) {
		return nil // what it leads to was refused
	}
	for i, name := range n.Input {
		if t.live[name] && t.dims[name] == nil {
			return fmt.Errorf("the shape of its input %q is not known", name)
		}
		if t.live[name] && r.inputs > 0 && i >= r.inputs {
			return fmt.Errorf("there is no rule for a gradient by its input %q", name)
		}
	}
	for i, name := range n.Output {
		if given[i] != "" && t.dims[name] == nil {
			return fmt.Errorf("the shape of its output %q is not known", name)
		}
	}
	t.fault = nil
	if err := valid(func() error { return r.run(t, n, given) }); err != nil {
		return err
	}
	return t.fault
}

// valid turns the panic of a rule into an error: rules take it that a node has the inputs and attributes that its
// operator asks for, which ONNX Runtime checks, but perhaps has not yet.
func valid(rule func() error) (err error) {
	defer func() {
		switch bad := recover().(type) {
		case nil:
		case runtime.Error:
			err = fmt.Errorf("it is not as its operator asks for: %v", bad)
		default:
			panic(bad)
		}
	}()
	return rule()
}
