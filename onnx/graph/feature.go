package graph

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// find makes all choices, in the order that later ones need.
func (f *finder) find() {
	f.supported()
	if f.failed() {
		return
	}
	f.traceInputs()
	tensor, pooling := f.chooseTensor()
	if f.failed() {
		return
	}
	f.result.Feature = Feature{Tensor: tensor, Pooling: pooling, Dim: unknown}
	f.findImage(tensor)
	if f.failed() {
		return
	}
	f.choosePooling()
	f.sameEachTime(tensor)
	f.kind()
}

// chooseTensor returns the tensor to make the feature of. The pooling it returns is [PoolAuto] unless settled by the
// choice.
func (f *finder) chooseTensor() (string, Pooling) {
	want := f.want.Pooling
	if want == "" {
		want = PoolAuto
	}
	if t := f.want.Tensor; t != "" {
		if f.producer[t] == nil {
			f.problem("it has no tensor %q; its outputs are %s", t, names(f.result.Outputs))
			return "", ""
		}
		f.reason("tensor %s was asked for", t)
		if want == PoolLogits {
			return f.classifier(t)
		}
		return t, want
	}
	outs := f.imageOutputs()
	if f.failed() {
		return "", ""
	}
	if want == PoolLogits {
		return f.lastClassifier(outs)
	}
	if want == PoolCLS || want == PoolMean || want == PoolCLSMean {
		v, ok := pick(outs, func(v Value) bool { return isTokens(v) || want == PoolMean && len(v.Shape) == 4 }, tokenNames)
		if !ok {
			f.problem("pooling %s needs tokens [B,N,D], and no output has them; the outputs are %s: name the tensor inside the graph, or another pooling", want, describe(outs))
			return "", ""
		}
		f.reason("output %s holds the tokens that pooling %s needs", v.Name, want)
		return v.Name, want
	}
	return f.autoTensor(outs, want)
}

// autoTensor goes by names first, then by shapes and structure.
func (f *finder) autoTensor(outs []Value, want Pooling) (string, Pooling) {
	tokens, hasTokens := pick(outs, isTokens, tokenNames)
	if v, ok := named(outs, isVector, pooledNames); ok {
		if want == PoolAuto && hasTokens && f.endsInTanh(v.Name) {
			f.reason("output %s is BERT's pooler, a dense layer and a tanh that image encoders leave untrained; the tokens are used instead", v.Name)
		} else {
			f.reason("output %s is a pooled embedding by name and shape %v", v.Name, v.Shape)
			return v.Name, PoolOutput
		}
	}
	var classifiers []Value
	for _, v := range outs {
		switch {
		case !isVector(v):
		case f.isClassifier(v):
			classifiers = append(classifiers, v)
		case want == PoolAuto && hasTokens && f.endsInTanh(v.Name):
		default:
			f.reason("output %s has the shape of an embedding, %v, and is not named or built like a classifier", v.Name, v.Shape)
			return v.Name, PoolOutput
		}
	}
	if hasTokens && want == PoolAuto {
		f.reason("output %s holds the tokens of the last layer, %v", tokens.Name, tokens.Shape)
		return tokens.Name, PoolAuto
	}
	if want == PoolOutput {
		f.problem("no output is a pooled embedding [B,D]; the outputs are %s: use another pooling, or name the tensor inside the graph", describe(outs))
		return "", ""
	}
	if len(classifiers) > 0 {
		return f.lastClassifier(classifiers)
	}
	for _, v := range outs {
		if len(v.Shape) == 4 {
			f.reason("output %s is a feature map %v", v.Name, v.Shape)
			return v.Name, PoolMean
		}
	}
	return f.lastClassifier(outs)
}

var (
	pooledNames = []string{"embedding", "embeddings", "imageembeds", "imageembedding", "imageembeddings", "imagefeatures", "pooleroutput", "pooledoutput",
		"xnormclstoken", "clstoken", "classtoken", "clsembedding", "clsfeature", "features", "feature", "feats", "feat"}
	tokenNames = []string{"lasthiddenstate", "hiddenstates", "hiddenstate", "tokens", "xprenorm", "features", "feature"}
	logitWords = []string{"logit", "prob", "score", "pred", "softmax", "class"}
)

