package library

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/userfile"
)

// inside is the library itself in a wheel and in the release page's archive, whose name has the version.
var inside = regexp.MustCompile(`(^onnxruntime/capi|/lib)/libonnxruntime\.(so\.[0-9.]+|[0-9.]+\.dylib)$`)

// publish puts the CPU library in its place: what the file is of says the pin that it was recognised by, so that it
// holds what it should.
func (g getter) publish(file string, p pin, wanted []pin) error {
	target := filepath.Join(g.Out, Name(g.Platform))
	fill := func(w io.Writer) error {
		switch p.of {
		case "wheel":
			return fromZip(file, w)
		case "release":
			return fromTar(file, w)
		}
		return copyFile(file, w) // the library itself
	}
	if err := atomicfile.Write(target, fill); err != nil {
		return err
	}
	sum, err := sumOf(target)
	if err != nil {
		return err
	}
	if p.of == "wheel" && sum != of(wanted, "library")[0].sum {
		return fault.Runtime.Errorf("the library in %s has the SHA-256 %s, not the pinned one", filepath.Base(file), sum)
	}
	if err := os.Chmod(target, 0o755); err != nil {
		return err
	}
	return atomicfile.WriteBytes(g.mark(target), []byte(sum+"\n"))
}

func copyFile(from string, w io.Writer) error {
	f, _, err := userfile.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func fromZip(file string, w io.Writer) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer z.Close()
	for _, f := range z.File {
		if inside.MatchString(f.Name) {
			return member(f, w)
		}
	}
	return fault.Runtime.Errorf("there is no ONNX Runtime library in %s", file)
}

func member(f *zip.File, w io.Writer) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Close())
}

func fromTar(file string, w io.Writer) error {
	f, _, err := userfile.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return fault.Runtime.Errorf("there is no ONNX Runtime library in %s", file)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if h.Typeflag == tar.TypeReg && inside.MatchString(h.Name) {
			_, err := io.Copy(w, t)
			return err
		}
	}
}

// unpackAll puts all shared libraries of a wheel into the folder, but for those that vitft uses nothing of.
func (g getter) unpackAll(file string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer z.Close()
	for _, f := range z.File {
		name := path.Base(f.Name)
		if !strings.HasPrefix(name, "lib") || !strings.Contains(name, ".so") || strings.Contains(name, "tensorrt") ||
			strings.HasPrefix(name, "libnvblas") || strings.Contains(name, ".alt.") {
			continue
		}
		target := filepath.Join(g.Out, name)
		if err := atomicfile.Write(target, func(w io.Writer) error { return member(f, w) }); err != nil {
			return err
		}
		if err := os.Chmod(target, 0o755); err != nil {
			return err
		}
	}
	return nil
}
