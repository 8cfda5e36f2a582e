package artifact_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// embedded is the embedded backbone, cut off at its feature, and its preprocessing.
func embedded() (*graph.Model, vit.Preprocess, error) {
	known := models.Default()
	p, err := vit.ParsePreprocess(known.Preprocess)
	if err != nil {
		return nil, p, err
	}
	text, err := known.Bytes()
	if err != nil {
		return nil, p, err
	}
	m, err := graph.Parse(text)
	if err != nil {
		return nil, p, err
	}
	cut, _, err := vision.Backbone(m, vision.FeatureChoice{Width: p.Width, Height: p.Height})
	return cut, p, err
}

// parts are those of a classifier whose weights are counted up.
func parts(t testing.TB, views int, labels ...string) artifact.Parts {
	t.Helper()
	cut, p, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	const dim = 448
	h := vision.Head{Classes: len(labels), Weight: make([]float32, len(labels)*dim)}
	for i := range h.Weight {
		h.Weight[i] = float32(i) / dim
	}
	return artifact.Parts{Backbone: cut, Views: vision.Views(views), Head: h, Labels: labels, Preprocess: p}
}

func build(t testing.TB, p artifact.Parts) []byte {
	t.Helper()
	model, err := artifact.Build(p)
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func signature(t testing.TB, model []byte) graph.Signature {
	t.Helper()
	sig, err := graph.ReadSignature(model)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// What is built describes itself, and building changes nothing of its parts.
func TestBuildAndDescribe(t *testing.T) {
	for _, views := range []int{1, 2} {
		p := parts(t, views, "crème", `"b"`, "c")
		before, err := p.Backbone.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		model := build(t, p)
		if string(build(t, p)) != string(model) {
			t.Error("the same parts give another file")
		}
		if after, err := p.Backbone.Bytes(); err != nil || string(after) != string(before) {
			t.Errorf("the backbone has changed (%v)", err)
		}
		sig := signature(t, model)
		d, err := artifact.Describe(sig)
		if err != nil || !slices.Equal(d.Labels, p.Labels) || d.Dim != 448 || d.Preprocess != p.Preprocess.Resolved() {
			t.Errorf("it describes itself as %+v (%v)", d, err)
		}
		var outputs []string
		for _, v := range sig.Outputs {
			outputs = append(outputs, v.Name)
		}
		if strings.Join(outputs, " ") != "probabilities logits embedding" || sig.Inputs[0].Name != "pixel_values" {
			t.Errorf("from %v to %q", sig.Inputs, outputs)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	wrong := parts(t, 1, "a", "b")
	wrong.Head.Classes = 3
	if _, err := artifact.Build(wrong); err == nil || !strings.Contains(err.Error(), "3 classes") {
		t.Errorf("three classes with the weights of two: %v", err)
	}
	fixed := parts(t, 2, "a", "b")
	fixed.Views = append(fixed.Views, vision.View{Zoom: -1})
	if _, err := artifact.Build(fixed); err == nil || !strings.Contains(err.Error(), "zoom") {
		t.Errorf("a view from behind: %v", err)
	}
}

// Whatever does not fit together is bad data, and its description says what and what to do.
func TestDescribeRefuses(t *testing.T) {
	model := signature(t, build(t, parts(t, 1, "a", "b")))
	const labels, preprocess = artifact.LabelsKey, artifact.PreprocessKey
	for _, x := range []struct {
		name   string
		change func(s *graph.Signature)
		says   string
	}{
		{"no labels", func(s *graph.Signature) { delete(s.Metadata, labels) }, "vitft export"},
		{"labels that are none", func(s *graph.Signature) { s.Metadata[labels] = "a, b" }, labels},
		{"numbers", func(s *graph.Signature) { s.Metadata[labels] = "[1,2]" }, "it is a number, where a text belongs"},
		{"more labels", func(s *graph.Signature) { s.Metadata[labels] = `["a","b","c"]` }, labels + " names 3"},
		{"no preprocessing", func(s *graph.Signature) { delete(s.Metadata, preprocess) }, "no " + preprocess},
		{"another size", func(s *graph.Signature) { s.Metadata[preprocess] = `{"width":8,"height":9}` }, "8×9"},
		{"no logits", func(s *graph.Signature) { s.Outputs = s.Outputs[:1] }, "no outputs probabilities and logits"},
		{"no classes", func(s *graph.Signature) { s.Outputs, s.Metadata[labels] = nil, "[]" }, "vitft export"},
		{"no shape", func(s *graph.Signature) { s.Inputs = []graph.Value{{Name: "x"}} }, "images of 28×28"},
	} {
		s := model
		s.Metadata = maps.Clone(model.Metadata)
		x.change(&s)
		_, err := artifact.Describe(s)
		if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want it to say %q", x.name, err, x.says)
		}
	}
	model.Outputs = append([]graph.Value{{Name: "more", Shape: []int64{-1, 2, 2}}}, model.Outputs[:2]...)
	if d, err := artifact.Describe(model); err != nil || d.Dim != 0 {
		t.Errorf("without an embedding: %+v, %v", d, err)
	}
}

func TestNameOf(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]string{"a/run": "run", "a/b.onnx": "b", "run/": "run", ".": filepath.Base(here)}
	for path, want := range named {
		if got := artifact.NameOf(path); got != want {
			t.Errorf("%s is called %q, want %q", path, got, want)
		}
	}
}

// A model in every precision stays the same contract; only the exact one is the same file.
func TestPrecisions(t *testing.T) {
	model := build(t, parts(t, 1, "a", "b"))
	names, size := artifact.Precisions(), len(model)
	if !slices.Equal(names, []string{"float32", "float16", "int8"}) {
		t.Fatalf("precisions are %q", names)
	}
	for i, name := range names {
		p, ok := artifact.LookupPrecision(name)
		if !ok || p.Name != name || p.Exact() != (i == 0) {
			t.Fatalf("%s is %+v, %v", name, p, ok)
		}
		text, weights, err := p.Convert(model)
		if err != nil {
			t.Fatal(err)
		}
		if p.Exact() {
			if string(text) != string(model) || weights != 0 {
				t.Errorf("%s is another file, with %d weights changed", name, weights)
			}
			continue
		}
		sig := signature(t, text)
		if _, err := artifact.Describe(sig); err != nil || sig.Metadata[artifact.PrecisionKey] != name {
			t.Errorf("%s: %v, metadata %v", name, err, sig.Metadata)
		}
		if len(text) >= size || weights == 0 {
			t.Errorf("%s: %d bytes and %d weights changed, %s has %d bytes", name, len(text), weights, names[i-1], size)
		}
		size = len(text)
		if _, again, err := p.Convert(text); err == nil {
			t.Errorf("%s: %d weights are converted twice", name, again)
		}
	}
	for _, name := range names[1:] {
		p, _ := artifact.LookupPrecision(name)
		if _, _, err := p.Convert(model[:size/2]); err == nil || fault.Of(err) != fault.Data {
			t.Errorf("%s of half a model: %v", name, err)
		}
	}
	if _, ok := artifact.LookupPrecision("int4"); ok {
		t.Error("there is int4")
	}
}

// A head alone says so, and takes what it says.
func TestHeadAlone(t *testing.T) {
	h := vision.Head{Classes: 2, Weight: []float32{1, 0, 0, 0, 1, 0}, Bias: []float32{0, 1}}
	model, err := artifact.Build(artifact.Parts{Head: h, Dim: 3, Labels: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := graph.ReadSignature(model)
	if err != nil {
		t.Fatal(err)
	}
	d, err := artifact.Describe(sig)
	if err != nil || !d.HeadAlone || d.Dim != 3 || d.Size() != 3 {
		t.Errorf("%+v, %v", d, err)
	}
	sig.Inputs[0].Shape = []int64{-1, 3, 28, 28}
	if _, err := artifact.Describe(sig); err == nil || !strings.Contains(err.Error(), "vitft.input is embedding") {
		t.Errorf("of pixels: %v", err)
	}
}

// For pipelines logits are those that the probabilities are the softmax of, whatever temperatures there are; a model
// without stays as it is, and what is no model of ours is refused.
func TestForPipelines(t *testing.T) {
	for _, temperatures := range [][]float32{nil, {2}, {2, 3}} {
		p := parts(t, 1, "a", "b")
		p.Head.Temperature = temperatures
		model := build(t, p)
		made, err := artifact.ForPipelines(model)
		if err != nil {
			t.Fatal(err)
		}
		if same := string(made) == string(model); same != (temperatures == nil) {
			t.Errorf("temperatures %v: is it the same model? %v", temperatures, same)
		}
		if sealed, err := artifact.Sealed(made); !sealed || err != nil {
			t.Errorf("sealed %v, %v", sealed, err)
		}
		if d, err := artifact.Describe(signature(t, made)); err != nil || !slices.Equal(d.Labels, p.Labels) {
			t.Errorf("%+v, %v", d, err)
		}
		m, err := graph.Parse(made)
		if err != nil {
			t.Fatal(err)
		}
		if last := m.Index().Producer[vision.Probabilities]; last.GetOpType() != "Softmax" ||
			last.Input[0] != vision.Logits {
			t.Errorf("probabilities are made by %v", last)
		}
	}
	m, err := graph.Parse(build(t, parts(t, 1, "a", "b")))
	if err != nil {
		t.Fatal(err)
	}
	m.Rename(map[string]string{vision.Probabilities: "others"})
	content, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := artifact.ForPipelines(content); err == nil || !strings.Contains(err.Error(), "is no softmax") {
		t.Errorf("without probabilities: %v", err)
	}
}
