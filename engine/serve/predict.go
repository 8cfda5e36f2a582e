package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/classify"
)

// KServe's V1 protocol, which is TensorFlow Serving's.
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol

// predictVerb ends the path of a V1 prediction. The patterns of http.ServeMux have nothing like it.
const predictVerb = ":predict"

type predictRequest struct {
	Signature string         `json:"signature_name"` // which TensorFlow Serving's clients name
	Instances list[instance] `json:"instances"`
}

// prediction is the answer to an instance.
type prediction struct {
	Label         string    `json:"label"`
	Confidence    float32   `json:"confidence"`
	Probabilities []float32 `json:"probabilities"`
}

// instance is an encoded image, or the values of a preprocessed one, in JSON.
type instance struct {
	image  []byte
	pixels json.RawMessage
}

// UnmarshalJSON reads an image from a string or {"b64": …}, pixels from nested lists; either may be a value of an
// object with any key: {"image": {"b64": …}}.
func (x *instance) UnmarshalJSON(text []byte) (err error) {
	const cure = `an instance is {"b64": …}, a list of pixels, or an object of one of those`
	for range 3 { // object, object with b64, string
		switch text = bytes.TrimSpace(text); text[0] {
		case '"':
			var image string
			if err = json.Unmarshal(text, &image); err == nil {
				x.image, err = decodeText(image)
			}
			return err
		case '[':
			x.pixels = bytes.Clone(text)
			return nil
		case '{':
			var members map[string]json.RawMessage
			if n := 1 + commas(text, 1); n > 1 {
				return badRequest("an instance with %d members: %s", n, cure)
			} else if err := json.Unmarshal(text, &members); err != nil {
				return err
			}
			for _, value := range members {
				text = value
			}
		default:
			return errors.New(cure)
		}
	}
	return errors.New(cure)
}

func (s *Server) predictV1(w http.ResponseWriter, r *http.Request) error {
	last := "model"
	if r.PathValue("version") != "" {
		last = "version"
	}
	name, is := strings.CutSuffix(r.PathValue(last), predictVerb)
	if !is {
		path, _, _ := strings.Cut(r.URL.Path, ":")
		text := fmt.Sprintf("method not allowed: POST %s; a model is asked by %s%s", r.URL.Path, path, predictVerb)
		return &failure{http.StatusMethodNotAllowed, text}
	}
	r.SetPathValue(last, name)
	m, err := s.asked(r)
	if err != nil {
		return err
	}
	if _, err := s.enter(0); err != nil {
		return err
	}
	var ask predictRequest
	if err := readJSON(r.Body, &ask); err != nil {
		return err
	}
	switch {
	case ask.Signature != "" && ask.Signature != "serving_default":
		return badRequest("no signature %.100q; leave signature_name out", ask.Signature)
	case len(ask.Instances) == 0:
		return badRequest(`no instances: send {"instances": [{"b64": …}, …]}`)
	case len(ask.Instances) > s.options.MaxImages:
		return s.tooMany()
	}
	leave, err := s.enter(len(ask.Instances))
	if err != nil {
		return err
	}
	defer leave()
	g, done := m.use()
	defer done()
	begin := time.Now()
	all, err := ask.classify(r, g)
	if err != nil {
		if r.Context().Err() == nil {
			s.classified(m, begin, 0, len(ask.Instances))
		}
		return err
	}
	s.classified(m, begin, len(all), 0)
	predictions := make([]prediction, len(all))
	for i, p := range all {
		predictions[i] = prediction{p.Label, p.Confidence, p.Probabilities}
	}
	return answer(w, http.StatusOK, map[string]any{"predictions": predictions})
}

// classify asks about the instances: images, or pixels.
func (ask predictRequest) classify(r *http.Request, g *generation) ([]classify.Prediction, error) {
	var images [][]byte
	var pixels []float32
	info := g.Info()
	for i, x := range ask.Instances {
		if x.pixels == nil {
			images = append(images, x.image)
			continue
		}
		values, err := parsePixels(x.pixels, info.Height, info.Width)
		if err != nil {
			return nil, badRequest("instance %d: %v", i, err)
		}
		pixels = append(pixels, values...)
	}
	switch {
	case pixels == nil:
		return classifyAll(r.Context(), g, images)
	case images == nil:
		return g.ClassifyPixels(r.Context(), pixels, len(ask.Instances))
	}
	return nil, badRequest("the instances are images and pixels; send one of both")
}

// parsePixels reads the nested lists of a preprocessed image. They are counted before they are decoded.
func parsePixels(text []byte, height, width int) ([]float32, error) {
	wrong := fmt.Errorf("the pixels are no lists of 3 × %d × %d numbers, preprocessed; images are {\"b64\": …}",
		height, width)
	if bytes.Count(text, []byte("[")) != 1+3+3*height || commas(text, everywhere) != 3*height*width-1 ||
		bytes.Contains(text, []byte("null")) {
		return nil, wrong
	}
	var channels [][][]float32
	if err := json.Unmarshal(text, &channels); err != nil {
		return nil, err
	}
	values := make([]float32, 0, 3*height*width)
	if len(channels) != 3 {
		return nil, wrong
	}
	for _, rows := range channels {
		if len(rows) != height {
			return nil, wrong
		}
		for _, row := range rows {
			if len(row) != width {
				return nil, wrong
			}
			values = append(values, row...)
		}
	}
	return values, nil
}
