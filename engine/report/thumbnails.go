package report

import (
	"bytes"
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
	"github.com/vitft/vitft/internal/plaintext"
	"github.com/vitft/vitft/vit"
)

// picture is a photo of an image of the run, or says why there is none.
type picture struct {
	Name  string
	Image template.URL // a data URI, or empty
	Why   string
}

type mistake struct {
	picture
	Label, Predicted, Confidence string
}

// Mistakes are the wrong predictions with the highest confidence.
func (r *page) Mistakes() []mistake {
	open := r.Open
	if open == nil && len(r.pictures.Photos) == 0 { // a run of before there were copies
		open = dataset.Opener()
	}
	list := make([]mistake, len(r.worst))
	par.For(context.Background(), len(list), 0, func(i int) { // which never ends
		list[i] = r.mistake(r.worst[i])
		if list[i].Image != "" || open == nil {
			return
		}
		data, err := open(r.worst[i].Path)
		if err == nil {
			data, err = thumbnail(data, mistakeSide)
		}
		list[i].picture = r.pictureOf(run.Photo{Path: r.worst[i].Path, JPEG: data})
		if err != nil {
			list[i].Image, list[i].Why = "", r.names.in(err.Error())
		}
	})
	return list
}

func (r *page) mistake(p run.Prediction) mistake {
	photo, known := r.photos[[2]string{r.Split, plaintext.Valid(p.Path)}]
	if !known {
		photo = run.Photo{Path: p.Path, Why: "there is no copy of it in the run folder"}
	}
	return mistake{r.pictureOf(photo), p.Label, p.Predicted, metric.Number(p.Confidence).Text(3)}
}

func (r *page) pictureOf(p run.Photo) picture {
	pic := picture{Name: filepath.Base(filepath.FromSlash(p.Path)), Why: r.names.in(p.Why)}
	if len(p.JPEG) > 0 {
		pic.Image = template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(p.JPEG))
	}
	return pic
}

func unread(list []mistake) []mistake {
	return slices.DeleteFunc(slices.Clone(list), func(m mistake) bool { return m.Image != "" })
}

// thumbnail makes a small square JPEG of the middle of an image, upright.
func thumbnail(data []byte, most int) ([]byte, error) {
	img, err := vit.Decode(data)
	if err != nil {
		return nil, err
	}
	side := min(most, img.Width, img.Height)
	if side == 0 {
		return nil, errors.New("the image is empty")
	}
	p := vit.Preprocess{Width: side, Height: side, Std: [3]float32{1, 1, 1}, Orientation: true}
	planes := make([]float32, p.Size())
	if err := p.Image(img, planes); err != nil {
		return nil, err
	}
	small := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side * side {
		for c := range 3 {
			small.Pix[4*i+c] = byte(255*min(1, max(0, planes[c*side*side+i])) + 0.5)
		}
		small.Pix[4*i+3] = 255
	}
	var out bytes.Buffer
	err = jpeg.Encode(&out, small, &jpeg.Options{Quality: photoQuality})
	return out.Bytes(), err
}
