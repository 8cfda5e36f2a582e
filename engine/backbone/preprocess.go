package backbone

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/jsontext"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// guessed begins the source of a preprocessing that nothing confirms.
const guessed = "a guess: "

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

// knownPreprocess looks in the file that o names, the model's metadata, the files beside it, one folder up or in its
// repository, and the registry; else it guesses.
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
	if size, task, ok := ultralytics(m); ok && task == "classify" && size != "" {
		p, err := vit.Ultralytics(size)
		if err != nil {
			return p, "", fault.Data.Errorf("backbone %s: metadata of Ultralytics: %w", o.Name, err)
		}
		return p, "the model's metadata, of an Ultralytics classifier", nil
	}
	at, err := locate(o.Name)
	if err != nil {
		return vit.Preprocess{}, "", err
	}
	path := at.Config
	if path == "" && at.Path != "" {
		if path, err = configOf(at.Path); err != nil {
			return vit.Preprocess{}, "", fault.Data.Errorf("backbone: %w", err)
		}
	}
	if path != "" {
		p, err := readPreprocess(path)
		return p, path, err
	}
	if b, how, ok := models.Recognize(at.Name, sum); ok {
		p, err := vit.ParsePreprocess(b.Preprocess)
		return p, fmt.Sprintf("the registry's %s (%s)", b.Name, how), err
	}
	p, why := guess(o, m)
	return p, guessed + why, nil
}

// guess is the preprocessing of a model that nothing tells anything of but its graph.
func guess(o Options, m *graph.Model) (vit.Preprocess, string) {
	in, _ := vision.Inspect(m, o.choice(vit.Preprocess{})) // what is wrong with it is said later
	width, height := int(in.Image.Width), int(in.Image.Height)
	if width <= 0 || height <= 0 {
		width, height = 224, 224 // it takes any and names none
	}
	p := vit.DefaultPreprocess(width, height)
	const cure = "give --preprocess if it was trained otherwise"
	_, task, yolo := ultralytics(m)
	switch n := in.Image.Normalises; {
	case in.Image.Type == "uint8": // bytes: the model normalises
		p.Mean, p.Std = [3]float32{}, [3]float32{1, 1, 1}
	case n != nil:
		deviation := float32(1 / n.Pixels)
		p.Mean, p.Std = [3]float32{}, [3]float32{deviation, deviation, deviation}
		return p, fmt.Sprintf("the graph normalises pixels of [0, %v] itself, so they are given as they are; of the "+
			"rest the model says nothing; %s", n.Pixels, cure)
	case yolo:
		p.Mean, p.Std, p.Interpolation = [3]float32{}, [3]float32{1, 1, 1}, "bilinear"
		return p, fmt.Sprintf("pixels are in [0, 1], as Ultralytics has them; for its task %q it pads photos, here "+
			"they are cropped; %s", task, cure)
	}
	return p, "the model says nothing; " + cure
}

// ultralytics is the image size and the task in the metadata of a model that Ultralytics exported.
func ultralytics(m *graph.Model) (size, task string, ok bool) {
	author, _ := m.Metadata("author")
	description, _ := m.Metadata("description")
	size, _ = m.Metadata("imgsz")
	task, ok = m.Metadata("task")
	return size, task, ok && (author == "Ultralytics" || strings.HasPrefix(description, "Ultralytics "))
}

// twice says that a preprocessing from elsewhere normalises what the graph normalises too; "" if it does not.
func twice(p vit.Preprocess, im vision.ImageInput) string {
	n := im.Normalises
	if n == nil || p.Resolved().Mean == [3]float32{} {
		return ""
	}
	return fmt.Sprintf("the graph normalises pixels itself, and so does the preprocessing: if its values are those of "+
		"training, give --preprocess with mean 0 and std %.4g", 1/n.Pixels)
}

// readPreprocess reads a JSON file of ours or of other libraries.
func readPreprocess(path string) (vit.Preprocess, error) {
	text, err := place.Content(path, userfile.Text)
	if err != nil {
		return vit.Preprocess{}, unread("preprocess", err)
	}
	text = jsontext.Plain(text)
	p, ours := vit.ParsePreprocess(text)
	if ours == nil {
		return p, nil
	}
	p, theirs := vit.ParseHF(text)
	if theirs == nil {
		return p, nil
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(text, &keys) == nil && (keys["width"] != nil || keys["height"] != nil) {
		return p, fault.Data.Errorf("%s: %w", path, ours)
	}
	return p, fault.Data.Errorf("%s: %w; --preprocess takes another file, also one of width, height, resize, "+
		"resize_to, interpolation, mean and std", path, theirs)
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
