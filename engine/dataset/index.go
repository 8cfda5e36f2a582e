package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// Index remembers the hash of a file as long as its path, size and time of modification are what they were, so that it
// need not be read again. It is safe for concurrent use; several processes may share its folder. A nil *Index knows
// nothing.
//
// A file that was modified less than two seconds before it was hashed is not remembered: a later change may bear the
// same time (git calls such entries racy); of one in an object store the hash tells that the store has of it. One that
// is changed and given its old size and time is taken for the old one, until it is read for another reason.
type Index struct {
	dir string

	mu       sync.Mutex
	sections map[string]*section
}

// section is what is known about the files below one folder: those of a set whose class folders are in it. It has a
// file of its own, so that a run reads what it needs.
type section struct {
	files   map[string]known // by the path below the folder; zero if forgotten
	changed map[string]bool
}

type known struct {
	Size, Modified int64 // in bytes, and in nanoseconds
	ID             ID
	Tag            string // of a file in an object store
}

const (
	indexFormat = "vitft-scan-2"
	racy        = 2 * time.Second
)

// OpenIndex is the index kept in the folder dir, which Save makes where there is none. What is damaged there, or
// something else, is passed over.
func OpenIndex(dir string) *Index { return &Index{dir: dir, sections: map[string]*section{}} }

// Forget drops what is known about an item.
func (x *Index) Forget(it Item) {
	x.with(it, func(p *section, name string) {
		p.files[name] = known{}
		p.changed[name] = true
	})
}

// Save writes what is new. What other processes have written meanwhile is kept, except if both save at the same moment:
// then some files will be read again.
func (x *Index) Save() error {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for folder, p := range x.sections {
		if len(p.changed) == 0 {
			continue
		}
		all := x.load(folder)
		for name := range p.changed {
			all[name] = p.files[name]
		}
		if err := disk.MakeAll(x.dir); err != nil {
			return err
		}
		write := func(w io.Writer) error { return encode(w, folder, all) }
		if err := atomicfile.Write(x.path(folder), write); err != nil {
			return err
		}
		p.files = all
		clear(p.changed)
	}
	return nil
}

func (x *Index) find(it Item, info fs.FileInfo) (id ID, found bool) {
	x.with(it, func(p *section, name string) {
		if k := p.files[name]; k.Size == info.Size() && k.Modified == info.ModTime().UnixNano() &&
			k.Tag == place.Tag(info) {
			id = k.ID
		}
	})
	return id, id != (ID{})
}

// add remembers an item whose file looked like info at the time, when reading it had yet to begin.
func (x *Index) add(it Item, info fs.FileInfo, at time.Time, id ID) {
	if at.Sub(info.ModTime()) >= racy || place.Tag(info) != "" {
		x.Learn(it, info, id)
	}
}

// with calls f with the section that an item belongs to and its name there: the path below the folder, whose part after
// the # of an image inside a file is kept as it is.
func (x *Index) with(it Item, f func(p *section, name string)) {
	if x == nil {
		return
	}
	file, inside := it.Path, ""
	if it.in != nil {
		file = it.in.opened().path
		inside = it.Path[len(file):]
	}
	file, err := place.Abs(file)
	if err != nil {
		return
	}
	folder := place.Dir(place.Dir(file))
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.sections[folder]
	if p == nil {
		p = &section{x.load(folder), map[string]bool{}}
		x.sections[folder] = p
	}
	f(p, strings.TrimPrefix(file[len(folder):], string(filepath.Separator))+inside)
}

// path is the file about the files below a folder.
func (x *Index) path(folder string) string {
	sum := sha256.Sum256([]byte(folder))
	return place.Join(x.dir, hex.EncodeToString(sum[:8]))
}

// load reads a section, which is empty if there is none or it is not sound.
func (x *Index) load(folder string) map[string]known {
	content, _ := userfile.Read(x.path(folder), userfile.Large)
	files := map[string]known{}
	at := max(0, len(content)-sha256.Size)
	sum := checksum(folder)
	sum.Write(content[:at])
	if !bytes.Equal(sum.Sum(nil), content[at:]) || gob.NewDecoder(bytes.NewReader(content[:at])).Decode(&files) != nil {
		return map[string]known{}
	}
	return files
}

// CheckIndex refuses a file of an index that cannot be read. Whether it passes its checksum, of which the folder is a
// part, is found out when that folder is scanned.
func CheckIndex(path string) error {
	content, err := userfile.Read(path, userfile.Large)
	if err != nil {
		return err
	}
	files := map[string]known{}
	return gob.NewDecoder(bytes.NewReader(content[:max(0, len(content)-sha256.Size)])).Decode(&files)
}

// encode writes a section, and a checksum.
func encode(w io.Writer, folder string, files map[string]known) error {
	sum := checksum(folder)
	if err := gob.NewEncoder(io.MultiWriter(w, sum)).Encode(files); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// checksum begins with the format and the folder: what is in another format, or of another folder, is not sound.
func checksum(folder string) hash.Hash {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %q", indexFormat, folder)
	return sum
}
