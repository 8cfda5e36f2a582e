package backbone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// The file with the preprocessing is found wherever libraries and people lay it.
func TestConfigOf(t *testing.T) {
	const (
		hf    = `{"image_processor_type": "ViTImageProcessor", "size": 28}`
		timm  = `{"pretrained_cfg": {"input_size": [3, 28, 28]}}`
		clip  = `{"model_cfg": {"vision_cfg": {"image_size": 28}}, "preprocess_cfg": {}}`
		audio = `{"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80}`
		model = ""
	)
	type files = map[string]string // a text that begins with -> is a link
	for name, tt := range map[string]struct {
		files files
		model string // what is asked for; m.onnx
		want  string // "" for none
	}{
		"beside": {files{"m.onnx": model, "preprocessor_config.json": hf}, "", "preprocessor_config.json"},
		"one up": {files{"onnx/m.onnx": model, "preprocessor_config.json": hf}, "onnx/m.onnx",
			"preprocessor_config.json"},
		"beside before one up": {files{"onnx/m.onnx": model, "preprocessor_config.json": hf,
			"onnx/config.json": timm}, "onnx/m.onnx", "onnx/config.json"},
		"timm's one up": {files{"onnx/m.onnx": model, "config.json": timm}, "onnx/m.onnx", "config.json"},
		"open_clip's":   {files{"m.onnx": model, "open_clip_config.json": clip}, "", "open_clip_config.json"},
		"open_clip's one up": {files{"x/m.onnx": model, "open_clip_config.json": "\ufeff" + clip}, "x/m.onnx",
			"open_clip_config.json"},
		"two up is another's": {files{"a/b/m.onnx": model, "preprocessor_config.json": hf}, "a/b/m.onnx", ""},
		"a sound's one up":    {files{"onnx/m.onnx": model, "preprocessor_config.json": audio}, "onnx/m.onnx", ""},
		"a sound's beside": {files{"m.onnx": model, "preprocessor_config.json": audio}, "",
			"preprocessor_config.json"},
		"a text model's one up": {files{"onnx/m.onnx": model, "config.json": `{"model_type": "bert"}`},
			"onnx/m.onnx", ""},
		"no JSON one up": {files{"onnx/m.onnx": model, "preprocessor_config.json": "{"}, "onnx/m.onnx", ""},
		"inside a processor": {files{"m.onnx": model, "processor_config.json": `{"image_processor": ` + hf + `}`},
			"", "processor_config.json"},
		"the hub's cache": {files{"blobs/1": model, "blobs/2": hf,
			"snapshots/c/onnx/m.onnx":              "->../../../blobs/1",
			"snapshots/c/preprocessor_config.json": "->../../blobs/2"}, "snapshots/c/onnx/m.onnx",
			"snapshots/c/preprocessor_config.json"},
		"a link to the hub's cache": {files{"blobs/1": model, "snapshots/c/onnx/m.onnx": "->../../../blobs/1",
			"snapshots/c/preprocessor_config.json": hf, "here/m.onnx": "->../snapshots/c/onnx/m.onnx"},
			"here/m.onnx", "snapshots/c/preprocessor_config.json"},
		"a linked folder": {files{"repo/onnx/m.onnx": model, "repo/preprocessor_config.json": hf,
			"a/link": "->../repo/onnx"}, "a/link/m.onnx", "repo/preprocessor_config.json"},
		"a link in a circle": {files{"m.onnx": "->m.onnx"}, "", ""},
		"nothing":            {files{"m.onnx": model}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for file, text := range tt.files {
				path := filepath.Join(dir, filepath.FromSlash(file))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if to, link := strings.CutPrefix(text, "->"); link {
					if err := os.Symlink(to, path); err != nil {
						t.Skip(err)
					}
				} else if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			model := tt.model
			if model == "" {
				model = "m.onnx"
			}
			t.Chdir(dir)
			for _, path := range []string{model, filepath.Join(dir, model)} {
				got, err := configOf(path)
				if got != "" {
					if got, err = filepath.Abs(got); err == nil {
						got, err = filepath.Rel(dir, got)
					}
				}
				if err != nil || filepath.ToSlash(got) != tt.want {
					t.Errorf("%s: %q, %v; want %q", path, got, err, tt.want)
				}
			}
		})
	}
}

