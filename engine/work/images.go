package work

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
)

// refusal is why a worker must not read an image, nil if it may: the file that it is, or is in, must lie in a folder
// that the worker was started for, whatever links lead there.
func (w *worker) refusal(image string) error {
	if w.Read == "" {
		return nil
	}
	file := dataset.FileOf(image)
	real, err := filepath.EvalSymlinks(file)
	if err != nil { // there is nothing to read
		real = filepath.Clean(file)
	}
	for folder := range strings.SplitSeq(w.Read, ",") {
		abs, err := filepath.Abs(strings.TrimSpace(folder))
		if err != nil {
			continue
		}
		if there, err := filepath.EvalSymlinks(abs); err == nil {
			abs = there
		}
		if rel, err := filepath.Rel(abs, real); err == nil && filepath.IsLocal(rel) {
			return nil
		}
	}
	return fault.Config.Errorf("%s is %s, in none of the folders that this worker may read (%s)", image, real, w.Read)
}

// young is how old a file is at least for a change after it was read to show in its time of modification.
const young = 2 * time.Second

// unseenError says that a worker sees none of a task's images that the submitting process saw: not the images are at
// fault, but this machine lacks a folder.
type unseenError struct{ error }

func (e unseenError) Unwrap() error { return e.error }

// compare says of each image whether its file is what it was when the job was submitted. The error is an unseenError.
func compare(set *dataset.Dataset, images []Image) (same []bool, err error) {
	same = make([]bool, len(images))
	var unseen []error
	now, there := time.Now(), 0
	for i, im := range images {
		if im.Modified == 0 {
			continue
		}
		there++
		info, err := set.Items[i].Info()
		if err != nil {
			unseen = append(unseen, err)
			continue
		}
		same[i] = info.Size() == im.Size && info.ModTime().UnixNano() == im.Modified &&
			now.Sub(info.ModTime()) >= young
	}
	if there > 0 && len(unseen) == there {
		return nil, unseenError{fault.Data.Errorf("this machine has none of %d images that the submitting one had: "+
			"%w; they must be at the same path here", there, unseen[0])}
	}
	return same, nil
}

// absolute is the path of an item from the root: workers have other working directories. What follows the # of an image
// inside a file stays as it is.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	here, err := filepath.Abs(".")
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return here + string(filepath.Separator) + path, nil
}
