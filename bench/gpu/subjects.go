package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// subject is a model to measure: a backbone, and a classifier with random weights on it.
type subject struct {
	name       string
	file       string // the backbone
	backbone   []byte // the part that is run
	classifier []byte
	preprocess vit.Preprocess
}

// subjects are the ViT-Tiny, if there is one, and a ViT-B/16 with random weights, last.
func (b *bench) subjects() ([]*subject, error) {
	var all []*subject
	if b.tiny != "" {
		s, err := newSubject("ViT-Tiny/16 ("+filepath.Base(b.tiny)+")", b.tiny, 100)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	name, shape := "ViT-B/16, random weights", vitB16
	if b.quick {
		name, shape = "small ViT, random weights", small
	}
	preprocess, err := json.Marshal(vit.DefaultPreprocess(shape.image, shape.image))
	if err != nil {
		return nil, err
	}
	model, err := randomViT(shape, string(preprocess))
	if err != nil {
		return nil, err
	}
	file := b.path("random.onnx")
	if err := os.WriteFile(file, model, 0o600); err != nil {
		return nil, err
	}
	s, err := newSubject(name, file, 1000)
	return append(all, s), err
}

func newSubject(name, file string, classes int) (*subject, error) {
	m, err := graph.Read(file)
	if err != nil {
		return nil, err
	}
	cut, inspection, err := vision.Backbone(m, vision.FeatureChoice{})
	if err != nil {
		return nil, err
	}
	s := &subject{name: name, file: file, preprocess: vit.DefaultPreprocess(int(inspection.Image.Width), int(inspection.Image.Height))}
	if text, ok := m.Metadata("vitft.preprocess"); ok {
		if s.preprocess, err = vit.ParsePreprocess([]byte(text)); err != nil {
			return nil, err
		}
	}
	if s.backbone, err = cut.Bytes(); err != nil {
		return nil, err
	}
	head := vision.Head{Classes: classes, Weight: make([]float32, classes*int(inspection.Feature.Dim))}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range head.Weight {
		head.Weight[i] = float32(r.NormFloat64() / math.Sqrt(float64(inspection.Feature.Dim)))
	}
	if err := vision.AppendHead(cut, head); err != nil {
		return nil, err
	}
	labels := make([]string, classes)
	for k := range labels {
		labels[k] = fmt.Sprint("class ", k)
	}
	for key, value := range map[string]any{"vitft.labels": labels, "vitft.preprocess": s.preprocess} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		cut.SetMetadata(key, string(text))
	}
	s.classifier, err = cut.Bytes()
	return s, err
}

// pictures are JPEG files of 320×240 pixels, all different, with a manifest for any number of them.
type pictures struct {
	dir     string
	encoded [][]byte
}

func (b *bench) makePictures() (*pictures, error) {
	p := &pictures{dir: b.path("pictures"), encoded: make([][]byte, b.images)}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return nil, err
	}
	errs := make([]error, b.images)
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				p.encoded[i], errs[i] = picture(uint64(i))
				if errs[i] == nil {
					errs[i] = os.WriteFile(filepath.Join(p.dir, p.name(i)), p.encoded[i], 0o600)
				}
			}
		})
	}
	for i := range b.images {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *pictures) name(i int) string { return fmt.Sprintf("%05d.jpg", i) }

// manifest lists the first n pictures.
func (p *pictures) manifest(n int) (string, error) {
	var text strings.Builder
	text.WriteString("path,label\n")
	for i := range n {
		fmt.Fprintf(&text, "%s,%d\n", p.name(i), i%2)
	}
	path := filepath.Join(p.dir, fmt.Sprintf("%d.csv", n))
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}

// tensor is the first n pictures as the model takes them.
func (p *pictures) tensor(s *subject, n int) ([]float32, error) {
	size := s.preprocess.Size()
	pixels := make([]float32, n*size)
	for i := range n {
		if err := s.preprocess.Bytes(p.encoded[i%len(p.encoded)], pixels[i*size:(i+1)*size]); err != nil {
			return nil, err
		}
	}
	return pixels, nil
}

// picture draws waves in three colours with some noise, which compress about as photos do.
func picture(seed uint64) ([]byte, error) {
	r := rand.New(rand.NewPCG(seed, 5))
	img := image.NewRGBA(image.Rect(0, 0, 320, 240))
	var fx, fy, phase [3]float64
	for c := range 3 {
		fx[c], fy[c], phase[c] = 0.1*r.Float64(), 0.1*r.Float64(), 6*r.Float64()
	}
	for y := range 240 {
		for x := range 320 {
			noise := 20 * r.Float64()
			var v [3]uint8
			for c := range 3 {
				v[c] = uint8(118 + 110*math.Sin(fx[c]*float64(x)+fy[c]*float64(y)+phase[c]) + noise)
			}
			img.SetRGBA(x, y, color.RGBA{v[0], v[1], v[2], 255})
		}
	}
	var buffer bytes.Buffer
	err := jpeg.Encode(&buffer, img, nil)
	return buffer.Bytes(), err
}
