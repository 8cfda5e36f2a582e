package dataset

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/internal/csvtable"
)

// readManifest reads a list of paths and labels.
func (r *reading) readManifest(parse func(*bufio.Reader) ([]sample, error)) error {
	f, err := os.Open(r.source)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewReader(f)
	if mark, _ := b.Peek(3); bytes.Equal(mark, []byte("\ufeff")) { // which spreadsheets put before UTF-8
		b.Discard(3)
	}
	if r.samples, err = parse(b); err != nil {
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
func parseCSV(b *bufio.Reader) ([]sample, error) {
	c := csv.NewReader(b)
	c.ReuseRecord = true
	header, err := c.Read()
	if err == io.EOF {
		return nil, errors.New("empty file: the first line must be path,label")
	}
	column := map[string]int{}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := column[name]; twice && (name == "path" || name == "label") {
			return nil, &SourceError{Line: 1, Err: fmt.Errorf("column %q appears twice", name)}
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
		return nil, &SourceError{Line: 1, Err: fmt.Errorf("the header must name the columns path and label, "+
			"separated by commas; it is %q", strings.Join(header, ","))}
	}
	var samples []sample
	for err == nil {
		var record []string
		if record, err = c.Read(); err == nil {
			line, _ := c.FieldPos(path)
			samples = append(samples, sample{Item{Path: text(record[path])}, text(record[label]), line})
		}
	}
	var fault *csv.ParseError
	switch {
	case err == io.EOF:
		return samples, nil
	case !errors.As(err, &fault):
		return nil, err
	case errors.Is(err, csv.ErrFieldCount):
		fault.Err = errors.New("not as many fields as the header has (quote a field that holds a comma)")
	}
	return nil, &SourceError{Line: fault.Line, Err: fault.Err}
}

// parseJSONL reads one object a line; empty lines are passed over.
func parseJSONL(b *bufio.Reader) ([]sample, error) {
	var samples []sample
	for line := 1; ; line++ {
		text, end := b.ReadBytes('\n')
		if end != nil && end != io.EOF {
			return nil, end
		}
		if len(bytes.TrimSpace(text)) > 0 {
			path, label, err := parseObject(text)
			if err != nil {
				return nil, &SourceError{Line: line, Err: err}
			}
			samples = append(samples, sample{Item{Path: path}, label, line})
		}
		if end != nil {
			return samples, nil
		}
	}
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
