// Package testkit is what tests of several packages share: the folder with real data, drawn pictures, files.
package testkit

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
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
	dir := cmp.Or(os.Getenv("VITFT_SHARED"), filepath.Join(Root(), "..", "shared"))
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
// its folder .vitft/photos.
func Unpacked(t testing.TB, name ...string) string {
	t.Helper()
	dir := os.Getenv("VITFT_DATA")
	if dir == "" {
		script := Shared(t, "unpack")
		dir = filepath.Join(Root(), ".vitft", "photos")
		if _, err := os.Stat(dir); err != nil {
			part := fmt.Sprintf("%s.%d", dir, os.Getpid()) // tests of several packages may unpack at once
			if out, err := exec.Command(script, part).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", script, err, out)
			}
			if err := os.Rename(part, dir); err != nil { // another was first
				os.RemoveAll(part)
				if _, err := os.Stat(dir); err != nil {
					t.Fatal(err)
				}
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

// Manifest writes a manifest of some images of a data set, which is a folder of class folders or a .csv manifest beside
// its images, and returns its path: of the k-th of the first classes, in the order of their names, the first most(k).
func Manifest(t testing.TB, source string, classes int, most func(k int) int) string {
	t.Helper()
	images := map[string][]string{} // by class, in their order
	if filepath.Ext(source) == ".csv" {
		rows, err := csv.NewReader(bytes.NewReader(ReadFile(t, source))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			images[row[1]] = append(images[row[1]], filepath.Join(filepath.Dir(source), row[0]))
		}
	} else {
		files, err := filepath.Glob(filepath.Join(source, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			class := filepath.Base(filepath.Dir(file))
			images[class] = append(images[class], file)
		}
	}
	if len(images) < classes {
		t.Fatalf("%s has %d classes of %d", source, len(images), classes)
	}
	rows := [][]string{{"path", "label"}}
	for k, class := range slices.Sorted(maps.Keys(images))[:classes] {
		for _, file := range images[class][:min(most(k), len(images[class]))] {
			path, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, []string{path, class})
		}
	}
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	return WriteFile(t, filepath.Join(t.TempDir(), "some.csv"), b.Bytes())
}

// Age gives the files below a folder a time of modification of an hour ago: fresh ones are not trusted to stay as they
// are.
func Age(t testing.TB, dir string) {
	t.Helper()
	ago := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return cmp.Or(err, os.Chtimes(path, ago, ago))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Spoil overwrites the files below a folder with as many zeros, so that size and time of modification stay what they
// are: who reads one notices, who does not cannot. What it returns puts the content back.
func Spoil(t testing.TB, dir string) (restore func()) {
	t.Helper()
	was := map[string][]byte{}
	overwrite := func(path string, content []byte) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return cmp.Or(os.WriteFile(path, content, 0o644), os.Chtimes(path, info.ModTime(), info.ModTime()))
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		was[path] = ReadFile(t, path)
		return overwrite(path, make([]byte, len(was[path])))
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		for path, content := range was {
			if err := overwrite(path, content); err != nil {
				t.Error(err)
			}
		}
	}
}
