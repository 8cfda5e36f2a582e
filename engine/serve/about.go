package serve

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// What the inference protocol and Triton's extensions of it tell of the server and its models. gRPC answers the same.

// extensions are those of the inference protocol that are spoken: of the repository its index, as models come from the
// command line alone.
var extensions = []string{
	"binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics",
}

type serverMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

func (s *Server) metadata() serverMetadata {
	return serverMetadata{"vitft", s.options.Version, extensions}
}

func (s *Server) inferServer(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, s.metadata())
}

func inferReady(w http.ResponseWriter, m *model, _ *generation) error {
	return answer(w, http.StatusOK, map[string]any{"name": m.name, "ready": true})
}

type modelMetadata struct {
	Name     string       `json:"name"`
	Versions []string     `json:"versions"`
	Platform string       `json:"platform"`
	Inputs   []tensorInfo `json:"inputs"` // one or the other
	Outputs  []tensorInfo `json:"outputs"`
}

func metadataOf(m *model, g *generation) modelMetadata {
	info := g.Info()
	return modelMetadata{m.name, []string{onlyVersion}, "onnx_onnxv1", []tensorInfo{
		{Name: imageInput, Datatype: "BYTES", Shape: []int64{-1}},
		{Name: pixelsInput, Datatype: "FP32", Shape: []int64{-1, 3, int64(info.Height), int64(info.Width)}},
	}, outputsOf(info)}
}

func inferModel(w http.ResponseWriter, m *model, g *generation) error {
	return answer(w, http.StatusOK, metadataOf(m, g))
}

// modelConfig is the part of Triton's model configuration that means something here.
type modelConfig struct {
	Name     string           `json:"name"`
	Platform string           `json:"platform"`
	Backend  string           `json:"backend"`
	Versions versionPolicy    `json:"version_policy"`
	Batch    int              `json:"max_batch_size"` // of a request
	Inputs   []configuredIn   `json:"input"`
	Outputs  []configuredOut  `json:"output"`
	Batching configuredQueues `json:"dynamic_batching"`
}

type versionPolicy struct {
	Latest struct {
		N int `json:"num_versions"`
	} `json:"latest"`
}

// configuredIn, and configuredOut, leave out the images' dimension of a shape.
type configuredIn struct {
	Name     string  `json:"name"`
	Datatype string  `json:"data_type"`
	Format   string  `json:"format"`
	Dims     []int64 `json:"dims"`
	Optional bool    `json:"optional"`
}

type configuredOut struct {
	Name     string  `json:"name"`
	Datatype string  `json:"data_type"`
	Dims     []int64 `json:"dims"`
}

type configuredQueues struct {
	Preferred []int `json:"preferred_batch_size"`
	Delay     int64 `json:"max_queue_delay_microseconds"`
}

func (s *Server) config(m *model, g *generation) modelConfig {
	c := modelConfig{
		Name: m.name, Platform: "onnxruntime_onnx", Backend: "onnxruntime", Batch: s.options.MaxImages,
		Batching: configuredQueues{
			[]int{s.options.Classifier.MaxBatch}, int64(*s.options.Classifier.MaxDelay / time.Microsecond),
		},
	}
	c.Versions.Latest.N = 1
	types := map[string]string{"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32"}
	formats := map[string]string{imageInput: "FORMAT_NONE", pixelsInput: "FORMAT_NCHW"}
	about := metadataOf(m, g)
	for _, t := range about.Inputs {
		in := configuredIn{t.Name, types[t.Datatype], formats[t.Name], t.Shape[1:], true}
		c.Inputs = append(c.Inputs, in)
	}
	for _, t := range about.Outputs {
		c.Outputs = append(c.Outputs, configuredOut{t.Name, types[t.Datatype], t.Shape[1:]})
	}
	return c
}

func (s *Server) inferConfig(w http.ResponseWriter, m *model, g *generation) error {
	return answer(w, http.StatusOK, s.config(m, g))
}

type statistics struct {
	Models []modelStatistics `json:"model_stats"`
}

func (s *Server) statistics() (all statistics) {
	for _, m := range s.models {
		all.Models = append(all.Models, m.statistics())
	}
	return all
}

func (s *Server) inferStatistics(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, s.statistics())
}

func inferModelStatistics(w http.ResponseWriter, m *model, _ *generation) error {
	return answer(w, http.StatusOK, statistics{[]modelStatistics{m.statistics()}})
}

// indexed is a model in the repository's index: every one is ready, or the server would not be there.
type indexed struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

func (s *Server) index() []indexed {
	all := make([]indexed, len(s.models))
	for i, m := range s.models {
		all[i] = indexed{m.name, onlyVersion, "READY", ""}
	}
	return all
}

// repository answers with the index. A request may be empty, or ask for those that are ready.
func (s *Server) repository(w http.ResponseWriter, r *http.Request) error {
	var ask struct{ Ready bool }
	body, err := readAll(r)
	if err == nil && len(bytes.TrimSpace(body)) > 0 {
		err = malformed(json.Unmarshal(body, &ask))
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, s.index())
}
