package onnx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

func newGemm(t testing.TB, threads int) *Gemm {
	t.Helper()
	needRuntime(t)
	g, err := NewGemm(threads, CPU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// product is the definition, in float64; abs sums the magnitudes of the terms, which rounding errors are measured by.
func product(transA, transB bool, m, n, k int, a, b []float32) (c, abs []float64) {
	c, abs = make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			for p := range k {
				ai, bi := i*k+p, p*n+j
				if transA {
					ai = p*m + i
				}
				if transB {
					bi = j*k + p
				}
				t := float64(a[ai]) * float64(b[bi])
				c[i*n+j] += t
				abs[i*n+j] += math.Abs(t)
			}
		}
	}
	return c, abs
}

func checkProduct(t *testing.T, g *Gemm, transA, transB bool, m, n, k int, seed uint64) {
	t.Helper()
	a, b := randoms(seed, m*k), randoms(seed+1, k*n)
	const guard = float32(12345)
	c := slices.Repeat([]float32{guard}, m*n+1)
	if err := g.Mul(transA, transB, m, n, k, a, b, c); err != nil {
		t.Fatal(err)
	}
	want, abs := product(transA, transB, m, n, k, a, b)
	for i, w := range want {
		// k additions in float32 lose at most about k units in the last place of the largest partial sum.
		if d := math.Abs(float64(c[i]) - w); d > abs[i]*float64(k+1)*0x1p-24 {
			t.Fatalf("trans %v %v, %d×%d×%d, element %d: %v, want %v", transA, transB, m, n, k, i, c[i], w)
		}
	}
	if c[m*n] != guard {
		t.Fatalf("trans %v %v, %d×%d×%d: wrote past C", transA, transB, m, n, k)
	}
}

func TestGemm(t *testing.T) {
	g := newGemm(t, 0)
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 2, 3, 5, 16, 17, 64, 100, 129, 257}
	for i := range 200 {
		m, n, k := sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))]
		checkProduct(t, g, i&1 != 0, i&2 != 0, m, n, k, uint64(i))
	}
}

// TestGemmPays holds the rule to cases that are beyond doubt: the product of a training step of a small head is not
// worth a copy to the device, that of a large head on few threads is.
func TestGemmPays(t *testing.T) {
	for _, x := range []struct {
		threads, m, n, k int
		want             bool
	}{
		{2, 256, 100, 192, false}, {16, 256, 100, 192, false}, // a batch of CIFAR-100-LT on ViT-Tiny
		{2, 256, 1000, 768, true}, {16, 256, 1000, 768, false}, // 1000 classes on ViT-B
		{2, 100000, 1, 768, false}, // a matrix and a vector
		{2, 1, 1, 1, false}, {2, 4096, 4096, 4096, true},
	} {
		g := &Gemm{threads: x.threads}
		if got := g.pays(x.m, x.n, x.k); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

func FuzzGemm(f *testing.F) {
	f.Add(uint8(3), uint8(4), uint8(5), true, false, uint64(1))
	f.Add(uint8(0), uint8(1), uint8(0), false, true, uint64(2))
	f.Fuzz(func(t *testing.T, m, n, k uint8, transA, transB bool, seed uint64) {
		checkProduct(t, newGemm(t, 1), transA, transB, int(m), int(n), int(k), seed)
	})
}

func TestGemmRefuses(t *testing.T) {
	g := newGemm(t, 1)
	v := make([]float32, 4)
	for name, err := range map[string]error{
		"short a":  g.Mul(false, false, 2, 2, 3, v, make([]float32, 6), v),
		"short b":  g.Mul(false, false, 2, 2, 3, make([]float32, 6), v, v),
		"short c":  g.Mul(false, false, 2, 3, 2, v, make([]float32, 6), v),
		"negative": g.Mul(false, false, -1, 2, 2, v, v, v),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := g.Mul(false, false, 2, 2, 0, nil, nil, v); err != nil || v[0] != 0 {
		t.Errorf("empty sum: %v, %v", v, err)
	}
}

// TestGemmBits holds that a product has the same bits whatever the number of threads and of goroutines.
func TestGemmBits(t *testing.T) {
	one, many := newGemm(t, 1), newGemm(t, 5)
	r := rand.New(rand.NewPCG(3, 4))
	var wg sync.WaitGroup
	for i := range 400 {
		transA, transB := i&1 != 0, i&2 != 0
		m, n, k := 1+r.IntN(400), 1+r.IntN(300), 1+r.IntN(700)
		switch i % 40 {
		case 4:
			n = 1
		case 9:
			m = 1
		case 14:
			m, n, k = 4096, 1, 768
		}
		a, b := randoms(uint64(i), m*k), randoms(uint64(i)+1, k*n)
		want := make([]float32, m*n)
		if err := one.Mul(transA, transB, m, n, k, a, b, want); err != nil {
			t.Fatal(err)
		}
		check := func() {
			got := make([]float32, m*n)
			if err := many.Mul(transA, transB, m, n, k, a, b, got); err != nil || !slices.Equal(got, want) {
				t.Errorf("trans %v %v, %d×%d×%d: other bits (%v)", transA, transB, m, n, k, err)
			}
		}
		check()
		wg.Go(check) // beside others it gets fewer threads
	}
	wg.Wait()
}

// BenchmarkGemm compares with gonum, on the shapes of training: logits, and the gradient of the weights.
func BenchmarkGemm(b *testing.B) {
	g := newGemm(b, 0)
	for _, s := range []struct {
		m, n, k        int
		transA, transB bool
	}{
		{1024, 1000, 768, false, false},
		{1024, 1000, 768, false, true},
		{1000, 768, 1024, true, false},
		{512, 100, 192, false, false},
		{512, 100, 192, false, true},
		{100, 192, 512, true, false},
		{256, 100, 192, false, true},
		{100, 192, 256, true, false},
		{2048, 192, 192, false, true},
	} {
		x, y, c := randoms(1, s.m*s.k), randoms(2, s.k*s.n), make([]float32, s.m*s.n)
		flop := 2 * float64(s.m) * float64(s.n) * float64(s.k)
		name := fmt.Sprintf("%dx%dx%d/transA=%v,transB=%v", s.m, s.k, s.n, s.transA, s.transB)
		b.Run(name+"/onnx", func(b *testing.B) {
			for b.Loop() {
				if err := g.Mul(s.transA, s.transB, s.m, s.n, s.k, x, y, c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
		b.Run(name+"/gonum", func(b *testing.B) {
			matrix := func(rows, cols int, trans bool, data []float32) (blas32.General, blas.Transpose) {
				if trans {
					return blas32.General{Rows: cols, Cols: rows, Stride: rows, Data: data}, blas.Trans
				}
				return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: data}, blas.NoTrans
			}
			A, ta := matrix(s.m, s.k, s.transA, x)
			B, tb := matrix(s.k, s.n, s.transB, y)
			C, _ := matrix(s.m, s.n, false, c)
			for b.Loop() {
				blas32.Gemm(ta, tb, 1, A, B, 0, C)
			}
			b.ReportMetric(flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