// plain reduces a name to what the lists above compare: lower case, letters only.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, name)
}

// named returns the output that fits and whose name stands first in the list; of several such, as hidden_states.0 to
// hidden_states.12, the last.
func named(outs []Value, fits func(Value) bool, list []string) (Value, bool) {
	for _, name := range list {
		for _, v := range slices.Backward(outs) {
			if fits(v) && plain(v.Name) == name {
				return v, true
			}
		}
	}
	return Value{}, false
}

// pick prefers a name of the list and takes the last output that fits otherwise.
func pick(outs []Value, fits func(Value) bool, list []string) (Value, bool) {
	if v, ok := named(outs, fits, list); ok {
		return v, true
	}
	for _, v := range slices.Backward(outs) {
		if fits(v) {
			return v, true
		}
	}
	return Value{}, false
}

func isVector(v Value) bool { return len(v.Shape) == 2 }
func isTokens(v Value) bool { return len(v.Shape) == 3 && !scores(v.Name) }

// scores reports whether a name is one that classifiers give their output.
func scores(name string) bool {
	return slices.ContainsFunc(logitWords, func(w string) bool { return strings.Contains(strings.ToLower(name), w) })
}

// imageOutputs returns the floating-point outputs that depend on one image input and nothing else.
func (f *finder) imageOutputs() []Value {
	images := f.imageCandidates()
	if len(images) == 0 {
		kind := ""
		for _, v := range f.result.Inputs {
			if strings.Contains(v.Name, "input_ids") || strings.Contains(v.Name, "token") {
				kind = " (a text model)"
			}
		}
		f.problem("it takes no images: its inputs are %s%s, need one [B,3,H,W]", describe(f.result.Inputs), kind)
		return nil
	}
	var outs []Value
	for _, v := range f.result.Outputs {
		if on := f.dependsOn(v.Name); len(on) == 1 && images[on[0]] && strings.HasPrefix(v.Type, "float") {
			outs = append(outs, v)
		}
	}
	if len(outs) == 0 {
		f.problem("no output depends on the image alone: its inputs are %s, its outputs %s; export the image half by itself, or name a tensor inside it", describe(f.result.Inputs), describe(f.result.Outputs))
	}
	if len(f.result.Inputs) > 1 && len(outs) > 0 {
		f.reason("of the inputs %s only %s is needed", names(f.result.Inputs), f.dependsOn(outs[0].Name)[0])
	}
	return outs
}

func (f *finder) imageCandidates() map[string]bool {
	m := map[string]bool{}
	for name, v := range f.inputs {
		if (v.Shape == nil || len(v.Shape) == 4) && pixelTypes[v.Type] {
			m[name] = true
		}
	}
	return m
}

var pixelTypes = setOf("float32", "float16", "float64", "uint8")

func (f *finder) endsInTanh(tensor string) bool {
	n := f.producer[tensor]
	for range f.m.proto.Graph.Node {
		if n == nil || (n.GetOpType() != "Identity" && n.GetOpType() != "Cast") {
			break
		}
		n = f.producer[first(n)]
	}
	return n != nil && n.GetOpType() == "Tanh"
}

