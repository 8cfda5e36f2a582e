package library

import (
	"archive/tar"
	"archive/zip"
	"cmp"
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

// papers are its licence and the notices of what is in it, which go with every copy that is passed on.
var papers = regexp.MustCompile(`^[^/]+/(LICENSE|ThirdPartyNotices\.txt)$`)

// publish puts the CPU library in its place, and its papers beside it: what the file is of says the pin that it was
// recognised by, so that it holds what it should.
func (g getter) publish(file string, p pin, wanted []pin) error {
	target := filepath.Join(g.Out, Name(g.Platform))
	unpack := copyFile // the library itself
	switch p.of {
	case "wheel":
		unpack = fromZip
	case "release":
		unpack = fromTar
	}
	found := false
	err := unpack(file, func(name string, r io.Reader) error {
		to := target
		if m := papers.FindStringSubmatch(name); m != nil {
			to = filepath.Join(g.Out, "onnxruntime-"+m[1])
		} else if name != "" && !inside.MatchString(name) {
			return nil
		}
		found = found || to == target
		return atomicfile.Write(to, func(w io.Writer) error { _, err := io.Copy(w, r); return err })
	})
	if err == nil && !found {
		err = fault.Runtime.Errorf("there is no ONNX Runtime library in %s", file)
	}
	if err != nil {
		return err
	}
	sum, err := sumOf(target)
	if err != nil {
		return err
	}
	if p.of == "wheel" && sum != of(wanted, "library")[0].sum {
		return fault.Runtime.Errorf("the library in %s has the SHA-256 %s, not the pinned one", filepath.Base(file),
			sum)
	}
	if err := os.Chmod(target, 0o755); err != nil {
		return err
	}
	return atomicfile.WriteBytes(g.mark(target), []byte(sum+"\n"))
}

// A take is called with each file of an archive; "" is the name of one that is none.
type take func(name string, r io.Reader) error

func copyFile(from string, to take) error {
	f, _, err := userfile.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return to("", f)
}

func fromZip(file string, to take) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer z.Close()
	for _, f := range z.File {
		r, err := f.Open()
		if err == nil {
			err = errors.Join(to(f.Name, r), r.Close())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func fromTar(file string, to take) error {
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
			return nil
		}
		if err == nil && h.Typeflag == tar.TypeReg {
			err = to(h.Name, t)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
}

// unpackAll puts all shared libraries of a wheel into the folder, but for those that vitft uses nothing of.
func (g getter) unpackAll(file string) error {
	return fromZip(file, func(name string, r io.Reader) error {
		name = path.Base(name)
		if !strings.HasPrefix(name, "lib") || !strings.Contains(name, ".so") || strings.Contains(name, "tensorrt") ||
			strings.HasPrefix(name, "libnvblas") || strings.Contains(name, ".alt.") {
			return nil
		}
		target := filepath.Join(g.Out, name)
		err := atomicfile.Write(target, func(w io.Writer) error { _, err := io.Copy(w, r); return err })
		return cmp.Or(err, os.Chmod(target, 0o755))
	})
}
