package backbone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/models"
)

// modelFolder is a folder with the embedded backbone, its metadata gone, and files beside it.
func modelFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	data, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// The key is the same length, so the file stays well-formed.
	key := artifact.PreprocessKey
	data = []byte(strings.ReplaceAll(string(data), key, strings.Repeat("x", len(key))))
	dir := t.TempDir()
	files["model.onnx"] = string(data)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "model.onnx")
}

func TestPreprocessBeside(t *testing.T) {
	const (
		hf   = `{"image_processor_type": "ViTImageProcessor", "size": {"height": 28, "width": 28}}`
		timm = `{"architecture": "vit", "pretrained_cfg":
			{"input_size": [3, 28, 28], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 1}}`
	)
	type files = map[string]string
	for name, tt := range map[string]struct {
		files files
		from  string
	}{
		"nothing": {files{}, "a guess"},
		"the image processor": {files{"preprocessor_config.json": hf, "config.json": timm},
			"preprocessor_config.json"},
		"inside a processor": {files{"processor_config.json": `{"image_processor": ` + hf + `}`,
			"config.json": `{"model_type": "clip"}`}, "processor_config.json"},
		"timm":                         {files{"config.json": timm}, "config.json"},
		"a model's configuration only": {files{"config.json": `{"model_type": "vit", "image_size": 28}`}, "a guess"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Inspect(Options{Name: modelFolder(t, tt.files)})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(filepath.Base(r.PreprocessFrom), tt.from) || r.Preprocess.Width != 28 {
				t.Errorf("%+v from %s, want it from %s", r.Preprocess, r.PreprocessFrom, tt.from)
			}
		})
	}
}

// A preprocessing of another size is refused with its source and the cure.
func TestPreprocessOfAnotherSize(t *testing.T) {
	model := modelFolder(t, map[string]string{"preprocessor_config.json": `{"image_processor_type": "ViTImageProcessor",
		"size": {"height": 224, "width": 224}}`})
	_, err := Inspect(Options{Name: model})
	if err == nil || fault.Of(err) != fault.Data {
		t.Fatalf("%v is of kind %v", err, fault.Of(err))
	}
	for _, says := range []string{"preprocessor_config.json", "224×224", "--image-size 28"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
	r, err := Inspect(Options{Name: model, ImageSize: 28})
	if err != nil || r.Preprocess.Width != 28 {
		t.Errorf("with the size corrected: %+v, %v", r.Preprocess, err)
	}
}

// A model that takes bytes normalises them itself.
func TestGuessForBytes(t *testing.T) {
	r, err := Inspect(Options{Name: filepath.Join("..", "..", "onnx", "vision", "testdata", "uint8.onnx")})
	if err != nil || r.Preprocess.Mean != [3]float32{} || r.Preprocess.Std != [3]float32{1, 1, 1} {
		t.Errorf("%+v, %v", r.Preprocess, err)
	}
}

// The image size that is asked for holds wherever the preprocessing comes from.
func TestImageSize(t *testing.T) {
	embedded, sum, err := read(Default())
	if err != nil {
		t.Fatal(err)
	}
	const beside = `{"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}}`
	for source, name := range map[string]string{
		"the registry": Default(),
		"a guess":      modelFolder(t, map[string]string{}),
		"a file":       modelFolder(t, map[string]string{"preprocessor_config.json": beside}),
	} {
		model, sum := embedded, sum
		if name != Default() {
			if model, sum, err = read(name); err != nil {
				t.Fatal(err)
			}
		}
		p, _, err := findPreprocess(Options{Name: name, ImageSize: 56}, model, sum)
		if err != nil || p.Width != 56 || p.Height != 56 || p.Resize != "exact" && p.ResizeTo != 56 ||
			p.Validate() != nil {
			t.Errorf("%s: preprocessing for 56 pixels: %+v, %v", source, p, err)
		}
	}
}