// choosePooling settles pooling, prefix and width of the chosen tensor.
func (f *finder) choosePooling() {
	ft := &f.result.Feature
	s := f.shapes.of(ft.Tensor)
	batch := f.result.Image.Batch
	if len(s) > 0 && batch == unknown { // it was inferred for some batch
		s[0] = unknown
	}
	ft.Shape = s
	switch {
	case len(s) == 2:
		if ft.Pooling == PoolCLS || ft.Pooling == PoolMean || ft.Pooling == PoolCLSMean {
			f.problem("pooling %s needs tokens [B,N,D], and %s is %v", ft.Pooling, ft.Tensor, s)
		}
		if ft.Pooling == PoolAuto {
			ft.Pooling = PoolOutput
		}
		ft.Dim = s[1]
	case len(s) == 3:
		f.poolTokens(s)
	case len(s) == 4:
		if ft.Pooling == PoolCLS || ft.Pooling == PoolCLSMean || ft.Pooling == PoolOutput {
			f.problem("pooling %s does not apply to the feature map %s %v; use mean", ft.Pooling, ft.Tensor, s)
		}
		ft.Pooling, ft.Dim = PoolMean, s[1]
		if f.channelsLast(ft.Tensor, s) {
			ft.Layout, ft.Dim = "NHWC", s[3]
		}
		f.reason("the feature is the mean over the positions of %s %v", ft.Tensor, s)
	case s == nil:
		f.problem("the shape of %s cannot be inferred; run onnx.shape_inference on the model, or name another tensor", ft.Tensor)
	default:
		f.problem("%s has shape %v, need [B,D], [B,N,D] or [B,D,h,w]", ft.Tensor, s)
	}
	if f.failed() {
		return
	}
	if ft.Dim < 1 {
		f.problem("the length of the feature, the last dimension of %s %v, cannot be inferred; run onnx.shape_inference on the model", ft.Tensor, s)
	}
	if s[0] > 0 && batch > 0 && s[0] != batch {
		f.problem("%s has shape %v for a batch of %d: it is not one feature per image", ft.Tensor, s, batch)
	}
}

func (f *finder) poolTokens(s []int64) {
	ft := &f.result.Feature
	prefix, cls, why := f.prefixTokens(s[1])
	ft.Prefix = prefix
	switch ft.Pooling {
	case PoolAuto, PoolLogits:
		ft.Pooling = PoolCLS
		if !cls {
			ft.Pooling = PoolMean
		}
		f.reason("%s: pooling %s", why, ft.Pooling)
	case PoolOutput:
		f.problem("pooling pooled needs [B,D], and %s is %v; use cls, mean or cls+mean", ft.Tensor, s)
	default:
		f.reason("%s; pooling %s was asked for", why, ft.Pooling)
		if !cls && ft.Pooling != PoolMean {
			f.problem("pooling %s needs a CLS token, and the model has none; use mean", ft.Pooling)
		}
	}
	ft.Dim = s[2]
	if ft.Pooling == PoolCLSMean && ft.Dim > 0 {
		ft.Dim *= 2
	}
}

// prefixTokens returns how many of n tokens stand before the patches (CLS, distillation, registers), and whether the
// first of them is a CLS token.
func (f *finder) prefixTokens(n int64) (prefix int64, cls bool, why string) {
	put, cls, name := f.prepended()
	im := f.result.Image
	if p := f.patch(); p > 0 && n > 0 && im.Width > 0 && im.Height > 0 {
		grid := (im.Height / p) * (im.Width / p)
		switch k := n - grid; {
		case k == 0:
			return 0, false, fmt.Sprintf("%d tokens for %d patches of %d px: no CLS token", n, grid, p)
		case k > 0 && k <= 64 && put != 0 && !cls:
			return k, false, fmt.Sprintf("%d tokens for %d patches of %d px: %d registers (%s) before them, no CLS token", n, grid, p, k, name)
		case k > 0 && k <= 64:
			return k, true, fmt.Sprintf("%d tokens for %d patches of %d px: %d before them, CLS first", n, grid, p, k)
		}
	}
	if put > 0 {
		prefix = put
		for k := put; k <= put+16; k++ { // registers may have been put in later
			if isSquare(n - k) {
				prefix = k
				break
			}
		}
		if cls {
			return prefix, true, fmt.Sprintf("the constant token %s is put before the patches: a CLS token", name)
		}
		return prefix, false, fmt.Sprintf("the constant tokens %s are put before the patches: registers, no CLS token", name)
	}
	if isSquare(n) {
		return 0, false, fmt.Sprintf("%d tokens, a square: no CLS token", n)
	}
	if isSquare(n - 1) {
		return 1, true, fmt.Sprintf("%d tokens, a square and one: a CLS token", n)
	}
	return 0, false, "no sign of a CLS token"
}

