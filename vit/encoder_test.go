package vit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// fakeModel sums channels in a way that tells images apart; each row depends on its image alone.
type fakeModel struct {
	dim     int
	delay   time.Duration
	fail    error         // returned by run number failAt
	failAt  int64         // counted from 1
	block   chan struct{} // if set, Run waits for it or for ctx
	runs    atomic.Int64
	rows    atomic.Int64
	largest atomic.Int64
}

func (m *fakeModel) Dim() int { return m.dim }

func (m *fakeModel) Run(ctx context.Context, pixels []float32, n int, features []float32) error {
	run := m.runs.Add(1)
	m.rows.Add(int64(n))
	m.largest.Store(max(m.largest.Load(), int64(n)))
	if m.fail != nil && run == m.failAt {
		return m.fail
	}
	if m.block != nil {
		select {
		case <-m.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	time.Sleep(m.delay)
	size := len(pixels) / n
	if len(features) != n*m.dim || len(pixels)%n != 0 {
		return fmt.Errorf("%d rows: %d pixels, %d features", n, len(pixels), len(features))
	}
	for i := range n {
		image, feature := pixels[i*size:(i+1)*size], features[i*m.dim:(i+1)*m.dim]
		clear(feature)
		for j, v := range image {
			feature[j%m.dim] += v * float32(j%7+1)
		}
	}
	return nil
}

// photos are small images, some of them bad: image i is number i%len.
func photos(t testing.TB) [][]byte {
	var list [][]byte
	for _, name := range []string{"420-27x19.jpg", "rgb.png", "lossy-64x48.webp", "palette4.png", "rgb.bmp", "rgb.ppm",
		"grey.jpg"} {
		data, _ := fixture(t, name)
		list = append(list, data)
	}
	return list
}

type outcome struct {
	feature []float32
	err     error
}

// encodeAll runs e and checks order and number of the calls of done.
func encodeAll(t testing.TB, e *Encoder, n int, load func(int) ([]byte, error)) []outcome {
	t.Helper()
	var got []outcome
	err := e.Encode(context.Background(), n, load, func(i int, feature []float32, err error) error {
		if i != len(got) {
			t.Errorf("image %d comes after %d others", i, len(got))
		}
		if (feature == nil) == (err == nil) {
			t.Errorf("image %d: feature %v and error %v", i, feature, err)
		}
		got = append(got, outcome{slices.Clone(feature), err})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != n {
		t.Fatalf("%d of %d images are done", len(got), n)
	}
	return got
}

func TestEncode(t *testing.T) {
	p := DefaultPreprocess(16, 16)
	list := photos(t)
	missing := errors.New("no such file")
	load := func(i int) ([]byte, error) {
		switch i % 11 {
		case 3:
			return nil, missing
		case 7, 8:
			return []byte("no image"), nil
		}
		return list[i%len(list)], nil
	}
	const dim = 5
	want := func(i int) []float32 {
		pixels, feature := make([]float32, p.Size()), make([]float32, dim)
		if err := p.Bytes(list[i%len(list)], pixels); err != nil {
			t.Fatal(err)
		}
		if err := (&fakeModel{dim: dim}).Run(context.Background(), pixels, 1, feature); err != nil {
			t.Fatal(err)
		}
		return feature
	}
	for _, n := range []int{0, 1, 3, 4, 5, 50} {
		for _, batch := range []int{0, 1, 4, 7, 100} {
			for _, workers := range []int{0, 1, 5} {
				m := &fakeModel{dim: dim}
				e := &Encoder{Model: m, Preprocess: p, Batch: batch, Workers: workers}
				good := 0
				for i, o := range encodeAll(t, e, n, load) {
					var bad *ImageError
					switch i % 11 {
					case 3:
						if !errors.As(o.err, &bad) || bad.Reason != ReasonUnreadable || !errors.Is(o.err, missing) {
							t.Errorf("image %d: %v", i, o.err)
						}
					case 7, 8:
						if !errors.As(o.err, &bad) || bad.Reason != ReasonUnknown {
							t.Errorf("image %d: %v", i, o.err)
						}
					default:
						good++
						if !slices.Equal(o.feature, want(i)) {
							t.Errorf("n %d, batch %d, workers %d: image %d has another feature", n, batch, workers, i)
						}
					}
				}
				if m.rows.Load() != int64(good) {
					t.Errorf("the model saw %d images, %d are good", m.rows.Load(), good)
				}
				if most := m.largest.Load(); batch > 0 && most > int64(batch) {
					t.Errorf("a run of %d images with batch %d", most, batch)
				}
			}
		}
	}
}

// goroutines fails the test if Encode leaves goroutines behind.
func goroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			if n := runtime.NumGoroutine(); n <= before {
				return
			} else if time.Now().After(deadline) {
				t.Errorf("%d goroutines, %d before", n, before)
				return
			}
		}
	})
}

func TestEncodeSlowModel(t *testing.T) {
	goroutines(t)
	list := photos(t)
	e := &Encoder{Model: &fakeModel{dim: 2, delay: 3 * time.Millisecond}, Preprocess: DefaultPreprocess(8, 8), Batch: 3,
		Workers: 4}
	encodeAll(t, e, 40, func(i int) ([]byte, error) { return list[i%len(list)], nil })
}

