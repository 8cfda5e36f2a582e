package verify

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/onnx/graph"
)

// model checks a model file and, if vitft has written it, the files for other programs beside it.
func (c *checker) model(path string) error {
	c.Files++
	m, err := graph.Read(path, artifact.CheckModel)
	if err != nil {
		if fault.Of(err) != fault.Data {
			return err
		}
		c.found(path, err, "take it from a copy, or export it again (vitft export --run RUN --out "+path+")", nil, "")
		return nil
	}
	if _, ours := m.Metadata(artifact.LabelsKey); !ours {
		c.State = "of others; without a sum, it can only be read"
		return nil
	}
	d, err := describe(path)
	if err != nil {
		c.found(path, err, "export it again (vitft export --run RUN --out "+path+")", nil, "")
		return nil
	}
	if _, sealed := m.Metadata(artifact.SumKey); !sealed {
		c.State = "without a sum: older than sums, or changed by others"
	}
	beside, err := artifact.HuggingFace(d.Labels, d.Preprocess, d.Dim)
	if err != nil {
		return err
	}
	for _, f := range beside {
		at := filepath.Join(artifact.Root(filepath.Dir(path)), f.Name)
		content, err := userfile.Read(at, userfile.Text)
		if err != nil {
			continue // it is there on request
		}
		if !slices.Contains(c.beside, at) { // several models may have them in common
			c.Files, c.beside = c.Files+1, append(c.beside, at)
		}
		if !bytes.Equal(content, f.Content) {
			c.found(at, errors.New("it says something else than "+filepath.Base(path)),
				"if it belongs to that, export again with --hf", nil, "")
		}
	}
	return nil
}

// describe is what a model says of itself.
func describe(path string) (artifact.Description, error) {
	content, err := userfile.Read(path, userfile.Large)
	if err != nil {
		return artifact.Description{}, err
	}
	sig, err := graph.ReadSignature(content)
	if err != nil {
		return artifact.Description{}, err
	}
	return artifact.Describe(sig)
}
