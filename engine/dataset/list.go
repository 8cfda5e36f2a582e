package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/plaintext"
)

// mostRecord is the most bytes of an entry of a list.
const mostRecord = 1 << 20

// sniffed is how much of a list is looked at to find out how it is written.
const sniffed = 64 << 10

// listFormats are the files that list images and their labels, by extension, with who finds out how they are written.
var listFormats = map[string]func(*list) error{
	".csv": (*list).openRows, ".tsv": (*list).openRows, ".txt": (*list).openRows, ".lst": (*list).openRows,
	".jsonl": (*list).openLines, ".ndjson": (*list).openLines, ".json": (*list).openJSON,
	".parquet": (*list).openTable,
}

// isList reports whether a file lists images, by its extension; one in Parquet may hold them as well.
func isList(name string) bool {
	return listFormats[strings.ToLower(filepath.Ext(name))] != nil && kindOf(name) == ""
}

// list is a list that is being read.
type list struct {
	io.Closer
	path  string
	entry *record // what text is read through, which bounds an entry
	text  *bufio.Reader

	columns                                     // known at the latest with the first row
	metadata bool                               // it is a folder's, as Hugging Face's ImageFolder has it
	bare     bool                               // it has no header; numbers may have names in a file beside it
	classes  []string                           // in order, if it says so
	each     func(add func(sample) error) error // reads the rows
	findings
}

// openList opens a list and finds out how it is written.
func openList(path string) (*list, error) {
	f, _, err := place.Open(path)
	if err != nil {
		return nil, err
	}
	l := &list{Closer: f, path: path, columns: columns{split: -1}}
	l.metadata = strings.HasPrefix(filepath.Base(path), "metadata.")
	l.entry = &record{plaintext.File(f), mostRecord}
	l.text = bufio.NewReaderSize(l.entry, sniffed)
	start, _ := l.text.Peek(lookedAt)
	if is := lookalike(start); is != "" {
		err = errors.New(is)
	} else if bytes.HasPrefix(start, []byte("PK\x03\x04")) {
		err = errors.New("it is a zip archive, as the workbooks of spreadsheets are: save the table as .csv")
	} else if bytes.IndexByte(start[:min(len(start), 2)], 0) >= 0 {
		err = errors.New("it is no text, or UTF-16 without a byte order mark: save it as UTF-8")
	} else {
		err = listFormats[strings.ToLower(filepath.Ext(path))](l)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// readList reads the rows of a list that are of the part asked for, and finds the files that they mean.
func (r *reading) readList(path string) (err error) {
	defer func() { err = in(path, err) }()
	l, err := openList(path)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.each(r.add); err != nil {
		return err
	}
	for i := range r.samples {
		r.samples[i].label = strings.TrimSpace(r.samples[i].label)
	}
	r.findings, r.classes = append(r.findings, l.findings...), l.classes
	if err := r.selectPart(l); err != nil {
		return err
	}
	r.listed = true
	if l.bare {
		if err := r.nameClasses(path); err != nil {
			return err
		}
	}
	r.find(IgnoredColumns, l.ignored(), "columns of %s that are not read", path)
	return r.place(place.Dir(path))
}

// splitsOf says how many rows of a list are of each part; nil of a list that does not say so.
func splitsOf(path string) map[string]int {
	l, err := openList(path)
	if err != nil {
		return nil
	}
	defer l.Close()
	counts := map[string]int{}
	err = l.each(func(s sample) error {
		value, ok := l.partOf(s)
		if !ok {
			return io.EOF
		}
		counts[value]++
		return nil
	})
	if err != nil {
		return nil
	}
	return partsIn(counts)
}

// partOf is what a row says of the part that it is of, if the list says so: in a column, or in metadata of several
// folders by the first of them.
func (l *list) partOf(s sample) (string, bool) {
	if l.split < 0 && l.metadata {
		path := strings.TrimPrefix(strings.ReplaceAll(s.Path, `\`, "/"), "./")
		folder, _, ok := strings.Cut(path, "/")
		return folder, ok && roleOf(folder) != ""
	}
	return s.split, l.split >= 0
}

var errRecord = fmt.Errorf("the entry after this one has more than %d MiB", mostRecord>>20)

// record gives no more than is left for an entry.
type record struct {
	io.Reader
	left int
}

func (r *record) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errRecord
	}
	n, err := r.Reader.Read(p)
	r.left -= n
	return n, err
}

// lines calls f with every line that is not empty, and its number.
func (l *list) lines(f func(line []byte, number int) error) error {
	lines, number := bufio.NewScanner(l.text), 0
	lines.Buffer(nil, mostRecord)
	for {
		l.entry.left = 2 * mostRecord
		if !lines.Scan() {
			break
		}
		number++
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			if err := f(line, number); err != nil {
				return err
			}
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) || errors.Is(lines.Err(), errRecord) {
		return &SourceError{Line: number, Err: errRecord}
	}
	return lines.Err()
}
