package vit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

// levels is a Preprocess whose output is 8-bit levels, up to float rounding.
func levels(p Preprocess) Preprocess {
	p.Mean, p.Std = [3]float32{}, [3]float32{1. / 255, 1. / 255, 1. / 255}
	return p
}

// input is the image that preprocessing makes, as interleaved bytes again.
func input(t testing.TB, p Preprocess, img *RGB) *RGB {
	t.Helper()
	dst := make([]float32, p.Size())
	if err := levels(p).Image(img, dst); err != nil {
		t.Fatal(err)
	}
	out := new(RGB)
	out.resize(p.Width, p.Height)
	for i := range p.Width * p.Height {
		for c := range 3 {
			v := dst[c*p.Width*p.Height+i]
			if v < 0 || v > 255.01 || math.Abs(float64(v)-math.Round(float64(v))) > 0.001 {
				t.Fatalf("pixel %d is %v, no level", i, v)
			}
			out.Pix[3*i+c] = byte(math.Round(float64(v)))
		}
	}
	return out
}

// generator is the linear congruential generator of make_fixtures.py.
type generator uint32

func (g *generator) next() uint32 {
	*g = *g*1664525 + 1013904223
	return uint32(*g)
}

func noise(w, h int) *RGB {
	img := new(RGB)
	img.resize(w, h)
	g := generator(w*65537 + h)
	for i := range img.Pix {
		img.Pix[i] = byte(g.next() >> 24)
	}
	return img
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestResampleEqualsPillow(t *testing.T) {
	var cases [][]any
	readJSON(t, "resample.json", &cases)
	if len(cases) < 500 {
		t.Fatalf("%d cases", len(cases))
	}
	images := map[image.Point]*RGB{}
	for _, c := range cases {
		n := func(i int) int { return int(c[i].(float64)) }
		size := image.Pt(n(0), n(1))
		if images[size] == nil {
			images[size] = noise(size.X, size.Y)
		}
		p := Preprocess{Width: n(2), Height: n(3), Resize: "exact", Interpolation: c[4].(string)}
		sum := sha256.Sum256(input(t, p, images[size]).Pix)
		if hex.EncodeToString(sum[:8]) != c[5] {
			t.Errorf("%v to %d×%d, %s: not Pillow's pixels", size, n(2), n(3), c[4])
		}
	}
}

// Computing only the crop gives the same pixels as cropping the whole.
func TestCropOfWhole(t *testing.T) {
	for i := range 300 {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		img := noise(1+r.IntN(90), 1+r.IntN(90))
		p := Preprocess{
			Width: 1 + r.IntN(40), Height: 1 + r.IntN(40),
			Interpolation: []string{"nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"}[r.IntN(6)],
			Resize:        []string{"shortest", "exact"}[r.IntN(2)],
		}
		p.ResizeTo = max(p.Width, p.Height) + r.IntN(20)
		p.Crop = []string{"", "down"}[r.IntN(2)]
		p = p.Resolved()
		w, h := p.resized(img.Width, img.Height)
		whole := input(t, Preprocess{Width: w, Height: h, Resize: "exact", Interpolation: p.Interpolation}, img)
		crop := input(t, p, img)
		x0, y0 := p.margin(w-p.Width), p.margin(h-p.Height)
		for y := range p.Height {
			want := whole.row(y0 + y)[3*x0:][:3*p.Width]
			if !slices.Equal(crop.row(y), want) {
				t.Fatalf("%+v of %d×%d: row %d differs", p, img.Width, img.Height, y)
			}
		}
	}
}

func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		edge, w, h, width, height int
	}{
		{256, 500, 375, 341, 256}, // int(256·500/375) = int(341.33)
		{256, 375, 500, 256, 341},
		{224, 300, 200, 336, 224},
		{224, 199, 200, 224, 225},
		{248, 1000, 3, 82666, 248},
		{224, 224, 224, 224, 224},
	} {
		p := Preprocess{Width: 224, Height: 224, Resize: "shortest", ResizeTo: c.edge}
		if w, h := p.resized(c.w, c.h); w != c.width || h != c.height {
			t.Errorf("%d×%d to %d: %d×%d, want %d×%d", c.w, c.h, c.edge, w, h, c.width, c.height)
		}
	}
	// int(round(d/2.0)) of Python, d = 0 …
	for d, want := range []int{0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 6} {
		if got := (Preprocess{}).margin(d); got != want {
			t.Errorf("offset for %d spare pixels is %d, want %d", d, got, want)
		}
		if got := (Preprocess{Crop: "down"}).margin(d); got != d/2 {
			t.Errorf("offset for %d spare pixels, rounded down, is %d", d, got)
		}
	}
}

