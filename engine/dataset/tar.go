package dataset

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/vitft/vitft/internal/machine"
)

// tarFile is a tar archive. The places of its members are in memory, what is in them is not.
type tarFile struct {
	file
	members []tarMember
	cut     bool // there is no end mark
	at      func() map[string]int
}

type tarMember struct {
	name     string
	at, size int64
	regular  bool
}

// openTar reads the headers of an archive.
func openTar(f file) (*tarFile, error) { return listTar(f, nil) }

// listTar reads the headers of an archive, and what is in members for which text is true, to pass it to take.
func listTar(f file, take func(name string, size int64, content io.Reader) error) (*tarFile, error) {
	h, err := f.open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	t := &tarFile{file: f}
	t.members, t.cut, err = parseTar(h, f.size(), take)
	t.at = byName(len(t.members), func(i int) string { return t.members[i].name })
	return t, err
}

// parseTar lists the members of an archive. It takes no memory on the word of a header: a member must lie in the file,
// and the list of those that there are must fit the machine.
func parseTar(from io.ReaderAt, size int64, take func(string, int64, io.Reader) error) ([]tarMember, bool, error) {
	if magic, err := part(from, size, 0, min(size, 6)); err != nil {
		return nil, false, err
	} else if cure := compressed(magic); cure != "" {
		return nil, false, errors.New(cure)
	}
	at := &position{SectionReader: io.NewSectionReader(from, 0, size)}
	var members []tarMember
	var memory int64
	for r := tar.NewReader(at); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil && len(members) == 0 {
			return nil, false, fmt.Errorf("no sound tar archive: %w", err)
		} else if err != nil {
			return nil, false, fmt.Errorf("damaged or cut short after member %s: %w", members[len(members)-1].name, err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		m := tarMember{h.Name, at.offset(), h.Size, h.Typeflag == tar.TypeReg}
		sparse := slices.ContainsFunc(tarSparse, func(key string) bool { return h.PAXRecords[key] != "" })
		if h.Typeflag == tar.TypeGNUSparse || sparse {
			return nil, false, fmt.Errorf("member %s is stored with holes; pack it anew without --sparse", h.Name)
		}
		if m.regular && m.size > size-m.at {
			return nil, false, fmt.Errorf("cut short: member %s has %d bytes, of which %d are there", h.Name, m.size,
				size-m.at)
		}
		if memory += 2*perSample + int64(len(m.name)); len(members)%1000 == 0 {
			if err := machine.Check(float64(memory), "a list of more than %d members", len(members)); err != nil {
				return nil, false, err
			}
		}
		members = append(members, m)
		if m.regular && take != nil {
			if err := take(m.name, m.size, r); err != nil {
				return nil, false, fmt.Errorf("member %s: %w", m.name, err)
			}
		}
	}
	return members, at.offset() == size && !markedEnd(from, size), nil
}

// tarSparse are the records of files that are stored with holes.
var tarSparse = []string{"GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.numblocks", "GNU.sparse.realsize"}

// position reads a file and says where it is: what the tar reader has not read ahead, it has not read.
type position struct{ *io.SectionReader }

func (p *position) offset() int64 {
	at, _ := p.Seek(0, io.SeekCurrent)
	return at
}

// markedEnd reports whether a file ends in an empty block, as an archive does.
func markedEnd(from io.ReaderAt, size int64) bool {
	const block = 512
	last, err := part(from, size, size-block, block)
	return err == nil && len(bytes.Trim(last, "\x00")) == 0
}

// compressed says by its first bytes that a file is compressed, and what to do.
func compressed(magic []byte) string {
	for _, c := range []struct{ magic, what, cure string }{
		{"\x1f\x8b", "gzip", "gunzip"}, {"BZh", "bzip2", "bunzip2"}, {"\xfd7zXZ", "xz", "unxz"},
		{"\x28\xb5\x2f\xfd", "Zstandard", "unzstd"},
	} {
		if bytes.HasPrefix(magic, []byte(c.magic)) {
			return fmt.Sprintf("compressed with %s, and so not read in parts; unpack it with %s first",
				c.what, c.cure)
		}
	}
	return ""
}

func (t *tarFile) find(name string) (int, bool) {
	i, found := t.at()[name]
	return i, found
}

func (t *tarFile) image(i int) ([]byte, error) {
	m := t.members[i]
	content, err := t.part(m.at, m.size)
	if err != nil {
		return nil, fmt.Errorf("member %s of %s: %w", m.name, t.path, err)
	}
	return content, nil
}

// readTar reads an archive: images with their labels beside them, as WebDataset has them, or in class folders.
func (a *archives) readTar(f file) error {
	var w webdataset
	t, err := listTar(f, w.take)
	if err != nil {
		return err
	}
	if t.cut {
		a.endless = append(a.endless, f.path)
	}
	members := t.list()
	if labels := w.of(members); labels != nil {
		return a.readPairs(t, members, labels)
	}
	err = a.readClassFolders(t, members, func(int) error { return nil })
	if errors.Is(err, errNoClassFolders) {
		err = fmt.Errorf("%w; or put its label beside each image: KEY.cls beside KEY.jpg, where KEY has no dot", err)
	}
	return err
}

func (t *tarFile) list() []member {
	members := make([]member, len(t.members))
	for i, m := range t.members {
		members[i] = member{m.name, i, m.regular}
	}
	return members
}
