package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vitft/vitft/engine/internal/atomicfile"
)

// Index remembers the hash of a file as long as its path, size and time of modification are what they were, so that it
// need not be read again. It is safe for concurrent use; several processes may share its folder. A nil *Index knows
// nothing.
//
// A file that was modified less than two seconds before it was hashed is not remembered: a later change may bear the
// same time (git calls such entries racy). One that is changed and given its old size and time is taken for the old
// one, until it is read for another reason.
type Index struct {
	dir string

	mu       sync.Mutex
	sections map[string]*section
}

// section is what is known about the files below one folder: those of a set whose class folders are in it. It has a file
// of its own, so that a run reads what it needs.
type section struct {
	files   map[string]known // by the path below the folder
	changed map[string]bool
}

type known struct {
	size, modified int64 // modified is in nanoseconds
	id             ID
}

const (
	indexFormat = "vitft-scan-1"
	racy        = 2 * time.Second
)

// OpenIndex is the index kept in the folder dir, which Save makes where there is none. What is damaged there, or
// something else, is passed over.
func OpenIndex(dir string) *Index { return &Index{dir: dir, sections: map[string]*section{}} }

// Forget drops what is known about an item.
func (x *Index) Forget(it Item) {
	x.with(it.Path, func(p *section, name string) {
		delete(p.files, name)
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
	var errs []error
	for folder, p := range x.sections {
		if len(p.changed) == 0 {
			continue
		}
		all := x.load(folder)
		for name := range p.changed {
			if k, is := p.files[name]; is {
				all[name] = k
			} else {
				delete(all, name)
			}
		}
		err := os.MkdirAll(x.dir, 0o755)
		if err == nil {
			err = atomicfile.Write(x.path(folder), func(w io.Writer) error {
				_, err := w.Write(format(folder, all))
				return err
			})
		}
		if err == nil {
			p.files = all
			clear(p.changed)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (x *Index) find(path string, info fs.FileInfo) (id ID, found bool) {
	x.with(path, func(p *section, name string) {
		k, is := p.files[name]
		if found = is && k.size == info.Size() && k.modified == info.ModTime().UnixNano(); found {
			id = k.id
		}
	})
	return id, found
}

// add remembers a file that looked like info at the time, when reading it had yet to begin.
func (x *Index) add(path string, info fs.FileInfo, at time.Time, id ID) {
	x.with(path, func(p *section, name string) {
		if at.Sub(info.ModTime()) >= racy && !strings.ContainsRune(name, '\n') {
			p.files[name] = known{info.Size(), info.ModTime().UnixNano(), id}
			p.changed[name] = true
		}
	})
}

// with calls f with the section that a file belongs to and the file's name there.
func (x *Index) with(path string, f func(p *section, name string)) {
	if x == nil {
		return
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return
	}
	folder := filepath.Dir(filepath.Dir(path))
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.sections[folder]
	if p == nil {
		p = &section{x.load(folder), map[string]bool{}}
		x.sections[folder] = p
	}
	f(p, strings.TrimPrefix(path[len(folder):], string(filepath.Separator)))
}

// path is the file about the files below a folder.
func (x *Index) path(folder string) string {
	sum := sha256.Sum256([]byte(folder))
	return filepath.Join(x.dir, hex.EncodeToString(sum[:8]))
}

// load reads a section, which is empty if there is none or it is not sound.
func (x *Index) load(folder string) map[string]known {
	text, err := os.ReadFile(x.path(folder))
	if err == nil {
		if files, err := parseIndex(folder, text); err == nil {
			return files
		}
	}
	return map[string]known{}
}

// format is a section as it is written: a line with the format and a checksum of all that follows, the folder, and a line
// of hash, size, time and name for each file.
func format(folder string, files map[string]known) []byte {
	body := fmt.Appendf(nil, "%q\n", folder)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		k := files[name]
		body = fmt.Appendf(body, "%x %d %d %s\n", k.id, k.size, k.modified, name)
	}
	return append(fmt.Appendf(nil, "%s %08x\n", indexFormat, crc32.Checksum(body, castagnoli)), body...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errIndex = errors.New("not a sound scan index")

func parseIndex(folder string, text []byte) (map[string]known, error) {
	head, body, _ := bytes.Cut(text, []byte("\n"))
	first, lines, _ := strings.Cut(string(body), "\n")
	if string(head) != fmt.Sprintf("%s %08x", indexFormat, crc32.Checksum(body, castagnoli)) ||
		first != strconv.Quote(folder) {
		return nil, errIndex
	}
	files := make(map[string]known, strings.Count(lines, "\n"))
	for line := range strings.Lines(lines) {
		var k known
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(fields) != 4 || len(fields[0]) != 2*len(k.id) {
			return nil, errIndex
		}
		_, err := hex.Decode(k.id[:], []byte(fields[0]))
		var sizeErr, timeErr error
		k.size, sizeErr = strconv.ParseInt(fields[1], 10, 64)
		k.modified, timeErr = strconv.ParseInt(fields[2], 10, 64)
		if errors.Join(err, sizeErr, timeErr) != nil {
			return nil, errIndex
		}
		files[fields[3]] = k
	}
	return files, nil
}