// What the model's metadata and its graph say comes into play where no file does.
func TestPreprocessOfTheModelItself(t *testing.T) {
	yolo := func(task, size string) func(m *graph.Model) {
		return func(m *graph.Model) {
			m.SetMetadata("author", "Ultralytics")
			m.SetMetadata("task", task)
			if size != "" {
				m.SetMetadata("imgsz", size)
			}
		}
	}
	normalises := func(m *graph.Model) {
		b := graph.NewBuilder(m, "n")
		name := m.Inputs()[0].Name
		m.Rename(map[string]string{name: "normalised"})
		m.SetInputs(graph.Value{Name: name, Type: "float32", Shape: []int64{-1, 3, 28, 28}})
		nodes := m.Graph().Node
		m.Graph().Node = nil
		b.Node("Div", []string{name, b.Floats("deviation", nil, 58)}, "scaled")
		b.Node("Sub", []string{"scaled", b.Floats("mean", nil, 2)}, "normalised")
		m.Graph().Node = append(m.Graph().Node, nodes...)
	}
	const half = `{"size": 28, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}`
	for name, tt := range map[string]struct {
		change        func(m *graph.Model)
		beside        string
		from, warning string
		std           float32
		interpolation string
	}{
		"classifier":           {yolo("classify", "[28, 28]"), "", "Ultralytics classifier", "", 1, "bilinear"},
		"classifier, and file": {yolo("classify", "[28, 28]"), half, "Ultralytics classifier", "", 1, "bilinear"},
		"classifier, no size":  {yolo("classify", ""), "", "a guess: pixels are in [0, 1]", "", 1, "bilinear"},
		"detector":             {yolo("detect", "[28, 28]"), "", `its task "detect" it pads`, "", 1, "bilinear"},
		"of somebody else": {func(m *graph.Model) { m.SetMetadata("task", "classify") }, "",
			"a guess: the model says nothing", "", 0.229, "bicubic"},
		"a graph": {normalises, "", "a guess: the graph normalises pixels of [0, 255] itself", "", 1.0 / 255,
			"bicubic"},
		"a graph and a file": {normalises, half, "preprocessor_config.json", "mean 0 and std 0.003922", 0.5,
			"bilinear"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			if tt.beside != "" {
				files["preprocessor_config.json"] = tt.beside
			}
			path := modelFolder(t, files)
			m, err := graph.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(m)
			p, from, err := findPreprocess(Options{Name: path}, m, "")
			if err != nil {
				t.Fatal(err)
			}
			in, err := vision.Inspect(m, vision.FeatureChoice{})
			if err != nil {
				t.Fatal(err)
			}
			warning := twice(p, in.Image)
			if !strings.Contains(from, tt.from) || p.Std[0] != tt.std ||
				p.Interpolation != tt.interpolation ||
				!strings.Contains(warning, tt.warning) || (warning == "") != (tt.warning == "") {
				t.Errorf("%+v from %s; warning %q; %+v", p, from, warning, in.Image.Normalises)
			}
		})
	}
	path := modelFolder(t, map[string]string{})
	m, err := graph.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	yolo("classify", "[28, x]")(m)
	if _, _, err := findPreprocess(Options{Name: path}, m, ""); err == nil || fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "imgsz") {
		t.Errorf("a size that is none: %v", err)
	}
}

// A folder is answered with the files in it that were meant.
func TestFolderInPlaceOfModel(t *testing.T) {
	data, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, err := range []error{os.MkdirAll(filepath.Join(dir, "onnx"), 0o755),
		os.WriteFile(filepath.Join(dir, "onnx", "model.onnx"), data, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = Inspect(Options{Name: dir})
	if err == nil || fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), filepath.Join(dir, "onnx", "model.onnx")) {
		t.Errorf("%v", err)
	}
}
