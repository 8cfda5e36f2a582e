package classify_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/internal/testkit/trained"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/vit"
)

func TestMain(m *testing.M) { ort.Main(m) }

var labels = []string{"class-a", "class-b", "class-c", "class-d"}

var makeModel = sync.OnceValues(func() ([]byte, error) { return trained.Model(labels...) })

// model is a model.onnx of the labels.
func model(t testing.TB) []byte {
	t.Helper()
	ort.Need(t)
	text, err := makeModel()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var onCPU = device.Options{Provider: "cpu"}

// open is a Classifier of the model, closed at the end of the test.
func open(t testing.TB, o classify.Options) *classify.Classifier {
	t.Helper()
	o.Device = onCPU
	c, err := classify.New(model(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// photos are n of each class, none of which the model has seen.
func photos(n int) (encoded [][]byte) {
	for i := range n * len(labels) {
		encoded = append(encoded, trained.Photo(i%len(labels), uint64(100+i)))
	}
	return encoded
}

// Every way to ask gives what a session of the runtime alone says of the pixels.
func TestAnswers(t *testing.T) {
	ctx, encoded := context.Background(), photos(4)
	run := filepath.Join(t.TempDir(), "run")
	testkit.WriteFile(t, filepath.Join(run, artifact.ModelFile), model(t))
	testkit.WriteFile(t, filepath.Join(run, artifact.CardFile), []byte("# A card"))
	var notes []string
	c, err := classify.Open(run, classify.Options{Device: onCPU, Events: event.Events{
		Note: func(_ event.Level, message string, _ ...any) { notes = append(notes, message) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	size := c.Preprocess().Size()
	pixels := make([]float32, len(encoded)*size)
	for i, data := range encoded {
		if err := c.Preprocess().Bytes(data, pixels[i*size:(i+1)*size]); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := c.ClassifyBatch(ctx, encoded)
	if err != nil {
		t.Fatal(err)
	}
	fromPixels, err := c.ClassifyPixels(ctx, pixels, len(encoded))
	if err != nil {
		t.Fatal(err)
	}
	want, right := bare(t, pixels, len(encoded)), 0
	for i, data := range encoded {
		p, err := c.ClassifyBytes(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		w := want[i*len(labels) : (i+1)*len(labels)]
		best := vec.Argmax(w)
		if p.Class != best || p.Label != labels[best] || math.Abs(float64(p.Confidence-w[best])) > 1e-5 {
			t.Errorf("image %d is %s with %v, a session says %v", i, p.Label, p.Confidence, w)
		}
		if p.Class == i%len(labels) {
			right++
		}
		if b := batch[i]; b.Err != nil || !same(b.Prediction, p) {
			t.Errorf("image %d: in a batch %v, alone %v (%v)", i, b.Logits, p.Logits, b.Err)
		}
		if q := fromPixels[i]; !same(q, p) || len(p.Embedding) != c.Info().Dim {
			t.Errorf("image %d: from pixels %v, from bytes %v, %d and %d values of embedding",
				i, q.Logits, p.Logits, len(q.Embedding), len(p.Embedding))
		}
		img, _, err := image.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := c.Classify(ctx, img); err != nil || d.Label != p.Label {
			t.Errorf("image %d: decoded by package image it is %s (%v), else %s", i, d.Label, err, p.Label)
		}
		top := p.Top(3)
		if len(top) != 3 || top[0] != (classify.Score{Label: p.Label, Confidence: p.Confidence}) ||
			top[1].Confidence < top[2].Confidence || len(p.Top(99)) != 4 || len(p.Top(-1)) != 0 {
			t.Errorf("image %d: top 3 of %v are %v", i, p.Probabilities, top)
		}
	}
	if right < len(encoded)*3/4 {
		t.Errorf("%d of %d photos are named rightly", right, len(encoded))
	}
	info := c.Info()
	if info.Name != "run" || info.Path != filepath.Join(run, "model.onnx") || info.Card != "# A card" ||
		info.Classes != 4 || info.Dim != 448 || info.Width != 28 || info.Height != 28 || len(info.SHA256) != 64 ||
		info.Provider != "cpu" || info.OneByOne || info.Metadata[artifact.LabelsKey] == "" {
		t.Errorf("info is %+v", info)
	}
	if got := c.Labels(); !slices.Equal(got, labels) {
		t.Errorf("labels are %q", got)
	}
	if len(notes) == 0 || notes[len(notes)-1] != "provider" {
		t.Errorf("it notes %q", notes)
	}
	embedded := open(t, classify.Options{})
	if i := embedded.Info(); i.Name != "model" || i.Path != "" || i.Card != "" || i.SHA256 != info.SHA256 {
		t.Errorf("of bytes: %+v", i)
	}
}

func same(a, b classify.Prediction) bool {
	return a.Label == b.Label && slices.Equal(a.Probabilities, b.Probabilities) && slices.Equal(a.Logits, b.Logits) &&
		slices.Equal(a.Embedding, b.Embedding)
}

// bare gives the probabilities [n,C] of a session, with nothing of this package.
func bare(t *testing.T, pixels []float32, n int) []float32 {
	t.Helper()
	session, err := onnx.NewSession(model(t), onnx.SessionOptions{Provider: onnx.CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	rows := int64(n)
	var outputs []onnx.Tensor
	for _, v := range session.Outputs() {
		outputs = append(outputs, onnx.Tensor{Shape: []int64{rows, v.Shape[1]}, Data: make([]float32, rows*v.Shape[1])})
	}
	in := session.Inputs()[0].Shape
	inputs := []onnx.Tensor{{Shape: []int64{rows, in[1], in[2], in[3]}, Data: pixels}}
	if err := session.Run(context.Background(), inputs, outputs); err != nil {
		t.Fatal(err)
	}
	return outputs[0].Data
}

// Many goroutines, some of which give up, some with damaged images, while the classifier is closed: whoever gets an
// answer gets the right one, to the last bit, and nobody waits for ever.
func TestManyGoroutines(t *testing.T) {
	var images, runs int
	o := classify.Options{MaxBatch: 5, OnBatch: func(n int, _ time.Duration) { images, runs = images+n, runs+1 }}
	c := open(t, o)
	ctx, encoded := context.Background(), photos(6)
	var want []classify.Prediction
	for _, data := range encoded {
		p, err := c.ClassifyBytes(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, p)
	}
	closing := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(g)))
			for k := 0; ; k++ {
				if g == 0 && k == 20 {
					close(closing)
				}
				i := r.IntN(len(encoded))
				data, ctx, mayEnd := encoded[i], ctx, false
				switch r.IntN(4) {
				case 0:
					data = data[:len(data)/2]
				case 1:
					mayEnd = true
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(3000))*time.Microsecond)
					defer cancel()
				}
				p, err := c.ClassifyBytes(ctx, data)
				_, bad := errors.AsType[*vit.ImageError](err)
				switch {
				case errors.Is(err, classify.ErrClosed):
					return
				case mayEnd && errors.Is(err, context.DeadlineExceeded):
				case len(data) < len(encoded[i]):
					if !bad || fault.Of(err) != fault.Data {
						t.Errorf("half a file: %v, %v", p.Label, err)
					}
				case err != nil || !same(p, want[i]):
					t.Errorf("image %d: %v (%v), want %v", i, p.Logits, err, want[i].Logits)
				}
			}
		})
	}
	<-closing
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := c.ClassifyBatch(ctx, encoded); !errors.Is(err, classify.ErrClosed) {
		t.Errorf("a batch after Close: %v", err)
	}
	if _, err := c.ClassifyPixels(ctx, nil, 0); !errors.Is(err, classify.ErrClosed) {
		t.Errorf("pixels after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if images < len(encoded) || runs < 1 || images > 5*runs {
		t.Errorf("%d images in %d runs of at most 5", images, runs)
	}
}

// Images over the limit are refused by their heads, and what is no image or no batch of pixels says so.
func TestLimits(t *testing.T) {
	c := open(t, classify.Options{MaxPixels: 100})
	ctx := context.Background()
	var ie *vit.ImageError
	if _, err := c.ClassifyBytes(ctx, trained.Photo(0, 0)); !errors.As(err, &ie) || ie.Reason != vit.ReasonTooLarge {
		t.Errorf("a large file: %v", err)
	}
	gray := func(x0, y0, x1, y1 int) image.Image { return image.NewGray(image.Rect(x0, y0, x1, y1)) }
	if _, err := c.Classify(ctx, gray(0, 0, 11, 10)); !errors.As(err, &ie) || ie.Reason != vit.ReasonTooLarge {
		t.Errorf("a large image: %v", err)
	}
	if _, err := c.Classify(ctx, gray(3, 3, 13, 13)); err != nil {
		t.Errorf("an image of the size of the limit: %v", err)
	}
	if _, err := c.Classify(ctx, gray(0, 0, 0, 5)); !errors.As(err, &ie) || ie.Reason != vit.ReasonZeroSize {
		t.Errorf("an empty image: %v", err)
	}
	results, err := c.ClassifyBatch(ctx, [][]byte{nil, []byte("GIF")})
	if err != nil || !errors.As(results[0].Err, &ie) || !errors.As(results[1].Err, &ie) {
		t.Errorf("nothing and no image: %+v, %v", results, err)
	}
	if _, err := c.ClassifyPixels(ctx, make([]float32, 5), 1); err == nil || fault.Of(err) != fault.Config {
		t.Errorf("five pixel values: %v", err)
	}
	nan := make([]float32, c.Preprocess().Size())
	nan[7] = float32(math.NaN())
	_, err = c.ClassifyPixels(ctx, nan, 1)
	if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("pixels that are no numbers: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.ClassifyBatch(ended, [][]byte{nil}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := c.ClassifyPixels(ended, nan, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("pixels with an ended context: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	ort.Need(t)
	dir := t.TempDir()
	backbone, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteFile(t, filepath.Join(dir, "backbone.onnx"), backbone)
	testkit.WriteFile(t, filepath.Join(dir, "text.onnx"), []byte("no model"))
	testkit.WriteFile(t, filepath.Join(dir, "empty", "config.yaml"), nil)
	for _, x := range []struct {
		path  string
		o     classify.Options
		kind  fault.Kind
		names string
	}{
		{"absent", classify.Options{}, fault.Data, "absent"},
		{"empty", classify.Options{}, fault.Data, "no finished run"},
		{"text.onnx", classify.Options{}, fault.Data, "text.onnx"},
		{"text.onnx/model.onnx", classify.Options{}, fault.Data, "read the model"},
		{"backbone.onnx", classify.Options{}, fault.Data, "vitft export"},
		{"backbone.onnx", classify.Options{Device: device.Options{Provider: "tpu"}}, fault.Config, "tpu"},
		{"backbone.onnx", classify.Options{MaxBatch: -1}, fault.Config, "batch: -1 is not between 1 and 4096"},
		{"backbone.onnx", classify.Options{Device: device.Options{Threads: -1}}, fault.Config, "threads: -1"},
		{"backbone.onnx", classify.Options{MaxPixels: -1}, fault.Config, "max-pixels: -1"},
		{"backbone.onnx", classify.Options{MaxDelay: new(time.Hour)}, fault.Config, "delay: 1h0m0s is not"},
	} {
		_, err := classify.Open(filepath.Join(dir, x.path), x.o)
		if err == nil || fault.Of(err) != x.kind || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%s with %+v: %v, want kind %v and it to name %q", x.path, x.o, err, x.kind, x.names)
		}
	}
	_, err = classify.New(model(t), classify.Options{Device: device.Options{Library: dir}})
	if err == nil || fault.Of(err) != fault.Runtime {
		t.Errorf("a library that is none: %v", err)
	}
}

// The settings have the keys and defaults that the documentation names.
func TestFields(t *testing.T) {
	var o classify.Options
	setting.Fill(o.Fields())
	var got []string
	for _, f := range o.Fields() {
		got = append(got, f.Key+" "+f.Text())
	}
	want := []string{"provider auto", "threads 0", "ort-lib ", "batch 16", "delay 2ms", "max-pixels 178956970"}
	if !slices.Equal(got, want) {
		t.Errorf("settings are %q, want %q", got, want)
	}
}

// A pipe in the place of a file is refused by name, before a read of it that has no end.
func TestOpenRefusesPipes(t *testing.T) {
	for _, name := range []string{artifact.ModelFile, artifact.SumsFile, artifact.CardFile} {
		dir := t.TempDir()
		pipe := filepath.Join(dir, name)
		if out, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
			t.Skipf("no pipes here: %v %s", err, out)
		}
		paths := []string{dir}
		if name == artifact.ModelFile {
			paths = append(paths, pipe)
		} else {
			testkit.WriteFile(t, filepath.Join(dir, artifact.ModelFile), []byte("a model"))
		}
		for _, path := range paths {
			opened := make(chan error, 1)
			go func() {
				_, err := classify.Open(path, classify.Options{Device: onCPU})
				opened <- err
			}()
			select {
			case err := <-opened:
				want := pipe + " is a pipe, socket or device"
				if err == nil || fault.Of(err) != fault.Data || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %s", path, err, want)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s with a pipe as %s is read for ever", path, name)
			}
		}
	}
}

// A program that only classifies links nothing that trains, draws or reads configuration.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	needed := []string{ // of this module: whatever is new has to be thought about
		"engine/artifact", "engine/classify", "engine/device", "engine/event", "engine/fault",
		"engine/internal/imagepath", "engine/place", "engine/setting", "internal/atomicfile", "internal/disk",
		"internal/jsontext", "internal/machine", "internal/par", "internal/plaintext", "internal/userfile",
		"internal/vec", "onnx", "onnx/graph", "onnx/graph/onnxpb", "onnx/shape", "onnx/vision", "vit", "vit/avif",
		"vit/jpeg",
	}
	for path := range strings.FieldsSeq(string(out)) {
		if own, is := strings.CutPrefix(path, "github.com/vitft/vitft/"); is && !slices.Contains(needed, own) {
			t.Errorf("it imports %s", path)
		}
		for _, unwanted := range []string{"gonum.org/", "yaml", "github.com/spf13/", "github.com/rs/zerolog",
			"google.golang.org/grpc"} {
			if strings.Contains(path, unwanted) {
				t.Errorf("it imports %s", path)
			}
		}
	}
}

// A batch that memory has no room for is refused before it is there.
func TestBatchesAreBounded(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 20))
	_, err := classify.New(model(t), classify.Options{Device: onCPU, MaxBatch: 4096})
	if err == nil || fault.Of(err) != fault.Config || !strings.HasPrefix(err.Error(), "batch: 4096 images of 28×28") {
		t.Error(err)
	}
}
