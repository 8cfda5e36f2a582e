package backbone

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// guessed is the source of a preprocessing that nothing confirms.
const guessed = "a guess: the model says nothing; give --preprocess if it was trained otherwise"

// findPreprocess is the preprocessing of a backbone and where it was found, for the size that o.ImageSize asks for.
func findPreprocess(o Options, m *graph.Model, sum string) (vit.Preprocess, string, error) {
	p, source, err := knownPreprocess(o, m, sum)
	if err == nil && o.ImageSize > 0 && (p.Width != o.ImageSize || p.Height != o.ImageSize) {
		p = p.Resolved()
		p.ResizeTo = p.ResizeTo * o.ImageSize / min(p.Width, p.Height) // the same share is cropped
		p.Width, p.Height = o.ImageSize, o.ImageSize
		source += ", image-size changed"
	}
	return p, source, err
}

// knownPreprocess looks in the file that o names, the model's metadata, the preprocessor_config.json beside it or in
// its repository, other files beside it, and the registry; else it guesses.
func knownPreprocess(o Options, m *graph.Model, sum string) (vit.Preprocess, string, error) {
	if o.Preprocess != "" {
		p, err := readPreprocess(o.Preprocess)
		return p, o.Preprocess, err
	}
	if text, ok := m.Metadata(artifact.PreprocessKey); ok {
		p, err := vit.ParsePreprocess([]byte(text))
		if err != nil {
			return p, "", fault.Data.Errorf("backbone %s: metadata %s: %w", o.Name, artifact.PreprocessKey, err)
		}
		return p, "the model's metadata", nil
	}
	at, err := locate(o.Name)
	if err != nil {
		return vit.Preprocess{}, "", err
	}
	if path := cmp.Or(at.Config, otherConfig(at.Path)); path != "" {
		p, err := readPreprocess(path)
		return p, path, err
	}
	if b, how, ok := models.Recognize(at.Name, sum); ok {
		p, err := vit.ParsePreprocess(b.Preprocess)
		return p, fmt.Sprintf("the registry's %s (%s)", b.Name, how), err
	}
	in, _ := vision.Inspect(m, o.choice(vit.Preprocess{})) // what is wrong with it is said later
	width, height := int(in.Image.Width), int(in.Image.Height)
	if width <= 0 || height <= 0 {
		width, height = 224, 224 // it takes any and names none
	}
	p := vit.DefaultPreprocess(width, height)
	if in.Image.Type == "uint8" { // bytes: the model normalises
		p.Mean, p.Std = [3]float32{}, [3]float32{1, 1, 1}
	}
	return p, guessed, nil
}

// otherConfig finds the file beside a model that has its preprocessing where there is no preprocessor_config.json:
// transformers 5 writes it into processor_config.json for models of images and text, timm (and transformers for timm's
// models) into config.json. It returns "" if neither has it.
func otherConfig(model string) string {
	if model == "" { // embedded
		return ""
	}
	for _, name := range []string{"processor_config.json", "config.json"} {
		path := filepath.Join(filepath.Dir(model), name)
		text, _ := userfile.Read(path, userfile.Text) // there may be none
		var has map[string]json.RawMessage
		if json.Unmarshal(text, &has) == nil && (has["image_processor"] != nil || has["pretrained_cfg"] != nil) {
			return path
		}
	}
	return ""
}

// readPreprocess reads a JSON file of ours or in the Hugging Face convention.
func readPreprocess(path string) (vit.Preprocess, error) {
	text, err := userfile.Read(path, userfile.Text)
	if err != nil {
		return vit.Preprocess{}, fault.Data.Errorf("preprocess: %w", err)
	}
	p, ours := vit.ParsePreprocess(text)
	if ours != nil {
		var theirs error
		if p, theirs = vit.ParseHF(text); theirs != nil {
			return p, fault.Data.Errorf("preprocess: %s is neither ours (%w) nor a Hugging Face image processor (%w)",
				path, ours, theirs)
		}
	}
	return p, nil
}

// withSizes adds to the refusal of a model whose preprocessing makes images of another size where that size is from and
// what to do.
func withSizes(err error, source string, pre vit.Preprocess, im vision.ImageInput) error {
	width, height := int(im.Width), int(im.Height)
	if width < 1 || height < 1 || width == pre.Width && height == pre.Height {
		return err
	}
	cure := "give its own with --preprocess"
	if width == height {
		cure = fmt.Sprintf("correct that, or give --image-size %d if the rest of it is right", width)
	}
	return fmt.Errorf("%w: the preprocessing makes images of %d×%d (from %s): %s",
		err, pre.Width, pre.Height, source, cure)
}
