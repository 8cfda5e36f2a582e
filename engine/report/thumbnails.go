package report

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/vit"
)

const (
	thumbnailSide = 144      // pixels
	largestImage  = 64 << 20 // bytes that are read for a thumbnail
)

// mistake is an image with a confident wrong prediction.
type mistake struct {
	Label, Predicted, Confidence, Name string
	Image                              template.URL // a data URI, or empty
	Why                                string       // there is no picture
}

// mistakes are the wrong predictions with the highest confidence.
func (r *Run) mistakes() []mistake {
	var wrong []prediction
	for _, p := range r.predictions {
		if p.label != p.predicted {
			wrong = append(wrong, p)
		}
	}
	slices.SortStableFunc(wrong, func(a, b prediction) int { return cmp.Compare(b.confidence, a.confidence) })
	wrong, _ = cut(wrong, worstImages)
	list := make([]mistake, len(wrong))
	read := newImageReader(wrong)
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	for i, p := range wrong {
		wait.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			m := &list[i]
			*m = mistake{Label: r.metrics.PerClass[p.label].Label, Predicted: r.metrics.PerClass[p.predicted].Label,
				Confidence: format(number(p.confidence), 3), Name: filepath.Base(p.path)}
			data, err := read.image(p.path)
			if err == nil {
				m.Image, err = thumbnail(data)
			}
			if err != nil {
				m.Why = err.Error()
			}
		})
	}
	wait.Wait()
	return list
}

// imageReader reads the images that predictions.csv names: files, or FILE#INDEX
// for an image in an IDX file.
type imageReader struct {
	inside map[string]dataset.Item // images in IDX files by path
	faults map[string]error        // IDX files that cannot be read
}

func newImageReader(list []prediction) *imageReader {
	r := &imageReader{map[string]dataset.Item{}, map[string]error{}}
	wanted, files := map[string]bool{}, map[string]bool{}
	for _, p := range list {
		if file := container(p.path); file != "" {
			wanted[p.path], files[file] = true, true
		}
	}
	for file := range files {
		if _, err := os.Stat(file); err != nil {
			r.faults[file] = err
			continue
		}
		set, _, err := dataset.Open(file, dataset.Options{})
		if err != nil {
			r.faults[file] = err
			continue
		}
		for _, item := range set.Items {
			if wanted[item.Path] {
				r.inside[item.Path] = item
			}
		}
	}
	return r
}

// container is FILE of FILE#INDEX, unless there is a file of the whole name.
func container(path string) string {
	file, index, found := cutLast(path, "#")
	if _, err := strconv.Atoi(index); !found || err != nil {
		return ""
	}
	if _, err := os.Stat(path); err == nil {
		return ""
	}
	return file
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// image reads the bytes of an encoded image.
func (r *imageReader) image(path string) ([]byte, error) {
	if item, ok := r.inside[path]; ok {
		return item.Bytes()
	}
	if file := container(path); file != "" {
		return nil, cmp.Or(r.faults[file], fmt.Errorf("%s has no such image", file))
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() > largestImage:
		return nil, fmt.Errorf("%s has more than %d MB", path, largestImage>>20)
	}
	return os.ReadFile(path)
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
