package report

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"html/template"
	"image"
	"image/jpeg"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/vit"
)

const thumbnailSide = 144 // pixels

type mistake struct {
	Label, Predicted, Confidence, Name string
	Image                              template.URL // a data URI, or empty
	Why                                string       // there is no picture
}

// Mistakes are the wrong predictions with the highest confidence.
func (r *page) Mistakes() []mistake {
	wrong := r.Wrong()
	slices.SortStableFunc(wrong, func(a, b run.Prediction) int { return cmp.Compare(b.Confidence, a.Confidence) })
	wrong = cut(wrong, worstImages).Shown
	open := r.Open
	if open == nil {
		open = dataset.Opener()
	}
	list := make([]mistake, len(wrong))
	par.For(context.Background(), len(wrong), 0, func(i int) { // which never ends
		p, m := wrong[i], &list[i]
		*m = mistake{Label: p.Label, Predicted: p.Predicted, Name: filepath.Base(p.Path),
			Confidence: metric.Number(p.Confidence).Text(3)}
		data, err := open(p.Path)
		if err == nil {
			m.Image, err = thumbnail(data)
		}
		if err != nil {
			m.Why = err.Error()
		}
	})
	return list
}

func unread(list []mistake) []mistake {
	return slices.DeleteFunc(slices.Clone(list), func(m mistake) bool { return m.Image != "" })
}

// thumbnail makes a small square JPEG of the middle of an image, upright.
func thumbnail(data []byte) (template.URL, error) {
	img, err := vit.Decode(data)
	if err != nil {
		return "", err
	}
	side := min(thumbnailSide, img.Width, img.Height)
	if side == 0 {
		return "", errors.New("the image is empty")
	}
	p := vit.Preprocess{Width: side, Height: side, Std: [3]float32{1, 1, 1}, Orientation: true}
	planes := make([]float32, p.Size())
	if err := p.Image(img, planes); err != nil {
		return "", err
	}
	small := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side * side {
		for c := range 3 {
			small.Pix[4*i+c] = byte(255*min(1, max(0, planes[c*side*side+i])) + 0.5)
		}
		small.Pix[4*i+3] = 255
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, small, &jpeg.Options{Quality: 80}); err != nil {
		return "", err
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(out.Bytes())), nil
}
