package gpu_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/testkit"
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
func (b *bench) subjects() []*subject {
	var all []*subject
	if b.tiny != "" {
		all = append(all, b.subject("ViT-Tiny/16 ("+filepath.Base(b.tiny)+")", b.tiny, 100))
	}
	name, shape := "ViT-B/16, random weights", vitB16
	if b.quick {
		name, shape = "small ViT, random weights", small
	}
	return append(all, b.subject(name, b.randomViT(shape), 1000))
}

// randomViT writes a vision transformer with random weights into a file.
func (b *bench) randomViT(shape vitShape) string {
	preprocess, err := json.Marshal(vit.DefaultPreprocess(int(shape.image), int(shape.image)))
	b.must(err)
	model, err := randomViT(shape, string(preprocess))
	b.must(err)
	return testkit.WriteFile(b, b.path("random.onnx"), model)
}

func (b *bench) subject(name, file string, classes int) *subject {
	m, err := graph.Read(file)
	b.must(err)
	cut, inspection, err := vision.Backbone(m, vision.FeatureChoice{})
	b.must(err)
	s := &subject{name: name, file: file,
		preprocess: vit.DefaultPreprocess(int(inspection.Image.Width), int(inspection.Image.Height))}
	if text, ok := m.Metadata(artifact.PreprocessKey); ok {
		s.preprocess, err = vit.ParsePreprocess([]byte(text))
		b.must(err)
	}
	s.backbone, err = cut.Bytes()
	b.must(err)
	dim := int(inspection.Feature.Dim)
	head := vision.Head{Classes: classes, Weight: normals(3, classes*dim)}
	for i := range head.Weight {
		head.Weight[i] /= float32(math.Sqrt(float64(dim)))
	}
	labels := make([]string, classes)
	for k := range labels {
		labels[k] = fmt.Sprint("class ", k)
	}
	s.classifier, err = artifact.Build(artifact.Parts{
		Backbone: cut, Head: head, Labels: labels, Preprocess: s.preprocess})
	b.must(err)
	return s
}

// pictures are JPEG files of 320×240 pixels, all different, with a manifest for any number of them.
type pictures struct {
	dir     string
	encoded [][]byte
}

func (b *bench) makePictures() *pictures {
	p := &pictures{dir: b.path("pictures"), encoded: make([][]byte, b.images)}
	errs := make([]error, b.images)
	b.must(par.For(b.ctx, b.images, 0, func(i int) { p.encoded[i], errs[i] = picture(uint64(i)) }))
	b.must(errors.Join(errs...))
	for i, text := range p.encoded {
		testkit.WriteFile(b, filepath.Join(p.dir, p.name(i)), text)
	}
	return p
}

func (p *pictures) name(i int) string { return fmt.Sprintf("%05d.jpg", i) }

// manifest lists the first n pictures.
func (b *bench) manifest(p *pictures, n int) string {
	var text strings.Builder
	text.WriteString("path,label\n")
	for i := range n {
		fmt.Fprintf(&text, "%s,%d\n", p.name(i), i%2)
	}
	return testkit.WriteFile(b, filepath.Join(p.dir, fmt.Sprintf("%d.csv", n)), []byte(text.String()))
}

// tensor is the first n pictures as the model takes them.
func (b *bench) tensor(p *pictures, s *subject, n int) []float32 {
	size := s.preprocess.Size()
	pixels := make([]float32, n*size)
	for i := range n {
		b.must(s.preprocess.Bytes(p.encoded[i%len(p.encoded)], pixels[i*size:(i+1)*size]))
	}
	return pixels
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
