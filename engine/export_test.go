package engine

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/vit"
)

// model.onnx, with nothing but the metadata inside it, says of every test image
// what the run said, for every kind of head.
func TestExportedModelSaysTheSame(t *testing.T) {
	c := job(t)
	for name, training := range map[string]Training{
		"default":      {},
		"linear":       {Head: "linear", FeatureScaling: "standardize"},
		"raw":          {Head: "linear", FeatureScaling: "raw", Start: "zero", Loss: "ce"},
		"learnt scale": {LearnScale: true, FeatureScaling: "center", Optimizer: "adamw"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Training, c.Out = training, filepath.Join(t.TempDir(), "run")
			c.Epochs = 5
			r := finetune(t, c)
			checkModel(t, filepath.Join(r.Run, modelFile), content(t, r.Run, predictionsFile))
		})
	}
}

// checkModel classifies the images of predictions.csv with a model file.
func checkModel(t *testing.T, path, predictions string) {
	m, err := graph.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	text, _ := m.Metadata(artifact.LabelsKey)
	if err := json.Unmarshal([]byte(text), &labels); err != nil {
		t.Fatalf("metadata %s: %v", artifact.LabelsKey, err)
	}
	text, _ = m.Metadata(artifact.PreprocessKey)
	p, err := vit.ParsePreprocess([]byte(text))
	if err != nil {
		t.Fatalf("metadata %s: %v", artifact.PreprocessKey, err)
	}
	session, err := onnx.NewSession([]byte(content(t, path)), onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var names []string
	for _, o := range session.Outputs() {
		names = append(names, o.Name)
	}
	if in := session.Inputs()[0]; in.Name != "pixel_values" || in.Shape[0] != -1 || strings.Join(names, " ") != "probabilities logits embedding" {
		t.Fatalf("input %v, outputs %v", in, names)
	}
	rows, err := csv.NewReader(strings.NewReader(predictions)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows = rows[1:]
	classes, dim, n := len(labels), int(session.Outputs()[2].Shape[1]), len(rows)
	pixels := make([]float32, n*p.Size())
	for i, row := range rows {
		if err := p.Bytes([]byte(content(t, row[0])), pixels[i*p.Size():(i+1)*p.Size()]); err != nil {
			t.Fatal(err)
		}
	}
	probabilities, logits, embedding := make([]float32, n*classes), make([]float32, n*classes), make([]float32, n*dim)
	b := int64(n)
	err = session.Run(context.Background(), []onnx.Tensor{{Shape: []int64{b, 3, int64(p.Height), int64(p.Width)}, Data: pixels}}, []onnx.Tensor{
		{Shape: []int64{b, int64(classes)}, Data: probabilities}, {Shape: []int64{b, int64(classes)}, Data: logits}, {Shape: []int64{b, int64(dim)}, Data: embedding}})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		p := probabilities[i*classes : (i+1)*classes]
		best := argmax(logits[i*classes : (i+1)*classes])
		want, err := strconv.ParseFloat(row[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		if labels[best] != row[2] || math.Abs(float64(p[best])-want) > 1e-4 {
			t.Errorf("%s: the model says %s with %v, the run said %s with %v", row[0], labels[best], p[best], row[2], want)
		}
	}
}
