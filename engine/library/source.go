package library

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
)

const (
	index   = "https://pypi.org/simple"
	release = "https://github.com/microsoft/onnxruntime/releases/download/v%[1]s/onnxruntime-%[2]s-%[1]s.tgz"
)

// archives are how the release page calls platforms.
var archives = map[string]string{"linux-amd64": "linux-x64", "linux-arm64": "linux-aarch64",
	"darwin-arm64": "osx-arm64"}

// getter fetches for one call of Fetch.
type getter struct {
	Options
	ctx    context.Context
	events event.Events
}

// local is the mirror as a file or folder that is there, "" where it is an address or not given.
func (g getter) local() string {
	if g.Mirror == "" || strings.Contains(g.Mirror, "://") {
		return ""
	}
	return g.Mirror
}

// one fetches the CPU library from the first source that has it, in one of the forms that are pinned.
func (g getter) one(wanted []pin) error {
	if g.local() != "" {
		path, p, err := g.find(wanted)
		if err != nil {
			return err
		}
		return g.publish(path, p, wanted)
	}
	type source struct {
		name string
		get  func() (string, pin, error)
	}
	wheel := func() (string, pin, error) {
		p := of(wanted, "wheel")[0]
		path, err := g.wheel(p)
		return path, p, err
	}
	sources := []source{{"the package index", wheel}}
	switch packed := of(wanted, "release"); {
	case isFile(g.Mirror):
		sources = []source{{"the mirror", func() (string, pin, error) {
			path, err := g.download(g.Mirror, "")
			if err != nil {
				return "", pin{}, err
			}
			p, err := recognise(path, wanted)
			if err != nil {
				_ = disk.Delete(path)
			}
			return path, p, err
		}}}
	case g.Mirror == "" && len(packed) > 0:
		sources = append(sources, source{"the release page", func() (string, pin, error) {
			p := packed[0]
			path, err := g.download(fmt.Sprintf(release, p.version, archives[p.platform]), p.sum)
			return path, p, err
		}})
	}
	var failures []error
	for _, s := range sources {
		path, p, err := s.get()
		if err == nil {
			err = g.publish(path, p, wanted)
		}
		if err == nil {
			return nil
		}
		if g.ctx.Err() != nil {
			return g.ctx.Err()
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.name, err))
	}
	return g.failed(errors.Join(failures...))
}

// all fetches wheels of shared libraries and unpacks them, those that others need first.
func (g getter) all(wanted []pin) error {
	var wheels []string
	for _, p := range wanted {
		var path string
		var err error
		if g.local() != "" {
			path, _, err = g.find([]pin{p})
		} else {
			path, err = g.wheel(p)
		}
		if err != nil {
			return g.failed(err)
		}
		wheels = append(wheels, path)
	}
	older, err := filepath.Glob(filepath.Join(g.Out, Name(g.Platform)+"*"))
	for _, path := range older { // it would go before the new one, or go with the new provider
		err = cmp.Or(err, disk.Delete(path))
	}
	for _, path := range wheels {
		err = cmp.Or(err, g.unpackAll(path))
	}
	if err != nil {
		return err
	}
	return cmp.Or(err, atomicfile.WriteBytes(g.mark(""), []byte(sums(wanted)+"\n")))
}

// failed adds what to do to the reason why nothing could be fetched.
func (g getter) failed(err error) error {
	return fmt.Errorf("the ONNX Runtime library could not be fetched: %w\ntry again; where the network does not lead "+
		"there, name a mirror of the package index, or a file that was fetched elsewhere, with --mirror (VITFT_MIRROR)",
		err)
}

// isFile says whether an address is that of a file, not of an index.
func isFile(address string) bool {
	return slices.Contains([]string{".whl", ".tgz", ".so", ".dylib"}, filepath.Ext(address))
}

// find looks for a file that is pinned, by its content alone, at the mirror that is a file or folder here.
func (g getter) find(wanted []pin) (string, pin, error) {
	info, err := os.Stat(g.Mirror)
	if err != nil {
		return "", pin{}, fault.Data.Errorf("mirror: %w", err)
	}
	if !info.IsDir() {
		p, err := recognise(g.Mirror, wanted)
		return g.Mirror, p, err
	}
	entries, err := os.ReadDir(g.Mirror)
	if err != nil {
		return "", pin{}, fault.Data.Errorf("mirror: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(g.Mirror, e.Name())
		if e.Type().IsRegular() && isFile(path) {
			if p, err := recognise(path, wanted); err == nil {
				return path, p, nil
			}
		}
	}
	p := wanted[0]
	return "", pin{}, fault.Data.Errorf("mirror: no file in %s is the pinned one of %s %s for %s (SHA-256 of the "+
		"wheel %s)", g.Mirror, p.name, p.version, p.platform, p.sum)
}

// recognise finds the pin that a file is of.
func recognise(path string, wanted []pin) (pin, error) {
	sum, err := sumOf(path)
	if err != nil {
		return pin{}, fault.Data.Errorf("mirror: %w", err)
	}
	for _, p := range wanted {
		if p.sum == sum {
			return p, nil
		}
	}
	p := wanted[0]
	return pin{}, fault.Runtime.Errorf("%s has the SHA-256 %s, which is not a pinned one of %s %s for %s; to use a "+
		"library of your own set VITFT_ORT_LIB to it", path, sum, p.name, p.version, p.platform)
}

// link is an address on a page of a package index.
var link = regexp.MustCompile(`(?i)\bhref\s*=\s*["']([^"']+)["']`)

// wheel fetches a wheel from the package index.
func (g getter) wheel(p pin) (string, error) {
	base := strings.TrimRight(cmp.Or(g.Mirror, os.Getenv("PIP_INDEX_URL"), index), "/")
	page, err := url.Parse(base + "/" + p.name + "/")
	if err != nil {
		return "", fault.Config.Errorf("mirror: %w", err)
	}
	text, at, err := g.page(page.String())
	if err != nil {
		return "", err
	}
	file := address(text, at, p.sum)
	if file == "" {
		return "", fault.Runtime.Errorf("%s lists no file of %s %s with the pinned SHA-256 %s", page.Redacted(),
			p.name, p.version, p.sum)
	}
	return g.download(file, p.sum)
}

// address is that of the file with a sum on a page of an index, "" if there is none.
func address(page []byte, at *url.URL, sum string) string {
	for _, found := range link.FindAllSubmatch(page, -1) {
		u, err := at.Parse(html.UnescapeString(string(found[1])))
		if err == nil && strings.EqualFold(u.Fragment, "sha256="+sum) && strings.HasPrefix(u.Scheme, "http") {
			u.Fragment = ""
			return u.String()
		}
	}
	return ""
}
