package vision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitft/vitft/onnx/graph"
)

// chooseTensor returns the tensor to make the feature of. The pooling it returns is [PoolAuto] unless settled by the
// choice.
func (f *finder) chooseTensor() (string, Pooling) {
	want := f.want.Pooling
	if want == "" {
		want = PoolAuto
	}
	if t := f.want.Tensor; t != "" {
		if f.index.Producer(t) == nil {
			f.problem("it has no tensor %q; its outputs are %s", t, names(f.result.Outputs))
			return "", ""
		}
		f.reason("tensor %s was asked for", t)
		if want == PoolLogits {
			return f.lastClassifier([]graph.Value{{Name: t}})
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
		fits := func(v graph.Value) bool { return isTokens(v) || want == PoolMean && len(v.Shape) == 4 }
		v, ok := pick(outs, fits, tokenNames)
		if !ok {
			f.problem("pooling %s needs tokens [B,N,D], and no output has them; the outputs are %s: name the tensor inside the "+
				"graph, or another pooling", want, describe(outs))
			return "", ""
		}
		f.reason("output %s holds the tokens that pooling %s needs", v.Name, want)
		return v.Name, want
	}
	return f.autoTensor(outs, want)
}

// autoTensor goes by names first, then by shapes and structure.
func (f *finder) autoTensor(outs []graph.Value, want Pooling) (string, Pooling) {
	tokens, hasTokens := pick(outs, isTokens, tokenNames)
	if v, ok := named(outs, isVector, pooledNames); ok {
		if want == PoolAuto && hasTokens && f.endsInTanh(v.Name) {
			f.reason("output %s is BERT's pooler, a dense layer and a tanh that image encoders leave untrained; the tokens are used "+
				"instead", v.Name)
		} else {
			f.reason("output %s is a pooled embedding by name and shape %v", v.Name, v.Shape)
			return v.Name, PoolOutput
		}
	}
	var classifiers []graph.Value
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
		f.problem("no output is a pooled embedding [B,D]; the outputs are %s: use another pooling, or name the tensor inside "+
			"the graph", describe(outs))
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
	pooledNames = []string{"embedding", "embeddings", "imageembeds", "imageembedding", "imageembeddings",
		"imagefeatures", "pooleroutput", "pooledoutput", "xnormclstoken", "clstoken", "classtoken", "clsembedding", "clsfeature",
		"features", "feature", "feats", "feat"}
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
	if v, ok := named(outs, fits, list); ok {
		return v, true
	}
	for _, v := range slices.Backward(outs) {
		if fits(v) {
			return v, true
		}
	}
	return graph.Value{}, false
}

func isVector(v graph.Value) bool { return len(v.Shape) == 2 }
func isTokens(v graph.Value) bool { return len(v.Shape) == 3 && !scores(v.Name) }

// scores reports whether a name is one that classifiers give their output.
func scores(name string) bool {
	return slices.ContainsFunc(logitWords, func(w string) bool { return strings.Contains(strings.ToLower(name), w) })
}

// imageOutputs returns the floating-point outputs that depend on one image input and nothing else.
func (f *finder) imageOutputs() []graph.Value {
	if !slices.ContainsFunc(f.inputs, mayBeImage) {
		kind := ""
		for _, v := range f.inputs {
			if strings.Contains(v.Name, "input_ids") || strings.Contains(v.Name, "token") {
				kind = " (a text model)"
			}
		}
		f.problem("it takes no images: its inputs are %s%s, need one [B,3,H,W]", describe(f.inputs), kind)
		return nil
	}
	var outs []graph.Value
	for _, v := range f.result.Outputs {
		if on := f.dependsOn(v.Name); len(on) == 1 && mayBeImage(on[0]) && strings.HasPrefix(v.Type, "float") {
			outs = append(outs, v)
		}
	}
	if len(outs) == 0 {
		f.problem("no output depends on the image alone: its inputs are %s, its outputs %s; export the image half by itself, or "+
			"name a tensor inside it", describe(f.inputs), describe(f.result.Outputs))
	} else if len(f.inputs) > 1 {
		f.reason("of the inputs %s only %s is needed", names(f.inputs), f.dependsOn(outs[0].Name)[0].Name)
	}
	return outs
}

func names(vs []graph.Value) string {
	list := make([]string, len(vs))
	for i, v := range vs {
		list[i] = v.Name
	}
	return strings.Join(list, ", ")
}

func describe(vs []graph.Value) string {
	list := make([]string, len(vs))
	for i, v := range vs {
		list[i] = fmt.Sprintf("%s %s %v", v.Name, v.Type, v.Shape)
	}
	return strings.Join(list, ", ")
}
