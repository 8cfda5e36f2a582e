package engine

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/onnx"
)

// needRuntime skips a test where no runtime library is installed, aloud.
func needRuntime(t testing.TB) {
	t.Helper()
	if _, err := onnx.Find(""); err != nil {
		t.Skipf("ONNX Runtime is missing (make setup): %v", err)
	}
}

// writeImages makes a folder of class folders with counts[k] drawn images of
// class k, and returns it. Equal arguments give equal files.
func writeImages(t testing.TB, seed uint64, counts ...int) string {
	t.Helper()
	dir := t.TempDir()
	for k, n := range counts {
		class := filepath.Join(dir, fmt.Sprintf("class-%c", 'a'+k))
		if err := os.MkdirAll(class, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			img := draw(k, rand.New(rand.NewPCG(seed, uint64(k*1000+i))))
			var b bytes.Buffer
			name, err := fmt.Sprintf("%03d.png", i), error(nil)
			if i%2 == 0 {
				name = fmt.Sprintf("%03d.jpg", i)
				err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 90})
			} else {
				err = png.Encode(&b, img)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(class, name), b.Bytes(), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// draw makes a noisy picture whose pattern tells its class: stripes at an angle
// and of a width of the class's own.
func draw(class int, r *rand.Rand) image.Image {
	w, h := 36+r.IntN(9), 36+r.IntN(9)
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	angle := float64(class)*0.7 + 0.2*r.Float64()
	period := 5 + 3*float64(class%3) + r.Float64()
	phase := 6 * r.Float64()
	for y := range h {
		for x := range w {
			s := math.Sin(2*math.Pi*(float64(x)*math.Cos(angle)+float64(y)*math.Sin(angle))/period + phase)
			v := 128 + 90*s + 50*(r.Float64()-0.5)
			img.Set(x, y, color.RGBA{byte(v), byte(v), byte(v * 0.8), 255})
		}
	}
	return img
}

// readConfig reads a config.yaml as the command line would.
func readConfig(t testing.TB, path string) Config {
	t.Helper()
	var c Config
	readYAML(t, path, &c)
	return c
}

func readYAML(t testing.TB, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
