package backbone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/models"
)

// locate finds the backbone that is given by its file or its name. Only what is on this machine counts; fetching is
// `vitft models pull`.
func locate(backbone string) (models.Pulled, error) {
	if isName(backbone) {
		p, err := new(models.Hub).Find(backbone)
		if errors.Is(err, models.ErrSetting) {
			err = fault.Config.Errorf("backbone: %w", err)
		} else if err != nil {
			err = fault.Data.Errorf("backbone: %w", err)
		}
		return p, err
	}
	file, err := place.Fetch(backbone)
	if err == nil {
		_, err = userfile.Regular(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		_, unknown := models.Lookup(backbone)
		return models.Pulled{}, fault.Data.Errorf("backbone: there is no file %s, and %w", backbone, unknown)
	}
	if err != nil {
		return models.Pulled{}, unread("backbone", fmt.Errorf("%w%s", err, inside(backbone)))
	}
	return models.Pulled{Backbone: models.Backbone{Name: backbone}, Path: file}, nil
}

// unread is why what a setting names cannot be read: that is bad data, unless it may pass or the name is at fault.
func unread(setting string, err error) error {
	if errors.Is(err, place.ErrUnanswered) || fault.Of(err) == fault.Config {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return fault.Data.Errorf("%s: %w", setting, err)
}

// inside names the ONNX files that lie in a folder where exporters put them.
func inside(folder string) string {
	var found []string
	for _, sub := range []string{"", "onnx"} {
		entries, _ := os.ReadDir(filepath.Join(folder, sub))
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".onnx" {
				found = append(found, filepath.Join(folder, sub, e.Name()))
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return ", such as " + strings.Join(found[:min(4, len(found))], ", ")
}

// isName reports whether a backbone is given by name. OWNER/REPOSITORY looks like a path: what exists or ends in .onnx
// is one.
func isName(backbone string) bool {
	if place.IsURL(backbone) || !models.IsName(backbone) {
		return false
	}
	if !strings.ContainsRune(backbone, '/') {
		return true
	}
	if filepath.Ext(backbone) == ".onnx" && !strings.ContainsRune(backbone, ':') {
		return false
	}
	_, err := os.Stat(backbone)
	return err != nil
}
