package serve

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/onnx/vision"
)

// The Open Inference Protocol v2, with Triton's extension for binary tensors.
// https://github.com/kserve/open-inference-protocol

// onlyVersion is the version of every model: its file is what a name leads to.
const onlyVersion = "1"

const (
	imageInput  = "image"            // BYTES [n]: encoded images
	pixelsInput = vision.PixelValues // FP32 [n,3,H,W]: preprocessed ones
	labelOutput = "label"            // BYTES [n]
)

// jsonLength is the header with the length of the JSON part of a body that
// binary tensors follow.
const jsonLength = "Inference-Header-Content-Length"

// tensorInfo describes an input or output; -1 is any number of images.
type tensorInfo struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

type inferRequest struct {
	ID         string         `json:"id"`
	Parameters parameters     `json:"parameters"`
	Inputs     []tensor       `json:"inputs"`
	Outputs    []wantedOutput `json:"outputs"`
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
}

type inferAnswer struct {
	Model   string   `json:"model_name"`
	Version string   `json:"model_version"`
	ID      string   `json:"id,omitempty"`
	Outputs []tensor `json:"outputs"`
}

func (s *Server) inferServer(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, map[string]any{"name": "vitft", "version": s.options.Version, "extensions": []string{"binary_tensor_data"}})
}

// asked is the model that a request's path names.
func (s *Server) asked(r *http.Request) (*model, error) {
	m := s.model(r.PathValue("model"))
	if m == nil {
		return nil, s.noModel(r.PathValue("model"))
	}
	if v := r.PathValue("version"); v != "" && v != onlyVersion {
		return nil, &failure{http.StatusNotFound, "no version " + v + " of " + m.name + "; there is " + onlyVersion}
	}
	return m, nil
}

func (s *Server) inferReady(w http.ResponseWriter, r *http.Request) error {
	m, err := s.asked(r)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"name": m.name, "ready": true})
}

func (s *Server) inferModel(w http.ResponseWriter, r *http.Request) error {
	m, err := s.asked(r)
	if err != nil {
		return err
	}
	g, done := m.use()
	defer done()
	info := g.Info()
	return answer(w, http.StatusOK, map[string]any{
		"name": m.name, "versions": []string{onlyVersion}, "platform": "onnx_onnxv1",
		"inputs": []tensorInfo{ // one or the other
			{imageInput, "BYTES", []int64{-1}},
			{pixelsInput, "FP32", []int64{-1, 3, int64(info.Height), int64(info.Width)}},
		},
		"outputs": outputsOf(info),
	})
}

func outputsOf(info engine.ModelInfo) []tensorInfo {
	outputs := []tensorInfo{
		{vision.Probabilities, "FP32", []int64{-1, int64(info.Classes)}},
		{vision.Logits, "FP32", []int64{-1, int64(info.Classes)}},
		{labelOutput, "BYTES", []int64{-1}},
	}
	if info.Dim > 0 {
		outputs = append(outputs, tensorInfo{vision.Embedding, "FP32", []int64{-1, int64(info.Dim)}})
	}
	return outputs
}

func (s *Server) infer(w http.ResponseWriter, r *http.Request) error {
	m, err := s.asked(r)
	if err != nil {
		return err
	}
	p, err := s.enter()
	if err != nil {
		return err
	}
	defer p.leave()
	ask, err := readInfer(r)
	if err != nil {
		return err
	}
	if len(ask.Inputs) != 1 {
		return badRequest("%d inputs; send one, %s (BYTES) or %s (FP32)", len(ask.Inputs), imageInput, pixelsInput)
	}
	input := ask.Inputs[0]
	images, err := input.images()
	switch {
	case err != nil:
		return err
	case images > s.options.MaxImages:
		return s.tooMany()
	}
	g, done := m.use()
	defer done()
	wanted, err := ask.wanted(outputsOf(g.Info()))
	if err != nil {
		return err
	}
	if err := p.grow(images); err != nil {
		return err
	}
	predictions, err := predict(r, g, input, images)
	if err != nil {
		if r.Context().Err() == nil {
			s.metrics.images(m.name, 0, images)
		}
		return err
	}
	s.metrics.images(m.name, images, 0)
	reply := inferAnswer{Model: m.name, Version: onlyVersion, ID: ask.ID}
	var binary [][]byte
	for _, out := range wanted {
		t, raw, err := outputTensor(out, predictions)
		if err != nil {
			return err
		}
		reply.Outputs = append(reply.Outputs, t)
		if raw != nil {
			binary = append(binary, raw)
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

// predict classifies encoded images or pixels. One image that fails fails them
// all: the protocol has no other word for it.
func predict(r *http.Request, g *generation, input tensor, images int) ([]engine.Prediction, error) {
	if input.Name == pixelsInput {
		info := g.Info()
		pixels, err := input.pixels(int64(info.Height), int64(info.Width))
		if err != nil {
			return nil, err
		}
		return g.ClassifyPixels(r.Context(), pixels, images)
	}
	encoded, err := input.encoded()
	if err != nil {
		return nil, err
	}
	results, err := g.ClassifyBatch(r.Context(), encoded)
	if err != nil {
		return nil, err
	}
	predictions := make([]engine.Prediction, len(results))
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
		return ask, badRequest("cannot read the request: %v", err)
	}
	for i := range ask.Inputs {
		t := &ask.Inputs[i]
		if t.Parameters == nil || t.Parameters.BinarySize == nil {
			continue
		}
		n := *t.Parameters.BinarySize
		if n < 0 || n > len(binary) || t.Data != nil {
			return ask, badRequest("input %s has data and binary_data_size, or %d bytes of binary data where %d are left", t.Name, n, len(binary))
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
	binary bool
}

// wanted picks outputs in the order asked for; all if none is named.
func (ask inferRequest) wanted(all []tensorInfo) ([]output, error) {
	if len(ask.Outputs) == 0 {
		outputs := make([]output, len(all))
		for i, info := range all {
			outputs[i] = output{info, ask.Parameters.BinaryOutput}
		}
		return outputs, nil
	}
	var outputs []output
next:
	for _, want := range ask.Outputs {
		binary := ask.Parameters.BinaryOutput
		if want.Parameters.Binary != nil {
			binary = *want.Parameters.Binary
		}
		for _, info := range all {
			if info.Name == want.Name {
				outputs = append(outputs, output{info, binary})
				continue next
			}
		}
		return nil, badRequest("no output %q", want.Name)
	}
	return outputs, nil
}

// outputTensor fills an output; raw is its data if it is to be sent as binary.
func outputTensor(out output, predictions []engine.Prediction) (t tensor, raw []byte, err error) {
	t = tensor{Name: out.Name, Datatype: out.Datatype, Shape: append([]int64{int64(len(predictions))}, out.Shape[1:]...)}
	var data any
	if out.Name == labelOutput {
		labels := make([]string, len(predictions))
		for i, p := range predictions {
			labels[i] = p.Label
		}
		data, raw = labels, packStrings(labels)
	} else {
		values := make([]float32, 0, len(predictions)*int(out.Shape[1]))
		for _, p := range predictions {
			switch out.Name {
			case vision.Probabilities:
				values = append(values, p.Probabilities...)
			case vision.Logits:
				values = append(values, p.Logits...)
			case vision.Embedding:
				values = append(values, p.Embedding...)
			}
		}
		data, raw = values, packFloats(values)
	}
	if out.binary {
		n := len(raw)
		t.Parameters = &parameters{BinarySize: &n}
		return t, raw, nil
	}
	t.Data, err = json.Marshal(data)
	return t, nil, err
}
