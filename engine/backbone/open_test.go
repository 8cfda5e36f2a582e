package backbone

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
	"github.com/vitft/vitft/onnx/vision"
)

func TestMain(m *testing.M) { ort.Main(m) }

var cpu = device.Options{Provider: "cpu"}

func open(t *testing.T, o Options) *Backbone {
	t.Helper()
	ort.Need(t)
	b, err := Open(o, cpu, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// features are those of n drawn images.
func features(t *testing.T, b *Backbone, n int) []float32 {
	t.Helper()
	size := b.Preprocess.Size()
	pixels, out := make([]float32, n*size), make([]float32, n*b.Session.Dim())
	for i := range n {
		if err := b.Preprocess.Bytes(testkit.PNG(t, testkit.Picture(i%3, 5, uint64(i))),
			pixels[i*size:(i+1)*size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Session.Run(t.Context(), pixels, n, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The folder that features are filed in follows from the key: those that earlier releases have made must be found.
func TestKeyIsStable(t *testing.T) {
	b := open(t, Options{})
	k := b.Key()
	if k.Provider != "cpu" || k.Dim != b.Session.Dim() || k.Backbone != b.SHA256 || k.View != "" ||
		k.Validate() != nil {
		t.Errorf("key %+v", k)
	}
	registers := filepath.Join("..", "..", "onnx", "vision", "testdata", "registers.onnx")
	if f := open(t, Options{Name: registers, Feature: "mean"}).Key().Feature; !strings.Contains(f, "/mean after ") {
		t.Errorf("feature %q does not say that registers are left out", f)
	}
	if got, want := open(t, Options{Name: testkit.Model(t)}).Key().Hash(), "c1faccf9b1342764"; got != want {
		t.Errorf("the ViT-Tiny's features are in the folder %s, want %s", got, want)
	}
}

// A view is made of the pixels; the plain one changes nothing.
func TestView(t *testing.T) {
	b := open(t, Options{})
	s, err := b.View(vision.View{Flip: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h, w := b.Preprocess.Height, b.Preprocess.Width
	pixels, seen := make([]float32, 3*h*w), make([]float32, 3*h*w)
	for i := range pixels {
		pixels[i] = float32(i)
	}
	shape := []int64{1, 3, int64(h), int64(w)}
	err = s.Run(t.Context(), []onnx.Tensor{{Shape: shape, Data: pixels}}, []onnx.Tensor{{Shape: shape, Data: seen}})
	if err != nil || seen[0] != float32(w-1) || seen[w-1] != 0 {
		t.Errorf("mirrored, the first row is %v…, %v", seen[:3], err)
	}
	if _, err := b.View(vision.View{Zoom: 0.5}); err == nil {
		t.Error("a view from farther away is no error")
	}
}

// The front part of an exported model gives the features of the backbone under its key; a damaged file is refused.
func TestOpenModel(t *testing.T) {
	b := open(t, Options{})
	m := b.Model.Clone()
	dim := b.Session.Dim()
	h := vision.Head{Classes: 2, Weight: make([]float32, 2*dim), Bias: make([]float32, 2)}
	if err := vision.AppendHead(m, h); err != nil {
		t.Fatal(err)
	}
	if err := m.Inline(); err != nil {
		t.Fatal(err)
	}
	text, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	path := testkit.WriteFile(t, filepath.Join(t.TempDir(), "model.onnx"), text)
	read, err := graph.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := read.Hash()
	if err != nil {
		t.Fatal(err)
	}
	x := Exported{SHA256: sum, Preprocess: b.Preprocess, Key: b.Key()}
	for _, x.SHA256 = range []string{sum, ""} {
		got, err := OpenModel(path, x, cpu, event.Events{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Key() != b.Key() || got.SHA256 != b.SHA256 || !slices.Equal(features(t, got, 3), features(t, b, 3)) {
			t.Errorf("key %+v, SHA-256 %s; or other features", got.Key(), got.SHA256)
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
	}
	x.SHA256 = sum
	text[len(text)/2] ^= 1
	testkit.WriteFile(t, path, text)
	if _, err := OpenModel(path, x, cpu, event.Events{}); fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), sum) {
		t.Errorf("a damaged model: %v", err)
	}
	if _, err := OpenModel(filepath.Join(t.TempDir(), "x.onnx"), x, cpu, event.Events{}); fault.Of(err) != fault.Data {
		t.Errorf("no model: %v", err)
	}
	testdata := filepath.Join("..", "..", "onnx", "vision", "testdata", "clip.onnx")
	x.SHA256 = ""
	if _, err := OpenModel(testdata, x, cpu, event.Events{}); fault.Of(err) != fault.Data {
		t.Errorf("a model without an embedding: %v of kind %q", err, fault.Of(err))
	}
	if _, err := OpenModel(path, x, device.Options{Provider: "tpu"}, event.Events{}); fault.Of(err) != fault.Config {
		t.Errorf("a bad provider: %v", err)
	}
}

// A backbone that only declares a fixed batch is set free.
func TestFixedBatchIsFreed(t *testing.T) {
	for _, file := range []string{"batch1.onnx", "batch2.onnx"} {
		b := open(t, Options{Name: filepath.Join("..", "..", "onnx", "vision", "testdata", file)})
		if _, err := vision.Average(b.Model, vision.Views(2)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if r, err := Inspect(Options{Name: b.Name}); err != nil || strings.Contains(r.Adapt.Problem, "batch") {
			t.Errorf("%s: %v, adaptable %+v", file, err, r.Adapt)
		}
		all, one := features(t, b, 5), features(t, b, 1)
		for i, v := range one {
			if math.Abs(float64(v-all[i])) > 1e-5 {
				t.Fatalf("%s: feature %v alone, %v among five", file, v, all[i])
			}
		}
	}
}

// One with the batch built into a node keeps it; its features are right all the same.
func TestFixedBatchStays(t *testing.T) {
	ort.Need(t)
	var m onnxpb.ModelProto
	name := filepath.Join(testkit.Root(), "onnx", "vision", "testdata", "batch2.onnx")
	if err := proto.Unmarshal(testkit.ReadFile(t, name), &m); err != nil {
		t.Fatal(err)
	}
	g := m.Graph
	g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: proto.String("two"), Dims: []int64{2},
		DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: []int64{2, 8}})
	g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String("Reshape"),
		Input: []string{g.Output[0].GetName(), "two"}, Output: []string{"fixed"}})
	g.Output[0].Name = proto.String("fixed")
	text, err := proto.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	b, err := Open(Options{Name: testkit.WriteFile(t, filepath.Join(t.TempDir(), "fixed.onnx"), text)}, cpu,
		event.Events{Note: func(_ event.Level, message string, _ ...any) { notes = append(notes, message) }})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !slices.Contains(notes, "the model takes batches of one size only") {
		t.Errorf("notes %q", notes)
	}
	if _, err := vision.Average(b.Model, vision.Views(2)); fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "batches of 2 only") {
		t.Errorf("several views at once: %v", err)
	}
	if r, err := Inspect(Options{Name: b.Name}); err != nil || len(r.Adapt.Kinds) > 0 ||
		!strings.Contains(r.Adapt.Problem, "those of 2 only") {
		t.Errorf("%v, adaptable %+v", err, r.Adapt)
	}
	if got, want := features(t, b, 3), features(t, open(t, Options{Name: name}), 3); !slices.Equal(got, want) {
		t.Errorf("features %v, want %v", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	ort.Need(t)
	dir := t.TempDir()
	bad := testkit.WriteFile(t, filepath.Join(dir, "bad.json"), []byte("{}x"))
	odd := testkit.WriteFile(t, filepath.Join(dir, "odd.onnx"), []byte("no model"))
	sized := filepath.Join("..", "..", "onnx", "vision", "testdata", "pooled.onnx")
	said := testkit.WriteFile(t, filepath.Join(dir, "said.onnx"),
		bytes.Replace(testkit.ReadFile(t, modelFolder(t, map[string]string{})),
			[]byte(strings.Repeat("x", len(artifact.PreprocessKey))), []byte(artifact.PreprocessKey), 1))
	testkit.WriteFile(t, said, bytes.Replace(testkit.ReadFile(t, said), []byte(`"resize"`), []byte(`"resizX"`), 1))
	for name, c := range map[string]struct {
		options Options
		device  device.Options
		kind    fault.Kind
		says    string
	}{
		"size":           {Options{ImageSize: -1}, cpu, fault.Config, "image-size"},
		"threads":        {Options{ImageSize: -1}, device.Options{Threads: -1}, fault.Config, "threads"},
		"no such file":   {Options{Name: "gone.onnx"}, cpu, fault.Data, "gone.onnx"},
		"a folder":       {Options{Name: dir}, cpu, fault.Data, "is a folder"},
		"a device":       {Options{Name: "/dev/zero"}, cpu, fault.Data, "/dev/zero is a pipe, socket or device"},
		"no model":       {Options{Name: odd}, cpu, fault.Data, "odd.onnx"},
		"feature":        {Options{Feature: "nothing"}, cpu, fault.Data, "nothing"},
		"pooling":        {Options{Feature: "nothing:cls"}, cpu, fault.Data, "nothing"},
		"preprocess":     {Options{Preprocess: bad}, cpu, fault.Data, "bad.json"},
		"no preprocess":  {Options{Preprocess: bad + "x"}, cpu, fault.Data, "bad.jsonx"},
		"library":        {Options{}, device.Options{Library: odd}, fault.Runtime, "odd.onnx"},
		"other size":     {Options{Name: sized, ImageSize: 100}, cpu, fault.Data, "100×100"},
		"damaged saying": {Options{Name: said}, cpu, fault.Data, artifact.PreprocessKey},
	} {
		b, err := Open(c.options, c.device, event.Events{})
		if err == nil {
			b.Close()
			t.Errorf("%s: no error", name)
		} else if fault.Of(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v of kind %q, want %q and %q in it", name, err, fault.Of(err), c.kind, c.says)
		}
	}
	if r, err := Inspect(Options{Feature: "nothing"}); err == nil || r == nil || r.Preprocess == nil {
		t.Errorf("inspecting: %+v, %v", r, err)
	}
	if _, err := Inspect(Options{ImageSize: -1}); fault.Of(err) != fault.Config {
		t.Error(err)
	}
}

// Where the preprocessing of a model is a guess, the user is warned.
func TestGuessIsAWarning(t *testing.T) {
	ort.Need(t)
	var warnings []string
	b, err := Open(Options{Name: modelFolder(t, map[string]string{})}, cpu, event.Events{}.Recording(&warnings))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if len(warnings) != 1 || !strings.Contains(warnings[0], "a guess") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestFields(t *testing.T) {
	var o Options
	setting.Fill(o.Fields())
	if o != (Options{Name: Default(), Feature: "auto"}) {
		t.Errorf("defaults %+v", o)
	}
	o = Options{Name: "x.onnx", Preprocess: "p.json"}
	setting.Fill(o.Fields())
	if !filepath.IsAbs(o.Name) || !filepath.IsAbs(o.Preprocess) {
		t.Errorf("%+v means something else in another folder", o)
	}
}

// The ImageNet ViT names 20 photos when preprocessing is right.
func TestRealViTNamesPhotos(t *testing.T) {
	photos, name := testkit.Shared(t, "data", "imagenet_sanity20"), testkit.Model(t)
	b := open(t, Options{Name: name}) // loads the library, finds the preprocessing
	session, err := onnx.NewSession(testkit.ReadFile(t, name), onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	rows, err := csv.NewReader(bytes.NewReader(testkit.ReadFile(t, photos, "labels.csv"))).ReadAll()
	if err != nil || len(rows) != 20 {
		t.Fatalf("labels.csv: %d rows, %v", len(rows), err)
	}
	pixels := make([]float32, b.Preprocess.Size())
	embedding, hidden, logits := make([]float32, 192), make([]float32, 197*192), make([]float32, 1000)
	for _, row := range rows {
		want, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Preprocess.Bytes(testkit.ReadFile(t, photos, row[0]), pixels); err != nil {
			t.Fatal(err)
		}
		err = session.Run(t.Context(), []onnx.Tensor{{Shape: []int64{1, 3, 224, 224}, Data: pixels}}, []onnx.Tensor{
			{Shape: []int64{1, 192}, Data: embedding}, {Shape: []int64{1, 197, 192}, Data: hidden},
			{Shape: []int64{1, 1000}, Data: logits}})
		if err != nil {
			t.Fatal(err)
		}
		rank := 0
		for _, z := range logits {
			if z > logits[want] {
				rank++
			}
		}
		if rank >= 5 {
			t.Errorf("%s: class %d is at rank %d, want the top 5", row[0], want, rank+1)
		}
	}
}

// An external weight file that is gone is named.
func TestExternalWeights(t *testing.T) {
	b := open(t, Options{Name: filepath.Join("..", "..", "onnx", "vision", "testdata", "external.onnx")})
	features(t, b, 2)
	lone := filepath.Join(t.TempDir(), "external.onnx")
	if err := os.WriteFile(lone, testkit.ReadFile(t, "..", "..", "onnx", "vision", "testdata", "external.onnx"),
		0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Name: lone}, cpu, event.Events{}); fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "external.onnx.data") {
		t.Errorf("without its weights: %v", err)
	}
}

// A file that is no model, or one that breaks its word, is bad data under its name, when it is opened or run.
func TestUnsoundModels(t *testing.T) {
	ort.Need(t)
	file := func(name string, images int64, nodes func(b *graph.Builder)) string {
		m := graph.New(name, 17)
		nodes(graph.NewBuilder(m, "n"))
		m.SetInputs(graph.Value{Name: "x", Type: "float32", Shape: []int64{images, 3, 8, 8}})
		m.SetOutputs(graph.Value{Name: "embedding", Type: "float32", Shape: []int64{images, 4}})
		text, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return testkit.WriteFile(t, filepath.Join(t.TempDir(), name), text)
	}
	flat := func(b *graph.Builder) { b.Node("Flatten", []string{"x"}, "embedding") }
	for path, opens := range map[string]bool{
		file("lies.onnx", -1, flat):           true,
		file("million.onnx", 1_000_000, flat): false,
		file("nodes.onnx", -1, func(b *graph.Builder) { b.Node("Unheard", []string{"x"}, "embedding") }): false,
	} {
		b, err := Open(Options{Name: path}, cpu, event.Events{})
		if opened := err == nil; opened != opens {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			defer b.Close()
			err = b.Session.Run(t.Context(), make([]float32, 2*192), 2, make([]float32, 2*4))
		}
		if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want bad data that names %s", err, path)
		}
	}
}
