package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/explain"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// explanations writes what speaks for the class of each image that predict classifies: a picture and its numbers.
type explanations struct {
	*explain.Explainer
	to    string          // a folder, or the picture of the only image
	alone bool            // it is the latter
	taken map[string]bool // files that are written
}

// explained names the files of an image.
type explained struct {
	Overlay string `json:"overlay"`
	Numbers string `json:"numbers"`
}

// pictures refuses to take the name of a picture of another kind for that of a folder.
func pictures(to string) error {
	if err := setting.Local(to); err != nil {
		return err
	}
	if end := strings.ToLower(filepath.Ext(to)); slices.Contains([]string{".jpg", ".jpeg", ".webp", ".json"}, end) {
		return fault.Config.Errorf("pictures are written as PNG, not %s; name a FILE.png or a folder", to)
	}
	return nil
}

func openExplanations(to, model string, o classify.Options) (*explanations, error) {
	x := &explanations{to: to, alone: strings.EqualFold(filepath.Ext(to), ".png"), taken: map[string]bool{}}
	if !x.alone {
		if err := disk.MakeAll(to); err != nil {
			return nil, fault.Config.Errorf("explain: %s cannot be used as a folder: %v", to, err)
		}
	}
	e, err := explain.Open(model, o)
	x.Explainer = e
	return x, err
}

// write explains an image and writes the files.
func (x *explanations) write(ctx context.Context, path string, class int) (*explained, error) {
	content, err := place.Read(path, userfile.Image)
	if err != nil {
		return nil, err
	}
	e, err := x.Explain(ctx, content, class)
	if err != nil {
		return nil, err
	}
	overlay, err := e.Overlay()
	if err != nil {
		return nil, err
	}
	numbers, err := json.Marshal(struct {
		Path string `json:"path"`
		*explain.Explanation
	}{path, e})
	if err != nil {
		return nil, err
	}
	base, err := x.base(path)
	if err != nil {
		return nil, err
	}
	files := &explained{base + ".png", base + ".json"}
	if x.alone {
		files.Overlay = x.to
	}
	for _, f := range []struct {
		path    string
		content []byte
	}{{files.Overlay, overlay}, {files.Numbers, append(numbers, '\n')}} {
		if err := free(f.path, path); err != nil {
			return nil, err
		}
		if err := atomicfile.WriteBytes(f.path, f.content); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// free refuses to write in the place of a finished run's file, or of the photo itself.
func free(path, photo string) error {
	at, err := os.Stat(path)
	if of, missing := os.Stat(photo); err == nil && missing == nil && os.SameFile(at, of) {
		return fault.Config.Errorf("explain: %s is the photo; name another file or folder", path)
	}
	return artifact.Free(path)
}

// base is the name of an image's files, but for their ends. Images of one name get numbers.
func (x *explanations) base(path string) (string, error) {
	if x.alone {
		base := strings.TrimSuffix(x.to, filepath.Ext(x.to))
		if x.taken[base] {
			return "", fault.Config.Errorf("explain: %s is the picture of one image, and there are several; "+
				"name a folder", x.to)
		}
		x.taken[base] = true
		return base, nil
	}
	name := filepath.Base(path)
	base := filepath.Join(x.to, strings.TrimSuffix(name, filepath.Ext(name))+"-why")
	free := base
	for i := 2; x.taken[free]; i++ {
		free = fmt.Sprintf("%s-%d", base, i)
	}
	x.taken[free] = true
	return free, nil
}
