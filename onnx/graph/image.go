package graph

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// traceInputs finds out which graph inputs each tensor depends on: a bit per input, in the order of Inspection.Inputs.
func (f *finder) traceInputs() {
	f.deps = map[string]uint64{}
	for i, v := range f.result.Inputs {
		f.deps[v.Name] = 1 << i
	}
	for _, n := range f.m.proto.Graph.Node {
		var set uint64
		for _, name := range uses(n) {
			set |= f.deps[name]
		}
		for _, o := range n.Output {
			f.deps[o] = set
		}
	}
}

func (f *finder) dependsOn(tensor string) []string {
	var list []string
	for set := f.deps[tensor]; set != 0; set &= set - 1 {
		list = append(list, f.result.Inputs[bits.TrailingZeros64(set)].Name)
	}
	return list
}

// constant reports whether a tensor depends on no input.
func (f *finder) constant(tensor string) bool {
	return tensor != "" && f.deps[tensor] == 0 && (f.weights[tensor] != nil || f.producer[tensor] != nil)
}

// uses returns the tensors that a node reads, those that its subgraphs take from outside included.
func uses(n *onnxpb.NodeProto) []string {
	list := slices.Clone(n.Input)
	for _, a := range n.Attribute {
		for _, g := range subgraphs(a) {
			inner := map[string]bool{}
			for _, v := range g.Input {
				inner[v.GetName()] = true
			}
			for _, t := range g.Initializer {
				inner[t.GetName()] = true
			}
			for _, sub := range g.Node {
				for _, o := range sub.Output {
					inner[o] = true
				}
			}
			for _, sub := range g.Node {
				for _, name := range uses(sub) {
					if !inner[name] {
						list = append(list, name)
					}
				}
			}
			for _, v := range g.Output {
				if !inner[v.GetName()] {
					list = append(list, v.GetName())
				}
			}
		}
	}
	return list
}

func subgraphs(a *onnxpb.AttributeProto) []*onnxpb.GraphProto {
	if a.G == nil {
		return a.Graphs
	}
	return append([]*onnxpb.GraphProto{a.G}, a.Graphs...)
}

// findImage settles layout, type, batch and size of the image input that a tensor depends on.
func (f *finder) findImage(tensor string) {
	on := f.dependsOn(tensor)
	if len(on) == 0 {
		f.problem("%s depends on no input", tensor)
		return
	}
	if len(on) > 1 {
		f.problem("%s depends on the inputs %s, not on the image alone; name a tensor inside the image half", tensor, strings.Join(on, ", "))
		return
	}
	v := f.inputs[on[0]]
	if !pixelTypes[v.Type] || (v.Shape != nil && len(v.Shape) != 4) {
		f.problem("%s depends on the input %s %s %v, which is no image [B,3,H,W]", tensor, v.Name, v.Type, v.Shape)
		return
	}
	shape := v.Shape
	if shape == nil {
		shape = []int64{unknown, unknown, unknown, unknown}
	}
	im := ImageInput{Input: v.Name, Type: v.Type, Layout: f.layout(v.Name, shape), Batch: shape[0]}
	channels := shape[1]
	im.Height, im.Width = shape[2], shape[3]
	if im.Layout == "NHWC" {
		channels, im.Height, im.Width = shape[3], shape[1], shape[2]
	}
	f.result.Image = im
	if channels == unknown && f.stem != nil {
		if w := f.shapes.of(second(f.stem)); len(w) == 4 {
			channels = w[1]
		}
	}
	if channels != 3 && channels != unknown {
		f.problem("it takes images of %d channels, need 3 (RGB)", channels)
		return
	}
	if v.Type == "uint8" {
		f.reason("the model takes bytes and normalises them itself: give it pixels in [0,1], mean 0 and standard deviation 1")
	}
	if im.Layout == "NHWC" {
		f.reason("the model takes images channels last; a transposition is put before it")
	}
	f.size()
	im = f.result.Image
	f.infer()
	f.fits()
	if f.result.Feature.Pooling == PoolLogits {
		if n := f.consumer(tensor, "Gemm", "FusedGemm", "MatMul", "FusedMatMul"); n != nil {
			f.widthFromWeights(tensor, n)
		}
	}
}