// The sanity photos, decoded and preprocessed, are Pillow's.
func TestPhotosEqualPillow(t *testing.T) {
	folder := testkit.Shared(t, "data", "imagenet_sanity20")
	type samples struct {
		Mean    [3]float64
		Samples [][5]int
	}
	var photos map[string]struct {
		Size           [2]int
		Decoded, Input samples
	}
	readJSON(t, "photos.json", &photos)
	if len(photos) != 20 {
		t.Fatalf("%d photos", len(photos))
	}
	compare := func(name string, img *RGB, want samples) {
		t.Helper()
		var mean [3]float64
		for i, v := range img.Pix {
			mean[i%3] += float64(v) / float64(len(img.Pix)/3)
		}
		for c := range 3 {
			if math.Abs(mean[c]-want.Mean[c]) > 0.001 {
				t.Errorf("%s: mean of channel %d is %.3f, want %.3f", name, c, mean[c], want.Mean[c])
			}
		}
		for _, s := range want.Samples {
			for c := range 3 {
				if got := int(img.row(s[1])[3*s[0]+c]); got != s[2+c] {
					t.Errorf("%s: pixel (%d, %d) channel %d is %d, want %d", name, s[0], s[1], c, got, s[2+c])
				}
			}
		}
	}
	p := Preprocess{Width: 224, Height: 224, ResizeTo: 256}
	for name, want := range photos {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		img, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if img.Width != want.Size[0] || img.Height != want.Size[1] {
			t.Fatalf("%s: %d×%d, want %v", name, img.Width, img.Height, want.Size)
		}
		compare(name+" decoded", img, want.Decoded)
		compare(name+" preprocessed", input(t, p, img), want.Input)
	}
}

func TestNormalise(t *testing.T) {
	img := &RGB{Pix: []byte{0, 128, 255}, Width: 1, Height: 1}
	dst := make([]float32, 3)
	if err := (Preprocess{Width: 1, Height: 1}).Image(img, dst); err != nil {
		t.Fatal(err)
	}
	for c, v := range img.Pix {
		want := (float64(v)/255 - float64(imageNetMean[c])) / float64(imageNetStd[c])
		if math.Abs(float64(dst[c])-want) > 1e-6 {
			t.Errorf("channel %d is %v, want %v", c, dst[c], want)
		}
	}
}

// Bytes, Image of Decode and GoImage are the same thing, whatever was done before.
func TestPathsAgree(t *testing.T) {
	settings := []Preprocess{
		DefaultPreprocess(32, 32),
		{Width: 20, Height: 30, Resize: "exact", Interpolation: "lanczos"},
		{Width: 16, Height: 16, ResizeTo: 40, Interpolation: "nearest", Orientation: true},
	}
	for _, name := range []string{"420-64x48.jpg", "orientation-6.jpg", "rgba.png", "lossy-16x17.webp", "palette4.png",
		"420-64x48.jpg"} {
		data, _ := fixture(t, name)
		img, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range settings {
			want, got := make([]float32, p.Size()), make([]float32, p.Size())
			shown := img
			if p.Orientation {
				shown = upright(img)
			}
			n := image.NewNRGBA(image.Rect(3, 4, 3+shown.Width, 4+shown.Height))
			for i := range shown.Width * shown.Height {
				copy(n.Pix[4*i:], shown.Pix[3*i:3*i+3])
			}
			for path, err := range map[string]error{"Image": p.Image(img, want), "Bytes": p.Bytes(data, got)} {
				if err != nil {
					t.Fatal(path, err)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s: Bytes differs from Image", name, p.Key())
			}
			if err := p.GoImage(n, got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s: GoImage differs from Image", name, p.Key())
			}
		}
	}
}

func TestImageRefuses(t *testing.T) {
	p := DefaultPreprocess(8, 8)
	img := noise(9, 9)
	if err := p.Image(img, make([]float32, 7)); err == nil || !strings.Contains(err.Error(), "192") {
		t.Errorf("short destination: %v", err)
	}
	var bad *ImageError
	if err := p.Image(&RGB{}, make([]float32, p.Size())); !errors.As(err, &bad) || bad.Reason != ReasonZeroSize {
		t.Errorf("empty image: %v", err)
	}
	if err := p.Image(&RGB{Width: 9, Height: 9}, make([]float32, p.Size())); err == nil {
		t.Error("image without pixels is accepted")
	}
	if err := (Preprocess{}).Image(img, nil); err == nil {
		t.Error("no input size is accepted")
	}
}

func TestValidate(t *testing.T) {
	if err := (Preprocess{Width: 1, Height: 1}).Validate(); err != nil {
		t.Error(err)
	}
	for word, p := range map[string]Preprocess{
		"width":                {Height: 3},
		"height are 3 and -1":  {Width: 3, Height: -1},
		`resize is "fit"`:      {Width: 3, Height: 3, Resize: "fit"},
		"resize_to is 2":       {Width: 3, Height: 3, ResizeTo: 2},
		`interpolation is "x"`: {Width: 3, Height: 3, Interpolation: "x"},
		"channel 2":            {Width: 3, Height: 3, Std: [3]float32{1, 1, 0}},
		"channel 0":            {Width: 3, Height: 3, Mean: [3]float32{float32(math.NaN())}, Std: [3]float32{1, 1, 1}},
	} {
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%+v: %v; want one that says %q", p, err, word)
		}
	}
	all := Preprocess{Resize: "fit", Interpolation: "x"}.Validate()
	for _, word := range []string{"width", "fit", "interpolation"} {
		if !strings.Contains(all.Error(), word) {
			t.Errorf("%v does not name %s", all, word)
		}
	}
}

