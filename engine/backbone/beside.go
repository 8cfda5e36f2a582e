package backbone

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/internal/jsontext"
	"github.com/vitft/vitft/internal/userfile"
)

// configs are the files that libraries keep a model's preprocessing in, in the order in which they are believed, with
// the keys of which one must be there. Hugging Face's own is not asked beside its model.
var configs = []struct {
	name string
	keys []string
}{
	{"preprocessor_config.json", []string{"image_processor_type", "image_mean", "crop_size", "size", "input_size",
		"image_processor"}},
	{"processor_config.json", []string{"image_processor"}}, // of transformers 5, for models of images and text
	{"config.json", []string{"pretrained_cfg"}},            // of timm, and of transformers for timm's models
	{"open_clip_config.json", []string{"preprocess_cfg", "model_cfg"}},
}

// configOf finds the file with the preprocessing of a model: beside it, or else one folder up, where repositories have
// it whose models lie in onnx/. Where the model is a link, as in the hub's cache and for those who point at it, what it
// points to is asked too. It returns "" if there is none.
func configOf(model string) (string, error) {
	for range 8 { // of links
		folder := filepath.Dir(model)
		dirs := []string{folder, filepath.Join(folder, "..")}
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			dirs = append(dirs, filepath.Join(real, ".."))
		}
		for i, dir := range dirs {
			if path, err := configIn(dir, i == 0); path != "" || err != nil {
				return path, err
			}
		}
		to, err := os.Readlink(model)
		if err != nil {
			return "", nil // no link
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(folder, to)
		}
		model = to
	}
	return "", nil
}

// configIn finds the file in a folder; beside says that the model lies there.
func configIn(dir string, beside bool) (string, error) {
	for i, c := range configs {
		path := filepath.Join(dir, c.name)
		if i == 0 && beside {
			_, err := userfile.Regular(path)
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return path, err
			}
			continue
		}
		text, _ := userfile.Read(path, userfile.Text) // there may be none, or anybody's
		var has map[string]json.RawMessage
		if json.Unmarshal(jsontext.Plain(text), &has) == nil &&
			slices.ContainsFunc(c.keys, func(k string) bool { return has[k] != nil }) {
			return path, nil
		}
	}
	return "", nil
}