func TestEncodeAllBad(t *testing.T) {
	goroutines(t)
	m := &fakeModel{dim: 2}
	e := &Encoder{Model: m, Preprocess: DefaultPreprocess(8, 8), Batch: 3}
	encodeAll(t, e, 10, func(int) ([]byte, error) { return nil, nil })
	if m.runs.Load() != 0 {
		t.Errorf("the model ran %d times on nothing", m.runs.Load())
	}
}

func TestEncodeStops(t *testing.T) {
	list := photos(t)
	load := func(i int) ([]byte, error) { return list[i%len(list)], nil }
	pass := func(int, []float32, error) error { return nil }
	stop := errors.New("stop")
	for name, c := range map[string]struct {
		model *fakeModel
		load  func(i int) ([]byte, error)
		done  func(i int, feature []float32, err error) error
		want  error
	}{
		"first run fails":    {&fakeModel{dim: 2, fail: stop, failAt: 1}, load, pass, stop},
		"later run fails":    {&fakeModel{dim: 2, fail: stop, failAt: 4}, load, pass, stop},
		"done fails at once": {&fakeModel{dim: 2}, load, func(int, []float32, error) error { return stop }, stop},
		"done fails later": {&fakeModel{dim: 2}, load, func(i int, _ []float32, _ error) error {
			if i == 17 {
				return stop
			}
			return nil
		}, stop},
		"done fails while the model runs": {&fakeModel{dim: 2, delay: 5 * time.Millisecond}, load,
			func(i int, _ []float32, _ error) error {
				if i == 5 {
					return stop
				}
				return nil
			}, stop},
		"load is cancelled": {&fakeModel{dim: 2}, func(i int) ([]byte, error) {
			if i == 13 {
				return nil, context.Canceled
			}
			return load(i)
		}, pass, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			goroutines(t)
			e := &Encoder{Model: c.model, Preprocess: DefaultPreprocess(8, 8), Batch: 4, Workers: 3}
			calls := 0
			err := e.Encode(context.Background(), 60, c.load, func(i int, feature []float32, err error) error {
				if i != calls {
					t.Errorf("image %d comes after %d others", i, calls)
				}
				calls++
				return c.done(i, feature, err)
			})
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if calls == 60 {
				t.Error("all images are done")
			}
		})
	}
}

func TestEncodeCancel(t *testing.T) {
	list := photos(t)
	load := func(i int) ([]byte, error) { return list[i%len(list)], nil }
	t.Run("before", func(t *testing.T) {
		goroutines(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		e := &Encoder{Model: &fakeModel{dim: 2}, Preprocess: DefaultPreprocess(8, 8)}
		for _, n := range []int{0, 10} {
			if err := e.Encode(ctx, n, load,
				func(int, []float32, error) error { t.Error("done is called"); return nil }); !errors.Is(err,
				context.Canceled) {
				t.Errorf("%d images: %v", n, err)
			}
		}
	})
	t.Run("while the model blocks", func(t *testing.T) {
		goroutines(t)
		ctx, cancel := context.WithCancel(context.Background())
		e := &Encoder{Model: &fakeModel{dim: 2, block: make(chan struct{})}, Preprocess: DefaultPreprocess(8, 8),
			Batch: 4}
		time.AfterFunc(10*time.Millisecond, cancel)
		if err := e.Encode(ctx, 100, load, func(int, []float32, error) error { return nil }); !errors.Is(err,
			context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("within one batch", func(t *testing.T) {
		goroutines(t)
		ctx, cancel := context.WithCancel(context.Background())
		const batch = 4
		e := &Encoder{Model: &fakeModel{dim: 2}, Preprocess: DefaultPreprocess(8, 8), Batch: batch}
		after := 0
		err := e.Encode(ctx, 1000, load, func(i int, _ []float32, _ error) error {
			if i == 20 {
				cancel()
			}
			if i > 20 {
				after++
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || after >= batch {
			t.Errorf("%v; %d images done afterwards", err, after)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		goroutines(t)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		e := &Encoder{Model: &fakeModel{dim: 2, delay: time.Millisecond}, Preprocess: DefaultPreprocess(8, 8), Batch: 1}
		if err := e.Encode(ctx, 100000, load, func(int, []float32, error) error { return nil }); !errors.Is(err,
			context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestEncodeRefuses(t *testing.T) {
	for _, e := range []*Encoder{
		{Model: &fakeModel{dim: 2}},
		{Model: &fakeModel{dim: 2}, Preprocess: DefaultPreprocess(8, 8), Batch: -1},
		{Model: &fakeModel{dim: 2}, Preprocess: DefaultPreprocess(8, 8), Workers: -1},
	} {
		if err := e.Encode(context.Background(), 1, nil, nil); err == nil {
			t.Errorf("%+v is accepted", e)
		}
	}
}

func ExampleEncoder() {
	data, err := os.ReadFile("testdata/images/rgb.png")
	if err != nil {
		panic(err)
	}
	e := Encoder{Model: &fakeModel{dim: 3}, Preprocess: DefaultPreprocess(32, 32)}
	files := [][]byte{data, []byte("not an image"), data}
	err = e.Encode(context.Background(), len(files),
		func(i int) ([]byte, error) { return files[i], nil },
		func(i int, feature []float32, err error) error {
			if err != nil {
				fmt.Printf("%d: %v\n", i, err)
				return nil
			}
			fmt.Printf("%d: %d numbers\n", i, len(feature))
			return nil
		})
	if err != nil {
		panic(err)
	}
	// Output:
	// 0: 3 numbers
	// 1: image is unusable: unknown format: it is text and no image; remove it or put an image in its place
	// 2: 3 numbers
}
