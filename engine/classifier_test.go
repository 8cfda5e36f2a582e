package engine

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"image"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/vit"
)

// trainedRun is a finished run with a calibrated cosine head, and its
// predictions: path, label, predicted, confidence.
func trainedRun(t testing.TB) (run string, predictions [][]string) {
	t.Helper()
	c := job(t)
	c.Epochs, c.Calibration, c.Folds = 5, "classwise", 2
	run = finetune(t, c).Run
	rows, err := csv.NewReader(strings.NewReader(content(t, run, predictionsFile))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return run, rows[1:]
}

func openClassifier(t testing.TB, path string, o ClassifierOptions) *Classifier {
	t.Helper()
	o.Provider = "cpu"
	c, err := OpenClassifier(path, o)
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

func TestClassifier(t *testing.T) {
	run, rows := trainedRun(t)
	t.Run("answers", func(t *testing.T) { testAnswers(t, run, rows) })
	t.Run("many goroutines", func(t *testing.T) { testManyGoroutines(t, run, rows) })
	t.Run("limits", func(t *testing.T) { testLimits(t, run, rows) })
	t.Run("files", func(t *testing.T) { testFiles(t, run, rows) })
}

// Every way to ask gives what the run said.
func testAnswers(t *testing.T, run string, rows [][]string) {
	model := []byte(content(t, run, modelFile))
	embedded, err := NewClassifier(model, ClassifierOptions{Provider: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	ctx := context.Background()
	c := openClassifier(t, run, ClassifierOptions{})
	var encoded [][]byte
	var pixels []float32
	for _, row := range rows {
		data := []byte(content(t, row[0]))
		encoded = append(encoded, data)
		one := make([]float32, c.Preprocess().Size())
		if err := c.Preprocess().Bytes(data, one); err != nil {
			t.Fatal(err)
		}
		pixels = append(pixels, one...)
	}
	batch, err := c.ClassifyBatch(ctx, encoded)
	if err != nil {
		t.Fatal(err)
	}
	fromPixels, err := c.ClassifyPixels(ctx, pixels, len(rows))
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		want, err := strconv.ParseFloat(row[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		p, err := embedded.ClassifyBytes(ctx, encoded[i])
		if err != nil {
			t.Fatal(err)
		}
		if p.Label != row[2] || math.Abs(float64(p.Confidence)-want) > 1e-5 {
			t.Errorf("%s is %s with %v, the run said %s with %v", row[0], p.Label, p.Confidence, row[2], want)
		}
		if b := batch[i]; b.Err != nil || b.Label != p.Label || !slices.Equal(b.Probabilities, p.Probabilities) || !slices.Equal(b.Logits, p.Logits) {
			t.Errorf("%s: in a batch %v, alone %v (%v)", row[0], b.Logits, p.Logits, b.Err)
		}
		if q := fromPixels[i]; q.Label != p.Label || !slices.Equal(q.Probabilities, p.Probabilities) || !slices.Equal(q.Logits, p.Logits) || !slices.Equal(q.Embedding, p.Embedding) || len(p.Embedding) != c.Info().Dim {
			t.Errorf("%s: from pixels %v, from bytes %v, %d and %d values of embedding", row[0], q.Logits, p.Logits, len(q.Embedding), len(p.Embedding))
		}
		img, _, err := image.Decode(bytes.NewReader(encoded[i]))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := c.Classify(ctx, img); err != nil || d.Label != p.Label {
			t.Errorf("%s: decoded by package image it is %s (%v), else %s", row[0], d.Label, err, p.Label)
		}
		top := p.Top(3)
		if len(top) != 3 || top[0] != (Score{p.Label, p.Confidence}) || top[1].Confidence < top[2].Confidence || len(p.Top(99)) != 4 || len(p.Top(-1)) != 0 {
			t.Errorf("%s: top 3 of %v are %v", row[0], p.Probabilities, top)
		}
	}
	info := c.Info()
	if info.Name != "run" || info.Classes != 4 || info.Dim != 448 || info.Provider != "cpu" || info.OneByOne || len(info.SHA256) != 64 || info.SHA256 != embedded.Info().SHA256 {
		t.Errorf("info is %+v", info)
	}
	if got := c.Labels(); !slices.Equal(got, []string{"class-a", "class-b", "class-c", "class-d"}) {
		t.Errorf("labels are %q", got)
	}
}

// Many goroutines, some of which give up, some with damaged images, while the
// classifier is closed: whoever gets an answer gets the right one, to the last
// bit, and nobody waits for ever.
func testManyGoroutines(t *testing.T, run string, rows [][]string) {
	c := openClassifier(t, run, ClassifierOptions{MaxBatch: 5})
	ctx := context.Background()
	var encoded [][]byte
	var want []Prediction
	for _, row := range rows {
		data := []byte(content(t, row[0]))
		p, err := c.ClassifyBytes(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		encoded, want = append(encoded, data), append(want, p)
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
				case errors.Is(err, ErrClosed):
					return
				case mayEnd && errors.Is(err, context.DeadlineExceeded):
				case len(data) < len(encoded[i]):
					if !bad {
						t.Errorf("half a file: %v, %v", p.Label, err)
					}
				case err != nil || !slices.Equal(p.Logits, want[i].Logits) || !slices.Equal(p.Probabilities, want[i].Probabilities):
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
	if _, err := c.ClassifyBatch(ctx, encoded); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// Images over the limit are refused by their heads, and what is no image or no
// batch of pixels says so.
func testLimits(t *testing.T, run string, rows [][]string) {
	c := openClassifier(t, run, ClassifierOptions{MaxPixels: 100})
	ctx := context.Background()
	var ie *vit.ImageError
	if _, err := c.ClassifyBytes(ctx, []byte(content(t, rows[0][0]))); !errors.As(err, &ie) || ie.Reason != vit.ReasonTooLarge {
		t.Errorf("a large file: %v", err)
	}
	if _, err := c.Classify(ctx, image.NewGray(image.Rect(0, 0, 11, 10))); !errors.As(err, &ie) || ie.Reason != vit.ReasonTooLarge {
		t.Errorf("a large image: %v", err)
	}
	if _, err := c.Classify(ctx, image.NewGray(image.Rect(3, 3, 13, 13))); err != nil {
		t.Errorf("an image of the size of the limit: %v", err)
	}
	if _, err := c.Classify(ctx, image.NewGray(image.Rect(0, 0, 0, 5))); !errors.As(err, &ie) || ie.Reason != vit.ReasonZeroSize {
		t.Errorf("an empty image: %v", err)
	}
	results, err := c.ClassifyBatch(ctx, [][]byte{nil, []byte("GIF")})
	if err != nil || !errors.As(results[0].Err, &ie) || !errors.As(results[1].Err, &ie) {
		t.Errorf("nothing and no image: %+v, %v", results, err)
	}
	if _, err := c.ClassifyPixels(ctx, make([]float32, 5), 1); KindOf(err) != KindConfig {
		t.Errorf("five pixel values: %v", err)
	}
	nan := make([]float32, c.Preprocess().Size())
	nan[7] = float32(math.NaN())
	if _, err := c.ClassifyPixels(ctx, nan, 1); !errors.Is(err, errNotFinite) {
		t.Errorf("pixels that are no numbers: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.ClassifyBatch(ended, [][]byte{nil}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}

// Files are answered in order, also where they come from a source that keeps
// others waiting; an error of the receiver and the end of the context stop it.
func testFiles(t *testing.T, run string, rows [][]string) {
	c := openClassifier(t, run, ClassifierOptions{MaxBatch: 2})
	folder := filepath.Dir(filepath.Dir(rows[0][0]))
	var paths []string
	for path, err := range ImageFiles([]string{folder}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if len(paths) != len(rows) || !slices.IsSorted(paths) {
		t.Errorf("images in %s: %v", folder, paths)
	}
	blocked, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(context.Background())
	endless := func(yield func(string, error) bool) {
		for _, path := range paths {
			if !yield(path, nil) {
				return
			}
		}
		if yield("gone", fs.ErrNotExist) {
			close(blocked)
			<-release
		}
	}
	var got []string
	err := c.ClassifyFiles(ctx, endless, func(path string, p Prediction, err error) error {
		if got = append(got, path); path == "gone" {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a path with an error comes with %v", err)
			}
			<-blocked
			cancel()
		} else if err != nil || p.Label == "" {
			t.Errorf("%s: %q, %v", path, p.Label, err)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(got, append(paths, "gone")) {
		t.Errorf("%v, in the order %v", err, got)
	}
	full := errors.New("disk full")
	n := 0
	err = c.ClassifyFiles(context.Background(), ImageFiles([]string{folder}, nil), func(string, Prediction, error) error {
		if n++; n == 3 {
			return full
		}
		return nil
	})
	if err != full || n != 3 {
		t.Errorf("stopped after %d with %v", n, err)
	}
}

// A batch gathers what is there; it waits for others only while some are being
// prepared, and no longer than the delay.
func TestQueueGathers(t *testing.T) {
	for _, x := range []struct {
		name      string
		waiting   int
		preparing int64
		delay     time.Duration
		late      int // requests that arrive while it waits
		want      int
		atLeast   time.Duration
	}{
		{name: "alone", waiting: 0, delay: time.Hour, want: 1},
		{name: "full", waiting: 9, preparing: 3, delay: time.Hour, want: 4},
		{name: "those there", waiting: 2, delay: time.Hour, want: 3},
		{name: "one is late", waiting: 1, preparing: 1, delay: time.Hour, late: 2, want: 4},
		{name: "one never comes", waiting: 1, preparing: 1, delay: 20 * time.Millisecond, want: 2, atLeast: 20 * time.Millisecond},
		{name: "no delay", waiting: 1, preparing: 1, delay: -1, want: 2},
	} {
		t.Run(x.name, func(t *testing.T) {
			q := &queue{batch: 4, delay: x.delay, requests: make(chan *request, 16)}
			q.preparing.Store(x.preparing)
			ready := func() *request { return &request{since: time.Now()} }
			first := ready()
			for range x.waiting {
				q.requests <- ready()
			}
			if x.late > 0 {
				go func() {
					for range x.late {
						time.Sleep(time.Millisecond)
						q.requests <- ready()
					}
				}()
			}
			got := q.gather([]*request{first})
			if waited := time.Since(first.since); len(got) != x.want || waited < x.atLeast {
				t.Errorf("gathered %d after %v, want %d after at least %v", len(got), waited, x.want, x.atLeast)
			}
		})
	}
}

func TestOpenClassifierRefuses(t *testing.T) {
	needRuntime(t)
	dir := t.TempDir()
	backbone, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"backbone.onnx": string(backbone), "text.onnx": "no model", "empty/config.yaml": ""} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		path  string
		o     ClassifierOptions
		kind  Kind
		names string
	}{
		{"absent", ClassifierOptions{}, KindData, "absent"},
		{"empty", ClassifierOptions{}, KindData, "no finished run"},
		{"text.onnx", ClassifierOptions{}, KindData, "text.onnx"},
		{"backbone.onnx", ClassifierOptions{}, KindData, "vitft export"},
		{"backbone.onnx", ClassifierOptions{Provider: "tpu"}, KindConfig, "tpu"},
		{"backbone.onnx", ClassifierOptions{MaxBatch: -1, Threads: -1, MaxPixels: -1, MaxDelay: time.Hour}, KindConfig, "batch"},
	} {
		_, err := OpenClassifier(filepath.Join(dir, x.path), x.o)
		if err == nil || KindOf(err) != x.kind || !strings.Contains(err.Error(), x.names) {
			t.Errorf("%s with %+v: %v, want kind %v and it to name %q", x.path, x.o, err, x.kind, x.names)
		}
	}
}
