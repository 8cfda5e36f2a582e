package dataset

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/internal/userfile"
)

// mostRecord is the most bytes of an entry of a manifest.
const mostRecord = 1 << 20

// readManifest reads a list of paths and labels.
func (r *reading) readManifest(parse func(b *bufio.Reader, add func(sample) error) error) error {
	f, _, err := userfile.Open(r.source)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewReader(f)
	if mark, _ := b.Peek(3); bytes.Equal(mark, []byte("\ufeff")) { // which spreadsheets put before UTF-8
		b.Discard(3)
	}
	if err = parse(b, r.add); err != nil {
		return err
	}
	dir := filepath.Dir(r.source)
	for i := range r.samples {
		s := &r.samples[i]
		s.label = strings.TrimSpace(s.label)
		path := strings.TrimSpace(s.Path)
		switch {
		case path == "":
			return &SourceError{Line: s.line, Err: errors.New("empty path")}
		case strings.ContainsRune(path, 0):
			return &SourceError{Line: s.line, Err: errors.New("path holds a zero byte")}
		}
		if s.Path = filepath.Clean(filepath.FromSlash(path)); !filepath.IsAbs(s.Path) {
			s.Path = filepath.Join(dir, s.Path)
		}
	}
	return nil
}

// parseCSV reads RFC 4180 CSV whose header names path and label.
func parseCSV(b *bufio.Reader, add func(sample) error) error {
	bounded := &record{b, mostRecord}
	c := csv.NewReader(bounded)
	c.ReuseRecord = true
	header, err := c.Read()
	if err == io.EOF {
		return errors.New("empty file: the first line must be path,label")
	}
	column := map[string]int{}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := column[name]; twice && (name == "path" || name == "label") {
			return &SourceError{Line: 1, Err: fmt.Errorf("column %q appears twice", name)}
		}
		column[name] = i
	}
	text := func(cell string) string { return cell }
	if len(header) > 3 && slices.Equal(header[:4], []string{"path", "label", "predicted", "confidence"}) {
		text = csvtable.Unguard // a predictions.csv
	}
	path, okPath := column["path"]
	label, okLabel := column["label"]
	if err == nil && !(okPath && okLabel) {
		return &SourceError{Line: 1, Err: fmt.Errorf("the header must name the columns path and label, "+
			"separated by commas; it is %q", strings.Join(header, ","))}
	}
	line := 1
	for err == nil {
		var fields []string
		bounded.left = mostRecord
		if fields, err = c.Read(); err == nil {
			line, _ = c.FieldPos(path)
			err = add(sample{Item{Path: text(fields[path])}, text(fields[label]), line})
		}
	}
	var fault *csv.ParseError
	switch {
	case err == io.EOF:
		return nil
	case errors.Is(err, errRecord):
		return &SourceError{Line: line, Err: fmt.Errorf("%w; is there a quote that is not closed?", err)}
	case !errors.As(err, &fault):
		return err
	case errors.Is(err, csv.ErrFieldCount):
		fault.Err = errors.New("not as many fields as the header has (quote a field that holds a comma)")
	}
	return &SourceError{Line: fault.Line, Err: fault.Err}
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

// parseJSONL reads one object a line; empty lines are passed over.
func parseJSONL(b *bufio.Reader, add func(sample) error) error {
	lines, line := bufio.NewScanner(b), 0
	for lines.Buffer(nil, mostRecord); lines.Scan(); {
		if line++; len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		path, label, err := parseObject(lines.Bytes())
		if err != nil {
			return &SourceError{Line: line, Err: err}
		}
		if err := add(sample{Item{Path: path}, label, line}); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return &SourceError{Line: line, Err: errRecord}
	}
	return lines.Err()
}

func parseObject(text []byte) (path, label string, err error) {
	var entry struct {
		Path  string `json:"path"`
		Label any    `json:"label"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&entry); err != nil {
		return "", "", fmt.Errorf("not a JSON object with path and label: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return "", "", errors.New("more than one JSON value")
	}
	switch label := entry.Label.(type) {
	case nil:
		return entry.Path, "", nil
	case string:
		return entry.Path, label, nil
	case json.Number:
		if _, err := strconv.ParseUint(label.String(), 10, 64); err == nil {
			return entry.Path, label.String(), nil
		}
	}
	return "", "", fmt.Errorf("label %v is neither text nor a whole number", entry.Label)
}
