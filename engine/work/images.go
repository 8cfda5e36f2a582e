package work

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
)

// refusal is why a worker must not read an image, nil if it may: the file that it is, or is in, must lie in a folder
// that the worker was started for, whatever links lead there.
func (w *worker) refusal(image string) error {
	if place.IsURL(image) {
		return w.refusalOf(image)
	}
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

// refusalOf is that of an image in an object store: its bucket must be one that this process was started with, by
// --read or as a source of its own. The error is an unableError: others may be started for it.
func (w *worker) refusalOf(image string) error {
	if w.Read == "" && place.IsNamed(image) {
		return nil
	}
	for at := range strings.SplitSeq(w.Read, ",") {
		if at, err := place.Named(strings.TrimSpace(at)); err == nil && strings.HasPrefix(image, at+"/") &&
			!strings.Contains(image, "/../") {
			return nil
		}
	}
	return unableError{fault.Config.Errorf("%s is in no bucket that this worker may read (%s): start it with --read %s",
		image, cmp.Or(w.Read, "none was named"), place.Bucket(image))}
}

// young is how old a file is at least for a change after it was read to show in its time of modification.
const young = 2 * time.Second

// unseenError says that a worker sees none of a task's images that the submitting process saw: not the images are at
// fault, but this machine lacks a folder.
type unseenError struct{ error }

func (e unseenError) Unwrap() error { return e.error }

// within makes sure that this machine sees one at least of the images in object stores that the submitting one saw:
// else they would be recorded as missing. The error is an unseenError, or that of a store that does not answer.
func within(images []Image) error {
	var unseen error
	n := 0
	for _, im := range images {
		if im.Modified == 0 || !place.IsURL(im.Path) {
			continue
		}
		_, err := place.Stat(dataset.FileOf(im.Path))
		if err == nil || errors.Is(err, place.ErrUnanswered) {
			return err
		}
		n, unseen = n+1, err
	}
	if n > 0 {
		return unseenError{fault.Data.Errorf("this machine sees none of %d images in an object store that the "+
			"submitting one saw: %w; look after its credentials", n, unseen)}
	}
	return nil
}

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
		same[i] = place.Same(info, im.info()) && (now.Sub(info.ModTime()) >= young || im.Tag != "")
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
	if filepath.IsAbs(path) || place.IsURL(path) {
		return path, nil
	}
	here, err := filepath.Abs(".")
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return here + string(filepath.Separator) + path, nil
}
