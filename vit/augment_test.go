package vit

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A window is cut out and resized as Pillow does (TestResampleEqualsPillow has Preprocess do so), then mirrored.
func TestAugmentBytes(t *testing.T) {
	p := Preprocess{Width: 24, Height: 20, Interpolation: "bicubic", Orientation: true}
	for _, name := range []string{"orientation-6.jpg", "rgb.png"} {
		data, err := os.ReadFile(filepath.Join("testdata", "images", name))
		if err != nil {
			t.Fatal(err)
		}
		img, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		upright := new(RGB)
		img.turn(img.Orientation, upright)
		flips := 0
		for seed := range uint64(20) {
			for _, a := range []Augment{
				{Crop: true, Area: 0.3, Flip: true}, {Crop: true, Square: true, Area: 0.5}, {Flip: true}} {
				got, want := make([]float32, p.Size()), make([]float32, p.Size())
				if err := a.Bytes(t.Context(), p, rand.New(rand.NewPCG(seed, 1)), data, got); err != nil {
					t.Fatal(err)
				}
				rng, exact, part := rand.New(rand.NewPCG(seed, 1)), p, *upright
				if a.Crop {
					at := a.window(rng, upright.Width, upright.Height)
					part = RGB{Width: at.width, Height: at.height}
					for y := range at.height {
						part.Pix = append(part.Pix, upright.row(at.y + y)[3*at.x:3*(at.x+at.width)]...)
					}
					exact.Resize = "exact"
				}
				if err := exact.Image(&part, want); err != nil {
					t.Fatal(err)
				}
				if a.Flip && rng.Uint64()%2 == 1 {
					flips++
					for i := range 3 * p.Height {
						slices.Reverse(want[i*p.Width : (i+1)*p.Width])
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, %+v, seed %d: other pixels", name, a, seed)
				}
			}
		}
		if flips < 8 || flips > 32 {
			t.Errorf("%d of 40 are mirrored", flips)
		}
	}
}

// Windows lie inside, have the shares and shapes that are asked for, evenly, and are the middle where none fits.
func TestWindows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 20000
	for _, square := range []bool{false, true} {
		var share, shape, right float64
		a := Augment{Crop: true, Square: square, Area: 0.2}
		for range n {
			at := a.window(rng, 1000, 1000)
			if at.x < 0 || at.y < 0 || at.x+at.width > 1000 || at.y+at.height > 1000 {
				t.Fatalf("%+v is outside", at)
			}
			s, r := float64(at.width*at.height)/1e6, float64(at.width)/float64(at.height)
			if s < 0.198 || s > 1.002 || r < 0.745 || r > 1.34 || square && r != 1 {
				t.Fatalf("%+v: share %v, shape %v", at, s, r)
			}
			share, shape, right = share+s/n, shape+math.Log(r)/n, right+float64(2*at.x+at.width)/2000/n
		}
		// Of a square image large windows seldom fit, so torchvision's are smaller than the mean of the range: 0.539 by
		// 300,000 draws of its arithmetic in Python.
		want := map[bool]float64{false: 0.539, true: 0.6}[square]
		if math.Abs(share-want) > 0.006 || math.Abs(shape) > 0.005 || math.Abs(right-0.5) > 0.005 {
			t.Errorf("square %v: mean share %v, want %v; log shape %v; middle %v", square, share, want, shape, right)
		}
	}
	for _, c := range []struct {
		w, h int
		want window
	}{{3, 1000, window{0, 498, 3, 4}}, {1000, 3, window{498, 0, 4, 3}}, {1, 1, window{0, 0, 1, 1}}} {
		if got := (Augment{Crop: true, Area: 0.9}).window(rng, c.w, c.h); got != c.want {
			t.Errorf("%d×%d: %+v, want %+v", c.w, c.h, got, c.want)
		}
		if got := (Augment{Crop: true, Square: true, Area: 0.9}).window(rng, c.w, c.h); got.width != min(c.w, c.h) {
			t.Errorf("%d×%d: the square is %+v", c.w, c.h, got)
		}
	}
}
