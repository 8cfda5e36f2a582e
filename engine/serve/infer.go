package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/onnx/vision"
)

// The Open Inference Protocol v2 over HTTP, with Triton's extensions for binary tensors and for classes.
// https://github.com/kserve/open-inference-protocol

// onlyVersion is the version of every model: its file is what a name leads to.
const onlyVersion = "1"

const (
	imageInput  = "image"            // BYTES [n]: encoded images
	pixelsInput = vision.PixelValues // FP32 [n,3,H,W]: preprocessed ones
	labelOutput = "label"            // BYTES [n]
)

// jsonLength is the header with the length of the JSON part of a body that binary tensors follow.
const jsonLength = "Inference-Header-Content-Length"

// tensorInfo describes an input or output; -1 is any number of images.
type tensorInfo struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`

	values func(classify.Prediction) []float32 // of an FP32 output
	scores bool                                // which has a value for each class
}

type inferRequest struct {
	ID         string             `json:"id"`
	Parameters parameters         `json:"parameters"`
	Inputs     list[tensor]       `json:"inputs"`
	Outputs    list[wantedOutput] `json:"outputs"`
}

type wantedOutput struct {
	Name       string     `json:"name"`
	Parameters parameters `json:"parameters"`
}

// parameters are those that are understood; others are none of our business.
type parameters struct {
	BinarySize   *int  `json:"binary_data_size,omitempty"`
	Binary       *bool `json:"binary_data,omitempty"`
	BinaryOutput bool  `json:"binary_data_output,omitempty"`
	Classes      *int  `json:"classification,omitempty"` // to list in place of values, of an output or of all scores
}

type inferAnswer struct {
	Model   string   `json:"model_name"`
	Version string   `json:"model_version"`
	ID      string   `json:"id,omitempty"`
	Outputs []tensor `json:"outputs"`
}

// asked is the model that a request's path names.
func (s *Server) asked(r *http.Request) (*model, error) {
	return s.version(r.PathValue("model"), r.PathValue("version"))
}

// version is the model of that name, in that version if any is named.
func (s *Server) version(name, version string) (*model, error) {
	m, err := s.model(name)
	if err == nil && version != "" && version != onlyVersion {
		text := fmt.Sprintf("no version %.100s of %s; there is %s", version, name, onlyVersion)
		return nil, &failure{http.StatusNotFound, text}
	}
	return m, err
}

// about answers a question about the model that a request's path names.
func (s *Server) about(tell func(w http.ResponseWriter, m *model, g *generation) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		m, err := s.asked(r)
		if err != nil {
			return err
		}
		g, done := m.use()
		defer done()
		return tell(w, m, g)
	}
}

func outputsOf(info classify.ModelInfo) []tensorInfo {
	floats := func(name string, width int, scores bool, values func(classify.Prediction) []float32) tensorInfo {
		return tensorInfo{name, "FP32", []int64{-1, int64(width)}, values, scores}
	}
	n := info.Classes
	outputs := []tensorInfo{
		floats(vision.Probabilities, n, true, func(p classify.Prediction) []float32 { return p.Probabilities }),
		floats(vision.Logits, n, true, func(p classify.Prediction) []float32 { return p.Logits }),
		{Name: labelOutput, Datatype: "BYTES", Shape: []int64{-1}},
	}
	if info.Dim > 0 {
		embedding := func(p classify.Prediction) []float32 { return p.Embedding }
		outputs = append(outputs, floats(vision.Embedding, info.Dim, false, embedding))
	}
	return outputs
}

func (s *Server) infer(w http.ResponseWriter, r *http.Request) error {
	m, err := s.asked(r)
	if err != nil {
		return err
	}
	if _, err := s.enter(0); err != nil {
		return err
	}
	ask, err := readInfer(r)
	if err != nil {
		return err
	}
	reply, err := s.inference(r.Context(), m, ask)
	if err != nil {
		return err
	}
	var binary [][]byte
	for i := range reply.Outputs {
		t := &reply.Outputs[i]
		if err := t.encode(); err != nil {
			return err
		}
		if t.raw != nil {
			binary = append(binary, t.raw)
		}
	}
	if binary == nil {
		return answer(w, http.StatusOK, reply)
	}
	text, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(jsonLength, strconv.Itoa(len(text)))
	return send(w, http.StatusOK, append([][]byte{text}, binary...)...)
}

// inference answers a request, whichever way it has come.
func (s *Server) inference(ctx context.Context, m *model, ask inferRequest) (reply inferAnswer, err error) {
	switch n := len(ask.Inputs); {
	case n > 1 && ask.Inputs[0].Name == ask.Inputs[1].Name:
		return reply, badRequest("input %.100q is given more than once; send one", ask.Inputs[0].Name)
	case n != 1:
		return reply, badRequest("%d inputs; send one, %s (BYTES) or %s (FP32)", n, imageInput, pixelsInput)
	case len(ask.ID) > mostText:
		return reply, badRequest("the id has %d bytes; at most %d are taken", len(ask.ID), mostText)
	}
	input := ask.Inputs[0]
	images, err := input.images()
	switch {
	case err != nil:
		return reply, err
	case images > s.options.MaxImages:
		return reply, s.tooMany()
	}
	g, done := m.use()
	defer done()
	wanted, err := ask.wanted(outputsOf(g.Info()))
	if err != nil {
		return reply, err
	}
	leave, err := s.enter(images)
	if err != nil {
		return reply, err
	}
	defer leave()
	begin := time.Now()
	predictions, err := predict(ctx, g, input, images)
	if err != nil {
		if ctx.Err() == nil {
			s.classified(m, begin, 0, images)
		}
		return reply, err
	}
	s.classified(m, begin, images, 0)
	reply = inferAnswer{Model: m.name, Version: onlyVersion, ID: ask.ID}
	for _, out := range wanted {
		reply.Outputs = append(reply.Outputs, out.tensor(predictions))
	}
	return reply, nil
}

// predict classifies encoded images or pixels.
func predict(ctx context.Context, g *generation, input tensor, images int) ([]classify.Prediction, error) {
	if input.Name == pixelsInput {
		info := g.Info()
		pixels, err := input.pixels(int64(info.Height), int64(info.Width))
		if err != nil {
			return nil, err
		}
		return g.ClassifyPixels(ctx, pixels, images)
	}
	encoded, err := input.encoded()
	if err != nil {
		return nil, err
	}
	return classifyAll(ctx, g, encoded)
}

// classifyAll classifies encoded images. One that fails fails them all: the protocols have no other word for it.
func classifyAll(ctx context.Context, g *generation, encoded [][]byte) ([]classify.Prediction, error) {
	results, err := g.ClassifyBatch(ctx, encoded)
	if err != nil {
		return nil, err
	}
	predictions := make([]classify.Prediction, len(results))
	for i, x := range results {
		if x.Err != nil {
			return nil, badRequest("image %d: %v", i, x.Err)
		}
		predictions[i] = x.Prediction
	}
	return predictions, nil
}

// readInfer reads a request and shares out the binary data behind its JSON.
func readInfer(r *http.Request) (ask inferRequest, err error) {
	body, err := readAll(r)
	if err != nil {
		return ask, err
	}
	text, binary := body, []byte(nil)
	if h := r.Header.Get(jsonLength); h != "" {
		n, err := strconv.Atoi(h)
		if err != nil || n < 0 || n > len(body) {
			return ask, badRequest("%s is %q, the body has %d bytes", jsonLength, h, len(body))
		}
		text, binary = body[:n], body[n:]
	}
	if err := json.Unmarshal(text, &ask); err != nil {
		return ask, malformed(err)
	}
	for i := range ask.Inputs {
		t := &ask.Inputs[i]
		if t.Parameters == nil || t.Parameters.BinarySize == nil {
			continue
		}
		n := *t.Parameters.BinarySize
		if n < 0 || n > len(binary) || t.Data != nil {
			return ask, badRequest("input %s has data and binary_data_size, or %d bytes of binary data where %d are "+
				"left", t.Name, n, len(binary))
		}
		t.raw, binary = binary[:n:n], binary[n:]
	}
	if len(binary) > 0 {
		return ask, badRequest("%d bytes of binary data belong to no input", len(binary))
	}
	return ask, nil
}

// output is a wanted output and how to send it.
type output struct {
	tensorInfo
	binary  bool
	classes int // to list in place of the values; 0 for the values
}

// wanted picks outputs in the order asked for; all if none is named.
func (ask inferRequest) wanted(all []tensorInfo) ([]output, error) {
	if len(ask.Outputs) == 0 {
		for _, info := range all {
			ask.Outputs = append(ask.Outputs, wantedOutput{Name: info.Name})
		}
	}
	outputs := make([]output, len(ask.Outputs))
	for i, want := range ask.Outputs {
		k := slices.IndexFunc(all, func(info tensorInfo) bool { return info.Name == want.Name })
		if k < 0 {
			return nil, badRequest("no output %.100q", want.Name)
		}
		if slices.ContainsFunc(outputs[:i], func(o output) bool { return o.Name == want.Name }) {
			return nil, badRequest("output %q is asked for more than once", want.Name)
		}
		out := output{all[k], ask.Parameters.BinaryOutput, 0}
		if binary := want.Parameters.Binary; binary != nil {
			out.binary = *binary
		}
		classes := want.Parameters.Classes
		if classes == nil && out.scores {
			classes = ask.Parameters.Classes
		}
		if classes != nil {
			out.classes = *classes
		}
		switch {
		case out.classes < 0:
			return nil, badRequest("output %q: classification is %d, a number of classes", want.Name, out.classes)
		case out.classes > 0 && out.values == nil:
			return nil, badRequest("output %q has no values to list classes by", want.Name)
		}
		outputs[i] = out
	}
	return outputs, nil
}
