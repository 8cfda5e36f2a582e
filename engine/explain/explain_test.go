package explain

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/internal/testkit/trained"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

func TestMain(m *testing.M) { ort.Main(m) }

var options = classify.Options{Device: device.Options{Provider: "cpu"}}

func open(t *testing.T, model []byte) *Explainer {
	t.Helper()
	e, err := Open(testkit.WriteFile(t, filepath.Join(t.TempDir(), "model.onnx"), model), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// blanking makes e one that cannot differentiate.
func blanking(t *testing.T, model []byte) *Explainer {
	t.Helper()
	e := open(t, model)
	c, err := onnx.NewImageModel(model, options.Device.Session(""))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.gradients.Close(); err != nil {
		t.Fatal(err)
	}
	e.gradients, e.occluded = nil, c
	return e
}

// photos are real ones of some classes, numbered.
func photos(t *testing.T, numbers ...int) (labels []string, files [][]string) {
	t.Helper()
	labels = []string{"ketch", "schooner", "lotus", "water_lilly"}
	for _, label := range labels {
		all, err := filepath.Glob(testkit.Unpacked(t, "caltech101", "train", label, "*.jpg"))
		if err != nil || len(all) < 10 {
			t.Skipf("real photos are missing: %v", err)
		}
		slices.Sort(all)
		var some []string
		for _, n := range numbers {
			some = append(some, all[n])
		}
		files = append(files, some)
	}
	return labels, files
}

// real is the content of a model of the real ViT-Tiny that knows classes by the means of their photos.
func real(t *testing.T, labels []string, files [][]string) []byte {
	t.Helper()
	b, err := backbone.Open(backbone.Options{Name: testkit.Model(t)}, options.Device, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	data := head.Data{Dim: b.Session.Dim(), Classes: len(labels)}
	pixels, feature := make([]float32, b.Preprocess.Size()), make([]float32, data.Dim)
	for k := range labels {
		for _, file := range files[k] {
			err := errors.Join(b.Preprocess.Bytes(testkit.ReadFile(t, file), pixels),
				b.Session.Run(context.Background(), pixels, 1, feature))
			if err != nil {
				t.Fatal(err)
			}
			data.X, data.Y = append(data.X, feature...), append(data.Y, k)
		}
	}
	means, err := head.Train(context.Background(), data, head.Settings{Loss: "ncm", Head: "cosine", Scale: 16,
		Features: "standardize"})
	if err != nil {
		t.Fatal(err)
	}
	h := means.Head
	model, err := artifact.Build(artifact.Parts{Backbone: b.Model, Labels: labels, Preprocess: b.Preprocess,
		Head: vision.Head{Classes: h.Classes, Weight: h.W, Mean: h.Mean, InvStd: h.InvStd, Normalize: h.Normalize}})
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// What counts for a class must be what the class falls without: blanking the fifth of the patches that contribute most
// takes more of its probability than blanking others or those that contribute least.
func TestContributionsAreWhatCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("many runs of a real ViT")
	}
	labels, files := photos(t, 0, 4)
	model := real(t, labels, files)
	c, err := classify.New(model, options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, unseen := photos(t, 8)
	r := rand.New(rand.NewPCG(3, 4))
	e := open(t, model)
	var most, random, least float64
	n := len(unseen)
	for k := range n {
		photo := testkit.ReadFile(t, unseen[k][0])
		x, err := e.Explain(t.Context(), photo, k)
		if err != nil {
			t.Fatal(err)
		}
		if x.Patch != 16 || len(x.Grid) != 14 || len(x.Grid[0]) != 14 || x.Label != labels[k] {
			t.Fatalf("%d rows of patches of %d pixels for %s", len(x.Grid), x.Patch, x.Label)
		}
		if off := math.Abs(x.Error / (x.Logit - x.Blank)); off > 0.25 {
			t.Errorf("%s: contributions lack %.3f of %.3f", labels[k], x.Error, x.Logit-x.Blank)
		}
		var order []int
		for i := range 14 * 14 {
			order = append(order, i)
		}
		at := func(i int) float64 { return x.Grid[i/14][i%14] }
		probability := func(blanked []int) float64 {
			pixels := slices.Clone(x.pixels)
			for i := range pixels {
				if patch := i%(224*224)/224/16*14 + i%224/16; slices.Contains(blanked, patch) {
					pixels[i] = 0
				}
			}
			p, err := c.ClassifyPixels(t.Context(), pixels, 1)
			if err != nil {
				t.Fatal(err)
			}
			return float64(p[0].Probabilities[k])
		}
		const fifth = 14 * 14 / 5
		slices.SortFunc(order, func(a, b int) int {
			if at(a) > at(b) {
				return -1
			}
			return 1
		})
		most += probability(order[:fifth]) / float64(n)
		least += probability(order[len(order)-fifth:]) / float64(n)
		for range 3 {
			r.Shuffle(len(order), func(a, b int) { order[a], order[b] = order[b], order[a] })
			random += probability(order[:fifth]) / float64(3*n)
		}
	}
	t.Logf("probability of the class without a fifth of the patches: those that count most %.3f, random %.3f, "+
		"least %.3f", most, random, least)
	if !(most < random-0.02 && most < least-0.02) {
		t.Error("what is said to count does not")
	}
}

// On the embedded model: the grid, the picture, the classes, and that whoever asks at once gets the same.
func TestExplain(t *testing.T) {
	ort.Need(t)
	model, err := trained.Model("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*Explainer{open(t, model), blanking(t, model)} {
		photo := trained.Photo(1, 99)
		x, err := e.Explain(t.Context(), photo, 1)
		if err != nil {
			t.Fatal(err)
		}
		rows := (x.Height + x.Patch - 1) / x.Patch
		if len(x.Grid) != rows || rows < 4 {
			t.Errorf("%s: %d rows of patches of %d pixels", x.Method, len(x.Grid), x.Patch)
		}
		content, err := x.Overlay()
		if err != nil {
			t.Fatal(err)
		}
		if img, err := png.Decode(bytes.NewReader(content)); err != nil || img.Bounds().Dx() < 224 {
			t.Errorf("%v, %v", img.Bounds(), err)
		}
		again := make(chan *Explanation, 3)
		for range cap(again) {
			go func() { y, _ := e.Explain(t.Context(), photo, 1); again <- y }()
		}
		for range cap(again) {
			if y := <-again; y == nil || !slices.EqualFunc(x.Grid, y.Grid, slices.Equal) {
				t.Errorf("%s: asked at once it is %+v", x.Method, y)
			}
		}
		other, err := e.Explain(t.Context(), photo, 0)
		if err != nil || other.Logit >= x.Logit {
			t.Errorf("the wrong class has logit %v, the right one %v (%v)", other.Logit, x.Logit, err)
		}
		if _, err := e.Explain(t.Context(), []byte("no photo"), 0); !errors.As(err, new(*vit.ImageError)) {
			t.Errorf("of no photo: %v", err)
		}
		if _, err := e.Explain(t.Context(), photo, 2); err == nil {
			t.Error("a class that there is not is explained")
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := e.Explain(ended, photo, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	}
}

// Weights that are stored otherwise are explained by gradients too.
func TestPrecisions(t *testing.T) {
	ort.Need(t)
	model, err := trained.Model("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	want, err := open(t, model).Explain(t.Context(), trained.Photo(1, 99), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range artifact.Precisions() {
		p, _ := artifact.LookupPrecision(name)
		other, _, err := p.Convert(model)
		if err != nil {
			t.Fatal(err)
		}
		e := open(t, other)
		x, err := e.Explain(t.Context(), trained.Photo(1, 99), 1)
		if err != nil || x.Method != Gradients || math.Abs(x.Logit-want.Logit) > 0.3 {
			t.Errorf("%s: %v, %+v", name, err, e.why)
		}
	}
}

func TestNoModel(t *testing.T) {
	if _, err := Open(t.TempDir(), options); err == nil || !strings.Contains(err.Error(), "model.onnx") ||
		!errors.Is(err, os.ErrNotExist) {
		t.Errorf("of an empty folder: %v", err)
	}
}
