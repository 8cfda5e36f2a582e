package classify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/plaintext"
)

// ClassifyFiles classifies image files, several at a time, and calls done with each of them in the order of paths, as
// soon as it is known. A file that cannot be classified, and a path that comes with an error, is passed on with the
// error and stops nobody; an error from done, and the end of ctx, stops everything.
func (c *Classifier) ClassifyFiles(
	ctx context.Context, paths iter.Seq2[string, error], done func(path string, p Prediction, err error) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	files := make(chan chan func() error, 2*c.queue.batch+runtime.GOMAXPROCS(0)) // what is under way
	go func() {
		defer close(files)
		for path, err := range paths {
			ready := make(chan func() error, 1)
			select {
			case files <- ready:
			case <-ctx.Done():
				return
			}
			go func() {
				var p Prediction
				if err == nil {
					p, err = c.one(ctx, c.read(path))
				}
				ready <- func() error { return done(path, p, err) }
			}()
		}
	}()
	for {
		select { // paths may keep us waiting
		case ready, more := <-files:
			if !more {
				return ctx.Err()
			}
			select {
			case pass := <-ready:
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := pass(); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ImageFiles lists what paths name: files, the images in folders, sorted, with those in folders inside, and for "-"
// what the lines of list name, which may be of any system. A path that leads nowhere comes with an error.
func ImageFiles(paths []string, list io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, path := range paths {
			if path != "-" {
				named, err := place.Named(path)
				if err != nil && !yield(path, err) || err == nil && !imagesAt(named, yield) {
					return
				}
				continue
			}
			lines := bufio.NewScanner(plaintext.Stream(list))
			for lines.Scan() {
				if line := strings.TrimSuffix(lines.Text(), "\r"); line != "" && !listed(line, yield) {
					return
				}
			}
			err := lines.Err()
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("a line has more than %d kB: one path a line", bufio.MaxScanTokenSize>>10)
			}
			if err != nil && !yield(path, fmt.Errorf("read the list of images: %w", err)) {
				return
			}
		}
	}
}

// listed is imagesAt for a line of a list, whose path may be written as in a list of a data set.
func listed(path string, yield func(string, error) bool) bool {
	if _, err := place.Stat(path); err != nil {
		file, err := imagepath.Listed(path)
		if err != nil {
			return yield(path, err)
		}
		path = file
	}
	return imagesAt(path, yield)
}

func imagesAt(path string, yield func(string, error) bool) bool {
	if info, err := place.Stat(path); err != nil || !info.IsDir() {
		return yield(path, err)
	}
	if place.IsURL(path) {
		defer place.Hold()()
		return imagesBelow(path, yield)
	}
	more := true
	root := path + string(filepath.Separator) // also where path is a link
	filepath.WalkDir(root, func(at string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			more = yield(filepath.Clean(at), err)
		case at != root && imagepath.IsSystem(e.Name()) && e.IsDir():
			return fs.SkipDir
		case !e.IsDir() && !imagepath.IsSystem(e.Name()) && imagepath.Is(e.Name()):
			more = yield(at, nil)
		}
		if !more {
			return fs.SkipAll
		}
		return nil
	})
	return more
}

// imagesBelow is imagesAt for a folder of an object store, in the order of filepath.WalkDir.
func imagesBelow(folder string, yield func(string, error) bool) bool {
	entries, err := place.ReadDir(folder)
	if err != nil {
		return yield(folder, err)
	}
	for _, e := range entries {
		at, more := place.Join(folder, e.Name()), true
		switch {
		case imagepath.IsSystem(e.Name()):
		case e.IsDir():
			more = imagesBelow(at, yield)
		case imagepath.Is(e.Name()):
			more = yield(at, nil)
		}
		if !more {
			return false
		}
	}
	return true
}
