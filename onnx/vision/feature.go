package vision

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// chooseTensor returns the tensor to make the feature of, and the pooling if that settles it, else [PoolAuto].
func (f *finder) chooseTensor() (string, Pooling) {
	want, asked := cmp.Or(f.want.Pooling, PoolAuto), f.want.Tensor
	outs := []graph.Value{{Name: asked}}
	if asked == "" {
		outs = f.imageOutputs()
	} else if f.index.Producer[asked] == nil {
		f.refuseName(asked)
	} else if t := declaredType(f.model, asked); t != "" && !graph.IsFloat(t) {
		f.problem("%s holds numbers of type %s, and a feature is of floating-point numbers", asked, t)
	} else {
		f.reason("tensor %s was asked for", asked)
	}
	switch {
	case f.failed():
		return "", ""
	case want == PoolLogits:
		return f.lastClassifier(outs)
	case asked != "":
		return asked, want
	case want == PoolAuto || want == PoolOutput:
		return f.autoTensor(outs, want)
	}
	fits := func(v graph.Value) bool { return f.isTokens(v) || want == PoolMean && isMap(v) }
	v, ok := pick(f.encoded(outs), fits, tokenNames)
	if !ok {
		f.problem("pooling %s needs tokens [B,N,D], and no output has them; the outputs are %s: name the tensor "+
			"inside the graph, or another pooling", want, describe(outs))
		return "", ""
	}
	f.reason("output %s holds the tokens that pooling %s needs", v.Name, want)
	return v.Name, want
}

// autoTensor goes by names first, then by shapes and structure.
func (f *finder) autoTensor(outs []graph.Value, want Pooling) (string, Pooling) {
	own := slices.DeleteFunc(slices.Clone(outs), f.foreign)
	tokens, hasTokens := pick(own, f.isTokens, tokenNames)
	pooler := func(v graph.Value) bool { return want == PoolAuto && hasTokens && f.endsInTanh(v.Name) }
	if v, ok := named(outs, isVector, pooledNames); ok && !pooler(v) {
		f.reason("output %s is a pooled embedding by name and shape %v", v.Name, v.Shape)
		return v.Name, PoolOutput
	} else if ok {
		f.reason("output %s is BERT's pooler, a dense layer and a tanh that image encoders leave untrained; the "+
			"tokens are used instead", v.Name)
	}
	var classifiers []graph.Value
	for _, v := range outs {
		if isVector(v) && (f.isClassifier(v) || f.decided[v.Name] || f.isNarrow(v)) {
			classifiers = append(classifiers, v)
		} else if isVector(v) && !pooler(v) {
			f.reason("output %s has the shape of an embedding, %v, and is not named or built like a classifier", v.Name,
				v.Shape)
			return v.Name, PoolOutput
		}
	}
	if hasTokens && want == PoolAuto {
		f.reason("output %s holds the tokens of the last layer, %v", tokens.Name, tokens.Shape)
		return tokens.Name, PoolAuto
	}
	if want == PoolOutput {
		f.problem("no output is a pooled embedding [B,D]; the outputs are %s: use another pooling, or name the tensor "+
			"inside the graph", describe(outs))
		return "", ""
	}
	if len(classifiers) > 0 {
		return f.lastClassifier(classifiers)
	}
	if !slices.ContainsFunc(own, isMap) {
		outs = f.encoded(outs)
		if v, ok := pick(outs, f.isTokens, tokenNames); ok {
			f.reason("%s holds tokens %v", v.Name, v.Shape)
			return v.Name, PoolAuto
		}
	}
	if i := slices.IndexFunc(outs, isMap); i >= 0 {
		f.reason("output %s is a feature map %v", outs[i].Name, outs[i].Shape)
		return outs[i].Name, PoolMean
	}
	return f.lastClassifier(outs)
}

var (
	pooledNames = []string{"embedding", "embeddings", "imageembeds", "imageembedding", "imageembeddings",
		"imagefeatures", "pooleroutput", "pooledoutput", "xnormclstoken", "clstoken", "classtoken", "clsembedding",
		"clsfeature", "features", "feature", "feats", "feat"}
	tokenNames = []string{"lasthiddenstate", "hiddenstates", "hiddenstate", "tokens", "xprenorm", "features", "feature"}
	logitWords = []string{"logit", "prob", "score", "pred", "softmax", "class"}
)