// prepended returns how many constant tokens, perhaps repeated for the batch, the graph first joins in front of computed
// ones, whether the first of them is a CLS token (one that is not named a register) and its name; 0 if there are none.
func (f *finder) prepended() (tokens int64, cls bool, name string) {
	for _, n := range f.m.proto.Graph.Node {
		if n.GetOpType() != "Concat" || len(n.Input) < 2 || len(f.shapes.of(n.Output[0])) != 3 || clampAxis(attrInt(n, "axis", 0), 3) != 1 {
			continue
		}
		for _, part := range n.Input {
			if e := f.producer[part]; e != nil && (e.GetOpType() == "Expand" || e.GetOpType() == "Tile") {
				part = first(e)
			}
			s := f.shapes.of(part)
			if !f.constant(part) || len(s) != 3 || s[1] < 1 {
				if tokens > 0 {
					return tokens, cls, name
				}
				break
			}
			if tokens == 0 {
				name, cls = part, s[1] == 1 && !strings.Contains(strings.ToLower(part), "reg")
			}
			tokens += s[1]
		}
		tokens = 0 // all constant
	}
	return 0, false, ""
}

// channelsLast reports whether a feature map is [B,h,w,D] rather than [B,D,h,w], by the operators that made it and, if
// they do not tell, by which two dimensions are alike.
func (f *finder) channelsLast(tensor string, s []int64) bool {
	t := tensor
	for range f.m.proto.Graph.Node {
		n := f.producer[t]
		if n == nil {
			break
		}
		switch op := n.GetOpType(); op {
		case "LayerNormalization", "SkipLayerNormalization", "MatMul", "FusedMatMul":
			return true
		case "Conv", "FusedConv", "BatchNormalization", "MaxPool", "AveragePool":
			return false
		case "Transpose":
			if a := attr(n, "perm"); a != nil && len(a.Ints) == 4 {
				return a.Ints[3] == 1 // what was second
			}
			return s[1] == s[2] && s[2] != s[3]
		case "Add", "Mul":
			if w := f.shapes.of(second(n)); f.constant(second(n)) && len(w) == 1 && w[0] > 1 {
				return true // one value for each element of the last dimension
			}
			t = first(n)
			continue
		default:
			if !sameShape[op] {
				return s[1] == s[2] && s[2] != s[3]
			}
		}
		t = first(n)
	}
	return s[1] == s[2] && s[2] != s[3]
}

func isSquare(n int64) bool {
	if n < 4 {
		return false
	}
	r := int64(math.Round(math.Sqrt(float64(n))))
	return r*r == n
}

// kind says whether the model has attention. It is advice only: any encoder with one vector per image will do.
func (f *finder) kind() {
	attention := 0
	outputs := map[string]bool{} // the Softmax of a classifier is no attention
	for _, v := range f.m.proto.Graph.Output {
		outputs[v.GetName()] = true
	}
	for _, n := range f.m.proto.Graph.Node {
		if outputs[n.GetOutput()[0]] {
			continue
		}
		switch n.GetOpType() {
		case "Softmax", "Attention", "MultiHeadAttention", "GroupQueryAttention", "PackedAttention":
			attention++
		}
	}
	if attention == 0 {
		f.reason("no attention found: probably a convolutional network, which serves as well")
		return
	}
	f.reason("a transformer: %d attention blocks", attention)
}

func names(vs []Value) string {
	list := make([]string, len(vs))
	for i, v := range vs {
		list[i] = v.Name
	}
	return strings.Join(list, ", ")
}

func describe(vs []Value) string {
	list := make([]string, len(vs))
	for i, v := range vs {
		list[i] = fmt.Sprintf("%s %s %v", v.Name, v.Type, v.Shape)
	}
	return strings.Join(list, ", ")
}
