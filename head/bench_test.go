package head_test

import (
	"context"
	"math"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
)

// longTail has the size of CIFAR-100-LT IR 100 on ViT-Tiny features: 10,847 samples, 192 features, 100 classes.
func longTail() head.Data {
	counts := make([]int, 100)
	for y := range counts {
		counts[y] = int(500 * math.Pow(0.01, float64(y)/99))
	}
	return mixture(1, 192, 20, counts...)
}

// BenchmarkEpoch is an epoch of each loss and estimator beside the three matrix products that it cannot do without.
func BenchmarkEpoch(b *testing.B) {
	d := longTail()
	n := len(d.Y)
	b.Run("products", func(b *testing.B) {
		const batch = 256
		x, w := d.X[:batch*d.Dim], d.X[:d.Classes*d.Dim]
		z, g := make([]float32, batch*d.Classes), make([]float32, d.Classes*d.Dim)
		for b.Loop() {
			for range (n + batch - 1) / batch {
				_ = (head.Blas{}).Mul(false, true, batch, d.Classes, d.Dim, x, w, z)
				_ = (head.Blas{}).Mul(true, false, d.Classes, d.Dim, batch, z, x, g)
			}
		}
	})
	for _, c := range []struct {
		name string
		set  head.Settings
	}{
		{"ce", head.Settings{Loss: "ce"}},
		{"la", head.Settings{Loss: "la"}},
		{"cvs-none", head.Settings{Kappa: calib.One{}}},
		{"cvs-slope", head.Settings{Kappa: calib.Slope{}}},
		{"cvs-slope-raw", head.Settings{Kappa: calib.Slope{Raw: true}}},
		{"cvs-slope-pass", head.Settings{Kappa: calib.Slope{FullPass: true}}},
		{"cvs-one-vs-rest", head.Settings{Kappa: calib.Slope{Group: calib.OneVsRest}}},
		{"cvs-vit", head.Settings{Kappa: calib.ViT{}}},
		{"cvs-ddc", head.Settings{Kappa: calib.DDC{}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			// One training of b.N epochs, so that setting up hardly counts.
			c.set.Epochs = max(b.N, 4)
			c.set.Switch = new(2.0)
			epochs := 0
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			c.set.Events.Epoch = func(e head.Epoch, _ *head.State) {
				if epochs++; epochs == b.N {
					b.StopTimer()
					cancel()
				}
				if epochs == 1 && b.N > 1 {
					b.ResetTimer()
				}
			}
			_, _ = head.Train(ctx, d, c.set)
		})
	}
}
