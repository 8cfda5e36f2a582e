// Package testkit is what tests of several packages share: the folder with real data, drawn pictures, files.
package testkit

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
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Root is the folder of the checkout.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Shared is a path in the folder with a real ViT and real photos, which lies beside the checkout or where VITFT_SHARED
// says. A test that needs it is skipped without, aloud.
func Shared(t testing.TB, name ...string) string {
	t.Helper()
	dir := os.Getenv("VITFT_SHARED")
	if dir == "" {
		dir = filepath.Join(Root(), "..", "shared")
	}
	path := filepath.Join(append([]string{dir}, name...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real data are missing: %v (set VITFT_SHARED to the folder that has them)", err)
	}
	return path
}

// Model is the real ViT-Tiny.
func Model(t testing.TB) string {
	t.Helper()
	return Shared(t, "models", "vit_tiny_patch16_224.onnx")
}

// Unpacked is a path in the folder with caltech101 and cifar100, from VITFT_DATA or unpacked once for a checkout, into
// its folder .vitft.
func Unpacked(t testing.TB, name ...string) string {
	t.Helper()
	dir := os.Getenv("VITFT_DATA")
	if dir == "" {
		script := Shared(t, "unpack")
		dir = filepath.Join(Root(), ".vitft", "data")
		if _, err := os.Stat(filepath.Join(dir, "complete")); err != nil {
			part := fmt.Sprintf("%s.%d", dir, os.Getpid()) // tests of several packages may unpack at once
			if out, err := exec.Command(script, part).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", script, err, out)
			}
			WriteFile(t, filepath.Join(part, "complete"), nil)
			if err := os.Rename(part, dir); err != nil { // another was first
				os.RemoveAll(part)
			}
		}
	}
	return filepath.Join(append([]string{dir}, name...)...)
}

// WriteFile writes a file and the folders that it lies in, and returns its path.
func WriteFile(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// ReadFile is the content of a file.
func ReadFile(t testing.TB, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Folder makes a folder of class folders with counts[k] drawn pictures of class k, JPEG and PNG in turn, and returns
// it. Equal arguments give equal files.
func Folder(t testing.TB, seed uint64, counts ...int) string {
	t.Helper()
	dir := t.TempDir()
	for k, n := range counts {
		for i := range n {
			img := Picture(k, seed, uint64(k*1000+i))
			name, content := fmt.Sprintf("%03d.jpg", i), JPEG(t, img)
			if i%2 == 1 {
				name, content = fmt.Sprintf("%03d.png", i), PNG(t, img)
			}
			WriteFile(t, filepath.Join(dir, fmt.Sprintf("class-%c", 'a'+k), name), content)
		}
	}
	return dir
}

// Picture draws noise over a pattern that tells a class: stripes at an angle and of a width of the class's own.
func Picture(class int, seed, number uint64) image.Image {
	r := rand.New(rand.NewPCG(seed, number))
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

// JPEG encodes a picture, in quality 90.
func JPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// PNG encodes a picture.
func PNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
