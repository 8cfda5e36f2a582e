package imagepath

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/vitft/vitft/engine/place"
)

var (
	address = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://|data:)`)
	drive   = regexp.MustCompile(`^([A-Za-z]:[\\/]|\\\\)`)
)

// WellFormed refuses what cannot be the path of a file here.
func WellFormed(path string) (string, error) {
	path = strings.TrimSpace(path)
	switch {
	case path == "":
		return "", errors.New("empty path")
	case strings.ContainsRune(path, 0):
		return "", errors.New("path holds a zero byte (save the list as UTF-8)")
	case !strings.ContainsAny(path, `:\`): // as nearly all
	case place.Known(path): // as the predictions of images in a bucket have
		return path, nil
	case address.MatchString(path):
		return "", fmt.Errorf("%.100q is an address, and addresses (URLs) are not fetched: download the images and "+
			"list their paths", path)
	case runtime.GOOS != "windows" && drive.MatchString(path) && !IsFile(path):
		return "", fmt.Errorf("%.100q is a path of a Windows machine, which this one does not have: make paths "+
			"relative to the folder of the list", path)
	}
	return path, nil
}

// Listed is the file that a path in a list means that is relative to the working directory, as [Find] finds it; the
// path itself if there is none. What cannot be a path here is an error.
func Listed(path string) (string, error) {
	path, err := WellFormed(path)
	if err != nil {
		return "", err
	}
	if file, ok := Find(path, "."); ok {
		return file, nil
	}
	return path, nil
}

// Find finds the file that a path means: as it is written, with the separators of another system, with the letters in
// another normal form, with the extension of an image.
func Find(path string, folders ...string) (string, bool) {
	spellings := []string{path}
	if strings.Contains(path, `\`) {
		spellings = append(spellings, strings.ReplaceAll(path, `\`, "/"))
	}
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		for _, s := range spellings {
			if other := form.String(s); !slices.Contains(spellings, other) {
				spellings = append(spellings, other)
			}
		}
	}
	for _, base := range folders {
		for _, spelling := range spellings {
			if file := Under(base, spelling); IsFile(file) {
				return file, true
			}
		}
	}
	if Is(path) {
		return "", false
	}
	for _, base := range folders {
		for _, spelling := range spellings {
			for _, ending := range Extensions {
				for _, name := range []string{spelling + ending, spelling + strings.ToUpper(ending)} {
					if file := Under(base, name); IsFile(file) {
						return file, true
					}
				}
			}
		}
	}
	return "", false
}

// Plain reports whether a path can be written in one way only.
func Plain(path string) bool {
	return Is(path) && !strings.Contains(path, `\`) && !strings.ContainsFunc(path, func(c rune) bool {
		return c >= 0x80
	})
}

// Under is a path that is relative to a folder, unless it is absolute.
func Under(base, path string) string {
	if place.IsURL(path) {
		return path
	}
	if path = filepath.Clean(filepath.FromSlash(path)); filepath.IsAbs(path) {
		return path
	}
	return place.Join(base, path)
}

// IsFile reports whether there is a file.
func IsFile(path string) bool {
	info, err := place.Stat(path)
	return err == nil && !info.IsDir()
}