// infer repeats the inference of shapes with what is known of the image by now. An open batch is taken to be of some
// images: exporters compute shapes from it, and from an unknown number nothing follows.
func (f *finder) infer() {
	const some = 2 // one would be squeezed away
	im := f.result.Image
	batch := im.Batch
	if batch == unknown {
		batch = some
	}
	fixed := []int64{batch, 3, im.Height, im.Width}
	if im.Layout == "NHWC" {
		fixed = []int64{batch, im.Height, im.Width, 3}
	}
	f.shapes = inferShapes(f.m, Value{Name: im.Input, Shape: fixed})
}

func (f *finder) consumer(tensor string, ops ...string) *onnxpb.NodeProto {
	for _, n := range f.m.proto.Graph.Node {
		if slices.Contains(ops, n.GetOpType()) && first(n) == tensor {
			return n
		}
	}
	return nil
}

// layout also finds the stem: the convolution that the image enters.
func (f *finder) layout(name string, shape []int64) string {
	nhwc := false
	for range 16 { // a few steps of normalisation at most
		n := f.consumer(name, "Cast", "Identity", "Sub", "Div", "Mul", "Add", "Transpose", "Conv", "FusedConv", "Pad")
		if n == nil {
			break
		}
		if strings.HasSuffix(n.GetOpType(), "Conv") {
			f.stem = n
			break
		}
		if a := attr(n, "perm"); a != nil && slices.Equal(a.Ints, []int64{0, 3, 1, 2}) {
			nhwc = true
		}
		name = n.Output[0]
	}
	switch {
	case shape[1] == 3:
		return "NCHW"
	case shape[3] == 3, nhwc && shape[1] == unknown:
		return "NHWC"
	}
	return "NCHW"
}

// patch returns the size of the patches in pixels: the stride of a stem whose kernel is as large, 0 if there is none.
func (f *finder) patch() int64 {
	if f.stem == nil {
		return 0
	}
	w, a := f.shapes.of(second(f.stem)), attr(f.stem, "strides")
	if len(w) != 4 || a == nil || len(a.Ints) != 2 || a.Ints[0] != a.Ints[1] || a.Ints[0] != w[2] || w[2] != w[3] || w[2] < 2 {
		return 0
	}
	return w[2]
}

// size settles the image size: the model's own, else the wanted one, else the one its position embedding is for.
func (f *finder) size() {
	im := &f.result.Image
	for _, d := range []struct {
		name string
		has  *int64
		want int
	}{{"width", &im.Width, f.want.Width}, {"height", &im.Height, f.want.Height}} {
		switch {
		case d.want == 0:
		case *d.has == unknown:
			*d.has = int64(d.want)
			f.reason("image %s %d was asked for", d.name, d.want)
		case *d.has != int64(d.want):
			f.problem("it takes images of %s %d only, not %d", d.name, *d.has, d.want)
		}
	}
	if im.Width != unknown || im.Height != unknown {
		return
	}
	for _, c := range f.positions() {
		for prefix := int64(0); prefix <= 2; prefix++ { // none, CLS, CLS and distillation
			if grid := c.constant[1] - prefix; isSquare(grid) {
				im.Width = f.patch() * int64(math.Sqrt(float64(grid)))
				im.Height = im.Width
				f.reason("image size %d follows from the position embedding %v and patches of %d px", im.Width, c.constant, f.patch())
				return
			}
		}
	}
}

// position is an Add node that looks like that of a position embedding [1,N,D].
type position struct {
	node               *onnxpb.NodeProto
	constant, computed []int64 // shapes
}

func (f *finder) positions() []position {
	if f.patch() == 0 {
		return nil
	}
	var list []position
	for _, n := range f.m.proto.Graph.Node {
		if n.GetOpType() != "Add" || len(n.Input) != 2 {
			continue
		}
		for i, name := range n.Input {
			if s := f.shapes.of(name); f.constant(name) && !f.constant(n.Input[1-i]) && len(s) == 3 && s[0] == 1 {
				list = append(list, position{n, s, f.shapes.of(n.Input[1-i])})
			}
		}
	}
	return list
}

// fits sees that a size that the file leaves open is not settled inside, by a position embedding.
func (f *finder) fits() {
	for _, p := range f.positions() {
		if len(p.computed) == 3 && p.computed[1] > 1 && p.constant[1] > 1 && p.computed[1] != p.constant[1] {
			f.problem("it declares images of any size, but its position embedding has %d tokens (%s %q), and images of %d×%d make %d: give the size that it was exported for, or export it with interpolation of positions",
				p.constant[1], p.node.GetOpType(), p.node.GetName(), f.result.Image.Width, f.result.Image.Height, p.computed[1])
			return
		}
	}
}
