// Package userfile reads the files that users name or that lie where others can put them: no more of a file than a
// bound allows, and from no pipe or device, which may never end, but where one makes sense.
//
// What is refused is a [Refusal].
package userfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// The bounds, in bytes. docs/memory.md lists what is read within which.
const (
	Small = 64 << 10  // what a person writes: settings, secrets, certificates
	Text  = 16 << 20  // what a program writes for people: configurations of models, cards, lists of names and sums
	Image = 256 << 20 // an image
	Large = 2 << 30   // what grows with data or model
)

// Refusal says what is wrong with a file.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// Kind says that data are at fault.
func (Refusal) Kind() string { return "data" }

func refuse(path, what string, args ...any) error {
	return Refusal(path + " " + fmt.Sprintf(what, args...))
}

// Regular refuses what is no file with an end.
func Regular(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return info, regular(path, info)
}

func regular(path string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return refuse(path, "is a folder; put a file in its place")
	}
	return refuse(path, "is a pipe, socket or device; put a file in its place")
}

// Within refuses what Read refuses.
func Within(path string, most int64) (fs.FileInfo, error) {
	info, err := Regular(path)
	if err == nil {
		err = within(path, info, most)
	}
	return info, err
}

func within(path string, info fs.FileInfo, most int64) error {
	if info.Size() > most {
		return refuse(path, "has %d bytes; the limit here is %s", info.Size(), size(most))
	}
	return nil
}

// Open opens a file with an end.
func Open(path string) (*os.File, fs.FileInfo, error) {
	if _, err := Regular(path); err != nil { // to open a pipe may take for ever
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = regular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Read is the content of a file with an end, of most bytes at most.
func Read(path string, most int64) ([]byte, error) {
	f, info, err := Open(path)
	if err != nil {
		return nil, err
	}
	return content(f, info, most)
}

// ReadAny is Read, and takes a pipe or device too, for as long as it comes.
func ReadAny(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = regular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return content(f, info, most)
}

// content is the rest of f, which it closes. It takes room for the size that the file has, and grows with what comes
// besides.
func content(f *os.File, info fs.FileInfo, most int64) ([]byte, error) {
	defer f.Close()
	if err := within(f.Name(), info, most); err != nil {
		return nil, err
	}
	b := make([]byte, 0, max(info.Size(), 0)+512)
	for {
		n, err := f.Read(b[len(b):min(int64(cap(b)), most+1)])
		if b = b[:len(b)+n]; int64(len(b)) > most {
			return nil, refuse(f.Name(), "has more bytes than the limit here, %s", size(most))
		}
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, err
		case len(b) == cap(b):
			b = append(b, 0)[:len(b)]
		}
	}
}

func size(n int64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 1<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}