func TestKey(t *testing.T) {
	const want = "vitft-image-3 224x224 shortest:224 bicubic mean 0.485 0.456 0.406 0.229 0.224 0.225 orientation true"
	if got := DefaultPreprocess(224, 224).Key(); got != want {
		t.Errorf("key is %q, want %q", got, want)
	}
	if (Preprocess{Width: 224, Height: 224, Orientation: true}).Key() != want {
		t.Error("a default left out changes the key")
	}
	base := DefaultPreprocess(8, 9)
	keys := map[string]bool{base.Key(): true}
	for _, change := range []func(p *Preprocess){
		func(p *Preprocess) { p.Width, p.Height = 9, 8 },
		func(p *Preprocess) { p.Resize = "exact" },
		func(p *Preprocess) { p.ResizeTo = 10 },
		func(p *Preprocess) { p.Interpolation = "box" },
		func(p *Preprocess) { p.Mean[1] = 0 },
		func(p *Preprocess) { p.Std[2] = math.Nextafter32(p.Std[2], 1) },
		func(p *Preprocess) { p.Orientation = false },
		func(p *Preprocess) { p.Crop = "down" },
	} {
		p := base
		change(&p)
		keys[p.Key()] = true
	}
	if len(keys) != 9 {
		t.Errorf("%d keys for 9 settings", len(keys))
	}
	for p, differs := range map[Preprocess]bool{ // a way to round shows only where there is something to round
		{Width: 8, Height: 8, Resize: "exact"}:                false,
		{Width: 8, Height: 8, Resize: "exact", ResizeTo: 10}:  false,
		{Width: 8, Height: 8, Resize: "exact", ResizeTo: 9}:   false,
		{Width: 8, Height: 8, Resize: "exact", ResizeTo: 11}:  true,
		{Width: 8, Height: 10, Resize: "exact", ResizeTo: 11}: true,
		{Width: 8, Height: 8, ResizeTo: 10}:                   true,
	} {
		down := p
		down.Crop = "down"
		if (down.Key() != p.Key()) != differs || (p.Resolved() == down.Resolved()) == differs {
			t.Errorf("%+v: keys %s and %s", p, p.Key(), down.Key())
		}
	}
}

func TestPreprocessJSON(t *testing.T) {
	p := DefaultPreprocess(224, 192)
	p.Orientation = false
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"width":224,"height":192,"resize":"shortest","resize_to":224,"interpolation":"bicubic","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"orientation":false}`
	if string(data) != want {
		t.Errorf("JSON is %s\nwant    %s", data, want)
	}
	if back, err := ParsePreprocess(data); err != nil || back != p {
		t.Errorf("read back as %+v: %v", back, err)
	}
	if q, err := ParsePreprocess([]byte(`{"width":8,"height":8}`)); err != nil || q.Resolved() != DefaultPreprocess(8, 8) {
		t.Errorf("a short one is %+v: %v", q, err)
	}
	for text, word := range map[string]string{
		`{"width":8,"height":8,"crop_pct":0.9}`: "crop_pct",
		`{"width":"8"}`:                         "width",
		`{"width":8}`:                           "height",
		`{"width":8,"height":8,"crop":"up"}`:    "crop",
		`[]`:                                    "array",
		``:                                      "JSON",
	} {
		if _, err := ParsePreprocess([]byte(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v; want one that says %q", text, err, word)
		}
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