// plain reduces a name to what the lists above compare: lower case, letters only.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// named returns the output that fits and whose name stands first in the list; of hidden_states.0 to .12 the last.
func named(outs []graph.Value, fits func(graph.Value) bool, list []string) (graph.Value, bool) {
	for _, name := range list {
		for _, v := range slices.Backward(outs) {
			if fits(v) && plain(v.Name) == name {
				return v, true
			}
		}
	}
	return graph.Value{}, false
}

// pick prefers a name of the list and takes the last output that fits otherwise.
func pick(outs []graph.Value, fits func(graph.Value) bool, list []string) (graph.Value, bool) {
	v, ok := named(outs, fits, list)
	for _, last := range slices.Backward(outs) {
		if !ok && fits(last) {
			v, ok = last, true
		}
	}
	return v, ok
}

func isVector(v graph.Value) bool { return len(v.Shape) == 2 }
func isMap(v graph.Value) bool    { return len(v.Shape) == 4 }

// isTokens reports whether a value holds tokens, of an output also by its name.
func (f *finder) isTokens(v graph.Value) bool {
	inner := !slices.Contains(graph.Names(f.result.Outputs), v.Name)
	return len(v.Shape) == 3 && (inner || !scores(v.Name))
}

// scores reports whether a name is one that classifiers give their output.
func scores(name string) bool {
	return slices.ContainsFunc(logitWords, func(w string) bool { return strings.Contains(strings.ToLower(name), w) })
}

// imageOutputs returns the floating-point outputs that depend on one image input and nothing else.
func (f *finder) imageOutputs() []graph.Value {
	if !slices.ContainsFunc(f.inputs, mayBeImage) {
		kind, names := "", list(f.inputs)
		if strings.Contains(names, "input_ids") || strings.Contains(names, "token") {
			kind = " (a text model)"
		} else if slices.ContainsFunc(f.inputs, func(v graph.Value) bool { return v.Type == "uint8" }) {
			kind = " (files that it decodes itself? then export it without that)"
		}
		f.problem("it takes no images: its inputs are %s%s, need one [B,3,H,W]", describe(f.inputs), kind)
		return nil
	}
	var outs []graph.Value
	for _, v := range f.undecided(f.result.Outputs) {
		if on := f.dependsOn(v.Name); len(on) == 1 && mayBeImage(on[0]) && strings.HasPrefix(v.Type, "float") {
			outs = append(outs, v)
		}
	}
	typed := slices.ContainsFunc(f.result.Outputs, func(v graph.Value) bool { return graph.IsFloat(v.Type) })
	if len(outs) == 0 && !typed {
		f.inferEarly()
		f.problem("its outputs %s hold no floating-point numbers, as those behind a selection of boxes; name a tensor "+
			"inside it, such as %s", describe(f.result.Outputs), describe(f.others()[:min(3, len(f.others()))]))
	} else if len(outs) == 0 {
		f.problem("no output depends on the image alone: its inputs are %s, its outputs %s; export the image half by "+
			"itself, or name a tensor inside it", describe(f.inputs), describe(f.result.Outputs))
	} else if len(f.inputs) > 1 {
		f.reason("of the inputs %s only %s is needed", list(f.inputs), f.dependsOn(outs[0].Name)[0].Name)
	}
	return outs
}

// choosePooling settles pooling, prefix and width of the chosen tensor.
func (f *finder) choosePooling(ft Feature, im ImageInput) Feature {
	s := slices.Clone(f.shapes[ft.Tensor])
	if len(s) > 0 && im.Batch == graph.Unknown { // it was inferred for some batch
		if s[0] > some {
			f.problem("%s has %d rows for %d images: it is not one feature per image; name a tensor that has the "+
				"batch in front", ft.Tensor, s[0], some)
		}
		s[0] = graph.Unknown
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
		ft = f.poolTokens(ft, im)
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
		f.problem("the shape of %s cannot be inferred; run onnx.shape_inference on the model, or name another tensor",
			ft.Tensor)
	default:
		f.problem("%s has shape %v, need [B,D], [B,N,D] or [B,D,h,w]", ft.Tensor, s)
	}
	switch {
	case f.failed():
	case ft.Dim < 1:
		f.problem("the length of the feature, the last dimension of %s %v, cannot be inferred; run "+
			"onnx.shape_inference on the model", ft.Tensor, s)
	case s[0] > 0 && im.Batch > 0 && s[0] != im.Batch:
		f.problem("%s has shape %v for a batch of %d: it is not one feature per image", ft.Tensor, s, im.Batch)
	}
	return ft
}

