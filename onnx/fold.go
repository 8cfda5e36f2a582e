package onnx

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/shape"
)

// merging are the operators that weights are stored otherwise by, or added to; turning those that leave their values as
// they are.
var (
	merging = []string{"Add", "Cast", "Concat", "DequantizeLinear", "MatMul", "Mul", "Sub"}
	turning = []string{"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)

// Fold makes weights of all constants, as [graph.Model.PlainWeights] does, of what a model computes once, when it is
// loaded, and of what no image but its size decides: weights that are stored in float16 or in 8 bits, those that low
// ranks were added to by another training, and tables such as those of rotary embeddings, where their shapes cannot be
// told otherwise. [Load] must have been called.
func Fold(m *graph.Model) error {
	if err := m.PlainWeights(); err != nil {
		return err
	}
	err := foldWeights(m)
	if err == nil {
		err = foldSizes(m)
	}
	if err != nil {
		return fmt.Errorf("weights that are computed of others: %w", err)
	}
	return nil
}

// foldWeights makes weights of the float32 tensors that are computed of weights alone.
func foldWeights(m *graph.Model) error {
	wanted := merged(m)
	if len(wanted) == 0 {
		return nil
	}
	none := graph.Value{Name: "vitft_none", Type: "float32", Shape: []int64{1}}
	part, err := m.Cut([]graph.Value{none}, wanted)
	if err == nil {
		err = part.Inline()
	}
	if err != nil {
		return err
	}
	values, err := computed(part, none.Shape, wanted)
	if err == nil {
		settle(m, wanted, values)
	}
	return err
}

// merged lists the tensors that foldWeights is for, where something reads them that is computed of images.
func merged(m *graph.Model) (list []graph.Value) {
	index, types, shapes := m.Index(), m.Types(), shape.Infer(m)
	alone, other := map[string]bool{}, map[string]bool{} // tensors of weights alone; those that are not as stored
	for name := range index.Weight {
		alone[name] = true
	}
	for _, n := range m.Graph().Node {
		op := n.GetOpType()
		changes := slices.Contains(merging, op)
		ofImages := func(in string) bool { return in != "" && !alone[in] }
		if !changes && !slices.Contains(turning, op) || len(n.Input) == 0 || slices.ContainsFunc(n.Input, ofImages) {
			continue
		}
		o := n.Output[0]
		alone[o] = true
		other[o] = changes || slices.ContainsFunc(n.Input, func(in string) bool { return other[in] })
	}
	for _, n := range m.Graph().Node {
		for _, o := range n.Output {
			read := slices.ContainsFunc(index.Consumers[o], func(n *graph.Node) bool { return !alone[n.Output[0]] })
			if s := shapes[o]; other[o] && read && types[o] == "float32" && graph.Elements(s) > 1 {
				list = append(list, graph.Value{Name: o, Type: "float32", Shape: s})
			}
		}
	}
	return list
}

// foldSizes makes weights of the float32 tensors of unknown shapes that are computed of shapes, and are the same for
// any number of images.
func foldSizes(m *graph.Model) error {
	wanted := sized(m)
	if len(wanted) == 0 || len(m.Inputs()) != 1 {
		return nil
	}
	input := m.Inputs()[0]
	images := func(n int64) []int64 { return append([]int64{n}, input.Shape[1:]...) }
	if input.Shape[0] > 0 {
		images = func(int64) []int64 { return input.Shape }
	}
	if slices.Min(images(1)) < 1 {
		return nil // of any size
	}
	// First the shapes, as numbers behind their rank.
	const most = 8
	asked := m.Copy()
	b := graph.NewBuilder(asked, "vitft_fold")
	zeros := b.Int64s("zeros", []int64{most}, make([]int64, most)...)
	begin, end := b.Int64s("begin", []int64{1}, 0), b.Int64s("end", []int64{1}, most+1)
	var outputs []graph.Value
	for _, v := range wanted {
		dims := b.Node("Shape", []string{v.Name}, "")
		rank := b.Node("Shape", []string{dims}, "")
		padded := b.Node("Concat", []string{rank, dims, zeros}, "", graph.IntAttr("axis", 0))
		cut := b.Node("Slice", []string{padded, begin, end}, "")
		outputs = append(outputs, graph.Value{Name: b.Cast(cut, "", "float32"), Type: "float32",
			Shape: []int64{most + 1}})
	}
	asked.SetOutputs(outputs...)
	asked.Prune()
	two, three, err := ofTwoAndThree(asked, images, outputs)
	if err != nil {
		return err
	}
	var known []graph.Value
	for i, v := range wanted {
		if rank := int(two[i][0]); rank >= 1 && rank <= most && slices.Equal(two[i], three[i]) {
			for _, d := range two[i][1 : rank+1] {
				v.Shape = append(v.Shape, int64(d))
			}
			known = append(known, v)
		}
	}
	if len(known) == 0 {
		return nil
	}
	part, err := m.Cut(m.Inputs(), known)
	if err != nil {
		return err
	}
	if two, three, err = ofTwoAndThree(part, images, known); err != nil {
		return err
	}
	var same []graph.Value
	var values [][]float32
	for i, v := range known {
		if slices.Equal(two[i], three[i]) {
			same, values = append(same, v), append(values, two[i])
		}
	}
	settle(m, same, values)
	return nil
}

// ofTwoAndThree is what a model gives for two images and for three.
func ofTwoAndThree(m *graph.Model, images func(int64) []int64, outputs []graph.Value) (two, three [][]float32,
	err error) {
	if two, err = computed(m, images(2), outputs); err == nil {
		three, err = computed(m, images(3), outputs)
	}
	return two, three, err
}

// computed is what a model gives for images that are black.
func computed(m *graph.Model, images []int64, outputs []graph.Value) ([][]float32, error) {
	size := bytesOf(images)
	for _, v := range outputs {
		size += bytesOf(v.Shape)
	}
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("%w: they take %.3g GB, and an ONNX file cannot exceed 2 GB", graph.ErrModel, size/1e9)
	}
	text, err := m.Bytes()
	if err != nil {
		return nil, err
	}
	s, err := NewSession(text, SessionOptions{Provider: CPU, ExternalDataDir: m.Dir()})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var values [][]float32
	var out []Tensor
	for _, v := range outputs {
		x := make([]float32, graph.Elements(v.Shape))
		values, out = append(values, x), append(out, Tensor{Shape: v.Shape, Data: x})
	}
	in := Tensor{Shape: images, Data: make([]float32, graph.Elements(images))}
	return values, s.Run(context.Background(), []Tensor{in}, out)
}

// bytesOf is how many a float32 tensor takes, whatever a damaged model says of it.
func bytesOf(shape []int64) float64 {
	size := 4.0
	for _, d := range shape {
		size *= float64(d)
	}
	return size
}

// settle makes weights of tensors.
func settle(m *graph.Model, of []graph.Value, values [][]float32) {
	g := m.Graph()
	for i, v := range of {
		g.Node = slices.DeleteFunc(g.Node, func(n *graph.Node) bool { return slices.Contains(n.Output, v.Name) })
		t := graph.FloatTensor(v.Shape, values[i])
		t.Name = &v.Name
		g.Initializer = append(g.Initializer, t)
	}
	m.Prune()
}

// sized lists the tensors that foldSizes is for, where something reads them that is computed of images.
func sized(m *graph.Model) (list []graph.Value) {
	const (
		ofSizes = 1 + iota
		ofImages
	)
	of, types, shapes := map[string]int{}, m.Types(), shape.Infer(m)
	for _, v := range m.Inputs() {
		of[v.Name] = ofImages
	}
	index := m.Index()
	for _, n := range m.Graph().Node {
		kind := 0
		for _, in := range graph.Uses(n) {
			kind = max(kind, of[in])
		}
		switch op := n.GetOpType(); {
		case op == "Shape" || op == "Size":
			kind = min(kind, ofSizes)
		case strings.HasPrefix(op, "Random") || op == "Multinomial" || op == "Bernoulli":
			kind = ofImages
		}
		for _, o := range n.Output {
			of[o] = kind
		}
	}
	images := func(n *graph.Node) bool { return of[n.Output[0]] == ofImages }
	for _, n := range m.Graph().Node {
		o := n.Output[0]
		unknown := shapes[o] == nil || len(shapes[o]) > 0 && slices.Contains(shapes[o][1:], graph.Unknown)
		if of[o] == ofSizes && len(n.Output) == 1 && types[o] == "float32" && unknown &&
			slices.ContainsFunc(index.Consumers[o], images) {
			list = append(list, graph.Value{Name: o, Type: "float32"})
		}
	}
	return list
}
