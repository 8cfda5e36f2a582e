package artifact_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/vit"
)

// What is written in the Hugging Face convention reads back as what it was, but that it crops as its readers do.
func TestHuggingFaceFiles(t *testing.T) {
	labels := []string{"crème brûlée", `a "quoted" <b>`, "z"}
	for range 9 {
		labels = append(labels, "more "+strconv.Itoa(len(labels)))
	}
	for _, p := range []vit.Preprocess{
		vit.DefaultPreprocess(224, 224),
		{Width: 224, Height: 224, Resize: "shortest", ResizeTo: 256, Interpolation: "bilinear", Orientation: true},
		{Width: 224, Height: 192, Resize: "shortest", ResizeTo: 256, Interpolation: "lanczos",
			Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.5, 0.25, 0.1}, Orientation: true},
		{Width: 384, Height: 224, Resize: "exact", Interpolation: "nearest", Orientation: true},
		{Width: 224, Height: 224, Resize: "exact", ResizeTo: 256, Interpolation: "box", Orientation: true},
	} {
		files, err := artifact.HuggingFace(labels, p, 192)
		if err != nil {
			t.Fatal(err)
		}
		config, preprocessor := files[0].Content, files[1].Content
		if files[0].Name != "config.json" || files[1].Name != "preprocessor_config.json" {
			t.Errorf("files %s and %s", files[0].Name, files[1].Name)
		}
		cropped := p
		cropped.Crop = "down"
		if artifact.SamePixels(p) != (p.Key() == cropped.Key()) || !artifact.SamePixels(cropped) {
			t.Errorf("%s: the same pixels? %v", p.Key(), artifact.SamePixels(p))
		}
		p = cropped
		got, err := vit.ParseHF(preprocessor)
		if err != nil || got.Key() != p.Key() {
			t.Errorf("%s\nreads back as %s (%v), was %s", preprocessor, got.Key(), err, p.Key())
		}
		var c struct {
			ID2Label  map[string]string `json:"id2label"`
			Label2ID  map[string]int    `json:"label2id"`
			ModelType string            `json:"model_type"`
		}
		if err := json.Unmarshal(config, &c); err != nil || c.ModelType != "vit" || len(c.ID2Label) != len(labels) {
			t.Fatalf("%v: %s", err, config)
		}
		for i, label := range labels {
			if c.ID2Label[strconv.Itoa(i)] != label || c.Label2ID[label] != i {
				t.Errorf("label %d, %q, is %q with id %d", i, label, c.ID2Label[strconv.Itoa(i)], c.Label2ID[label])
			}
		}
		if strings.Index(string(config), `"10":`) < strings.Index(string(config), `"9":`) {
			t.Error("ids are not in order")
		}
	}
}