func (f *finder) poolTokens(ft Feature, im ImageInput) Feature {
	if before := f.turned(ft, im); before != "" {
		f.problem("%s %v holds for each channel its value in all tokens; name what is turned so, %s", ft.Tensor,
			ft.Shape, before)
	}
	prefix, cls, why := f.prefixTokens(ft.Shape[1], im)
	ft.Prefix = prefix
	switch ft.Pooling {
	case PoolAuto, PoolLogits:
		ft.Pooling = PoolCLS
		if !cls {
			ft.Pooling = PoolMean
		}
		f.reason("%s: pooling %s", why, ft.Pooling)
	case PoolOutput:
		f.problem("pooling pooled needs [B,D], and %s is %v; use cls, mean or cls+mean", ft.Tensor, ft.Shape)
	default:
		f.reason("%s; pooling %s was asked for", why, ft.Pooling)
		if !cls && ft.Pooling != PoolMean {
			f.problem("pooling %s needs a CLS token, and the model has none; use mean", ft.Pooling)
		}
	}
	ft.Dim = ft.Shape[2]
	if ft.Pooling == PoolCLSMean && ft.Dim > 0 {
		ft.Dim *= 2
	}
	return ft
}

// turned returns what a tensor [B,D,N] is the transposition of, "" if it is none of all tokens.
func (f *facts) turned(ft Feature, im ImageInput) string {
	p := f.patch(im.Input)
	if p < 1 {
		return ""
	}
	grid := (im.Height / p) * (im.Width / p)
	fits := func(n int64) bool { return n >= grid && n <= grid+64 }
	for n := range f.back(ft.Tensor) {
		switch n.GetOpType() {
		case "Transpose":
			perm := graph.Attr(n, "perm").GetInts()
			if slices.Equal(perm, []int64{0, 2, 1}) && fits(ft.Shape[2]) && !fits(ft.Shape[1]) {
				return first(n)
			}
			return ""
		case "Identity", "Cast":
		default:
			return ""
		}
	}
	return ""
}

// prefixTokens returns how many of n tokens (CLS, distillation, registers) precede the patches, and whether CLS leads.
func (f *facts) prefixTokens(n int64, im ImageInput) (prefix int64, cls bool, why string) {
	put, cls, name := f.prepended()
	if p := f.patch(im.Input); p > 0 && n > 0 && im.Width > 0 && im.Height > 0 {
		grid := (im.Height / p) * (im.Width / p)
		count := fmt.Sprintf("%d tokens for %d patches of %d px", n, grid, p)
		switch k := n - grid; {
		case k == 0:
			return 0, false, count + ": no CLS token"
		case k > 0 && k <= 64 && put != 0 && !cls:
			return k, false, fmt.Sprintf("%s: %d registers (%s) before them, no CLS token", count, k, name)
		case k > 0 && k <= 64:
			return k, true, fmt.Sprintf("%s: %d before them, CLS first", count, k)
		}
	}
	if put > 0 {
		prefix = put
		for k := put + 16; k >= put; k-- { // registers may have been put in later
			if isSquare(n - k) {
				prefix = k
			}
		}
		why = "the constant token " + name + " is put before the patches: a CLS token"
		if !cls {
			why = "the constant tokens " + name + " are put before the patches: registers, no CLS token"
		}
		return prefix, cls, why
	}
	switch {
	case isSquare(n):
		return 0, false, fmt.Sprintf("%d tokens, a square: no CLS token", n)
	case isSquare(n - 1):
		return 1, true, fmt.Sprintf("%d tokens, a square and one: a CLS token", n)
	}
	return 0, false, "no sign of a CLS token"
}

func isSquare(n int64) bool {
	r := int64(math.Round(math.Sqrt(float64(max(n, 0)))))
	return n >= 4 && r*r == n
}

func list(values []graph.Value) string { return strings.Join(graph.Names(values), ", ") }

func describe(vs []graph.Value) string {
	var list []string
	for _, v := range vs {
		list = append(list, fmt.Sprintf("%s %s %v", v.Name, v.Type, v.Shape))
	}
	return strings.Join(list, ", ")
}
