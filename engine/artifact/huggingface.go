package artifact

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// File is a file to write: a model, or what belongs beside it.
type File struct {
	Name    string // its path in the folder
	Content []byte
}

// Write writes files into a folder, which it makes, and returns their paths.
func Write(dir string, files []File) (paths []string, err error) {
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := disk.MakeAll(filepath.Dir(path)); err != nil {
			return paths, err
		}
		if err := atomicfile.WriteBytes(path, f.Content); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// Variants is the folder that transformers.js looks for models in, beside config.json.
const Variants = "onnx"

// Repository is what out, a file or a folder, stands for in the Hugging Face convention: a folder, and the files in it
// that transformers.js and Optimum load. The model is in onnx/ under the name that transformers.js looks for, or that
// out gives it in a folder of this name; a file elsewhere is there as well.
func (p Precision) Repository(out string, model []byte, labels []string, pre vit.Preprocess, dim int) (dir string,
	files []File, err error) {
	found := filepath.Join(Variants, strings.TrimSuffix(ModelFile, ".onnx")+p.suffix+".onnx")
	places := []string{found}
	if dir = out; !IsFolder(out) {
		name := filepath.Base(out)
		if dir = Root(filepath.Dir(out)); dir != filepath.Dir(out) {
			places = []string{filepath.Join(Variants, name)}
		} else {
			places = []string{name, found}
		}
	}
	for _, place := range places {
		files = append(files, File{place, model})
	}
	beside, err := HuggingFace(labels, pre, dim)
	return dir, append(files, beside...), err
}

// IsFolder says whether a path is a folder, or means one that is to be made.
func IsFolder(path string) bool {
	if strings.HasSuffix(path, string(filepath.Separator)) {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Root is the folder of config.json and preprocessor_config.json, for models in a folder.
func Root(dir string) string {
	if absolute, err := filepath.Abs(dir); err == nil && filepath.Base(absolute) == Variants {
		return filepath.Join(dir, "..")
	}
	return dir
}

// ForPipelines is a model whose logits, to programs that know no probabilities but softmax of them, give the calibrated
// ones.
func ForPipelines(model []byte) ([]byte, error) {
	m, err := graph.Parse(model)
	if err != nil {
		return nil, err
	}
	changed, err := vision.CalibrateLogits(m)
	if err != nil || !changed {
		return model, err
	}
	m.SetMetadata(LogitsKey, "calibrated")
	return seal(m)
}

// SamePixels reports whether processors of preprocessor_config.json make of images what p does. They crop in the middle
// with half of an odd margin rounded down, where torchvision and timm round to an even number: one pixel beside.
func SamePixels(p vit.Preprocess) bool {
	text, err := json.Marshal(newProcessor(p))
	if err != nil {
		return false
	}
	read, err := vit.ParseHF(text)
	return err == nil && read.Key() == p.Key()
}

// HuggingFace makes config.json and preprocessor_config.json in the Hugging Face convention, from which transformers,
// Optimum and transformers.js know classes and preprocessing of the model.onnx beside them. dim is the length of its
// embedding. [SamePixels] says whether preprocessing is all of that.
func HuggingFace(labels []string, p vit.Preprocess, dim int) ([]File, error) {
	id2label, label2id, err := labelMaps(labels)
	if err != nil {
		return nil, err
	}
	config := struct {
		Architectures []string        `json:"architectures"`
		ModelType     string          `json:"model_type"`
		Problem       string          `json:"problem_type"`
		ImageSize     int             `json:"image_size"`
		Channels      int             `json:"num_channels"`
		Hidden        int             `json:"hidden_size"`
		ID2Label      json.RawMessage `json:"id2label"`
		Label2ID      json.RawMessage `json:"label2id"`
	}{
		[]string{"ViTForImageClassification"}, "vit", "single_label_classification",
		max(p.Width, p.Height), 3, dim, id2label, label2id,
	}
	files := []File{{Name: "config.json"}, {Name: "preprocessor_config.json"}}
	for i, v := range []any{config, newProcessor(p)} {
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return nil, err
		}
		files[i].Content = append(text, '\n')
	}
	return files, nil
}

// labelMaps are the objects id2label and label2id in the order of the ids, which a Go map would not keep.
func labelMaps(labels []string) (id2label, label2id json.RawMessage, err error) {
	there, back := make([]string, len(labels)), make([]string, len(labels))
	for i, label := range labels {
		name, err := json.Marshal(label)
		if err != nil {
			return nil, nil, err
		}
		there[i], back[i] = fmt.Sprintf(`"%d":%s`, i, name), fmt.Sprintf(`%s:%d`, name, i)
	}
	object := func(members []string) json.RawMessage { return []byte("{" + strings.Join(members, ",") + "}") }
	return object(there), object(back), nil
}

// processor is the content of preprocessor_config.json.
type processor struct {
	Type         string     `json:"image_processor_type"`
	DoConvertRGB bool       `json:"do_convert_rgb"`
	DoResize     bool       `json:"do_resize"`
	Size         sides      `json:"size"`
	Resample     int        `json:"resample"` // Pillow's number
	DoCenterCrop bool       `json:"do_center_crop"`
	CropSize     *sides     `json:"crop_size,omitempty"`
	DoRescale    bool       `json:"do_rescale"`
	Factor       float64    `json:"rescale_factor"`
	DoNormalize  bool       `json:"do_normalize"`
	Mean         [3]float32 `json:"image_mean"`
	Std          [3]float32 `json:"image_std"`
}

type sides struct {
	ShortestEdge int `json:"shortest_edge,omitempty"`
	Height       int `json:"height,omitempty"`
	Width        int `json:"width,omitempty"`
}

// newProcessor says p with a processor that has the steps: ViT's squashes, DeiT's crops after it, CLIP's scales the
// shortest edge and crops.
func newProcessor(p vit.Preprocess) processor {
	p = p.Resolved()
	input := &sides{Height: p.Height, Width: p.Width}
	c := processor{
		Type: "ViTImageProcessor", DoConvertRGB: true,
		DoResize: true, Size: *input, Resample: pillowNumber[p.Interpolation],
		DoRescale: true, Factor: 1.0 / 255, DoNormalize: true, Mean: p.Mean, Std: p.Std,
	}
	switch {
	case p.Resize == "shortest":
		c.Type, c.Size = "CLIPImageProcessor", sides{ShortestEdge: p.ResizeTo}
		c.DoCenterCrop, c.CropSize = true, input
	case p.ResizeTo > 0:
		c.Type, c.Size = "DeiTImageProcessor", sides{Height: p.ResizeTo, Width: p.ResizeTo}
		c.DoCenterCrop, c.CropSize = true, input
	}
	return c
}

var pillowNumber = map[string]int{"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
