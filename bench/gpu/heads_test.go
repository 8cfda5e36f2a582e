package gpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
)

// products measures single matrix products both ways. The last column is what vitft would choose.
func (b *bench) products() {
	cpu, other := b.gemm(onnx.CPU), b.gemm(b.provider)
	pays := other.OnDevice
	other.OnDevice = always
	b.printf("## Matrix products\n\n| op(A)·op(B), m×k · k×n | cpu, ms | %s, ms | times | vitft takes "+
		"|\n|---|---|---|---|---|\n", b.provider)
	shapes := []struct {
		m, n, k        int
		transA, transB bool
		what           string
	}{
		{256, 100, 192, false, true, "logits of a batch, ViT-Tiny and 100 classes"},
		{100, 192, 256, true, false, "its gradient"},
		{256, 1000, 768, false, true, "logits of a batch, ViT-B and 1000 classes"},
		{1000, 768, 256, true, false, "its gradient"},
		{4096, 1000, 768, false, true, "the same with a batch of 4096"},
		{50000, 1000, 768, false, true, "logits of 50,000 images"},
		{768, 768, 50000, true, false, "their covariance"},
	}
	if b.quick {
		shapes = shapes[:2]
	}
	worst := 0.0
	for _, s := range shapes {
		x, y := normals(1, s.m*s.k), normals(2, s.k*s.n)
		want, got := make([]float32, s.m*s.n), make([]float32, s.m*s.n)
		onCPU, onOther := b.inTurns(func(p onnx.Provider) ([]float64, error) {
			g, c := cpu, want
			if p != onnx.CPU {
				g, c = other, got
			}
			ms, err := milliseconds(b.seconds/4,
				func() error { return g.Mul(s.transA, s.transB, s.m, s.n, s.k, x, y, c) })
			return []float64{ms}, err
		})
		if b.provider != onnx.CPU {
			worst = max(worst, relative(want, got))
		}
		takes := onnx.CPU
		if other.Provider() != string(onnx.CPU) && pays(s.m, s.n, s.k) {
			takes = b.provider
		}
		b.printf("| %s, %d×%d · %d×%d | %.3f | %.3f | %.2f | %s |\n", s.what, s.m, s.k, s.k, s.n, onCPU[0], onOther[0],
			onCPU[0]/onOther[0], takes)
	}
	b.printf("\n")
	b.check(fmt.Sprintf("products: largest difference %.2g of the largest value", worst), atMost(worst, bound))
	b.printf("\n")
}

// gemm are the products on a provider, until the end of the measurement.
func (b *bench) gemm(p onnx.Provider) *onnx.Gemm {
	g, err := onnx.NewGemm(0, p)
	b.must(err)
	b.Cleanup(func() { g.Close() })
	return g
}

func always(m, n, k int) bool { return true }

// milliseconds is how long one call takes, the mean over so many seconds.
func milliseconds(seconds float64, call func() error) (float64, error) {
	if err := call(); err != nil {
		return 0, err
	}
	begin, calls := time.Now(), 0
	for calls == 0 || time.Since(begin).Seconds() < seconds {
		if err := call(); err != nil {
			return 0, err
		}
		calls++
	}
	return 1e3 * time.Since(begin).Seconds() / float64(calls), nil
}

// training trains heads with the product on either provider and compares the weights.
func (b *bench) training() {
	every := b.gemm(b.provider)
	every.OnDevice = always
	ways := []struct {
		where string
		gemm  *onnx.Gemm
	}{
		{"cpu", b.gemm(onnx.CPU)},
		{string(b.provider) + ", every one", every},
		{string(b.provider) + ", as vitft chooses", b.gemm(b.provider)},
	}
	b.printf("## Head training, loss cvs\n\n| features, classes | product on | seconds an epoch | seconds in all | " +
		"difference of the weights |\n|---|---|---|---|---|\n")
	sets := []struct {
		name         string
		dim, classes int
		first, last  int // images of the most and least frequent class, falling exponentially between
		epochs       int
	}{
		{"10,847×192, 100: CIFAR-100-LT, IR 100", 192, 100, 500, 5, 10},
		{"50,000×768, 1000", 768, 1000, 50, 50, 3},
	}
	if b.quick {
		sets = sets[:1]
		sets[0].name, sets[0].classes, sets[0].epochs = "quick", 10, 2
	}
	worst := 0.0
	for _, s := range sets {
		data := randomData(s.dim, s.classes, s.first, s.last)
		var want []float32
		for _, x := range ways {
			begin := time.Now()
			result, err := head.Train(b.ctx, data, head.Settings{Loss: "cvs", Epochs: s.epochs, Gemm: x.gemm, Seed: 1})
			if err != nil {
				b.Fatalf("head training: %s on %s: %v", s.name, x.where, err)
			}
			all := time.Since(begin).Seconds()
			var epochs []float64
			for _, e := range result.State.History {
				epochs = append(epochs, e.Seconds)
			}
			if want == nil {
				want = result.Head.W
			}
			d := relative(want, result.Head.W)
			worst = max(worst, d)
			b.printf("| %s | %s | %.3f | %.2f | %.2g |\n", s.name, x.where, median(epochs), all, d)
		}
	}
	b.printf("\n")
	b.check(fmt.Sprintf("trained weights: largest difference %.2g of the largest weight (at most %g)", worst, bound),
		atMost(worst, bound))
	b.memory("after training")
}

// randomData is features in clusters, one for each class.
func randomData(dim, classes, first, last int) head.Data {
	d := head.Data{Dim: dim, Classes: classes}
	r := rand.New(rand.NewPCG(6, 7))
	centres := normals(8, classes*dim)
	for k := range classes {
		share := float64(k) / float64(classes-1)
		for range int(float64(first) * math.Pow(float64(last)/float64(first), share)) {
			d.Y = append(d.Y, k)
			for _, c := range centres[k*dim : (k+1)*dim] {
				d.X = append(d.X, 0.3*c+float32(r.NormFloat64()))
			}
		}
	}
	return d
}

func normals(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 9))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}
