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
	"strconv"
	"strings"
)

// readManifest reads a list of paths and labels.
func readManifest(path string, parse func(io.Reader) ([]sample, error)) (*reading, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &SourceError{Source: path, Err: err}
	}
	defer f.Close()
	samples, err := parse(skipBOM(f))
	if err != nil {
		fault := &SourceError{Source: path, Err: err}
		var at *lineError
		if errors.As(err, &at) {
			fault.Line, fault.Err = at.line, at.err
		}
		return nil, fault
	}
	dir := filepath.Dir(path)
	for i := range samples {
		p := filepath.FromSlash(samples[i].Path)
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		samples[i].Path = filepath.Clean(p)
	}
	return &reading{samples: samples}, nil
}

// lineError is a fault in a line of a manifest.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// skipBOM drops the byte order mark that spreadsheets put before UTF-8.
func skipBOM(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if mark, _ := b.Peek(3); bytes.Equal(mark, []byte("\ufeff")) {
		b.Discard(3)
	}
	return b
}

// parseCSV reads RFC 4180 CSV whose header names path and label.
func parseCSV(r io.Reader) ([]sample, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	header, err := c.Read()
	if err == io.EOF {
		return nil, errors.New("empty file: the first line must be path,label")
	}
	if err != nil {
		return nil, csvError(err)
	}
	column := map[string]int{}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := column[name]; twice && (name == "path" || name == "label") {
			return nil, &lineError{1, fmt.Errorf("column %q appears twice", name)}
		}
		column[name] = i
	}
	path, okPath := column["path"]
	label, okLabel := column["label"]
	if !okPath || !okLabel {
		return nil, &lineError{1, fmt.Errorf("the header must name the columns path and label, separated by commas; it is %q",
			strings.Join(header, ","))}
	}
	var samples []sample
	for {
		record, err := c.Read()
		if err == io.EOF {
			return samples, nil
		}
		if err != nil {
			return nil, csvError(err)
		}
		line, _ := c.FieldPos(path)
		s, err := newSample(record[path], record[label], line)
		if err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
}

// csvError moves the line from the message to the lineError.
func csvError(err error) error {
	var p *csv.ParseError
	if !errors.As(err, &p) {
		return err
	}
	if errors.Is(p.Err, csv.ErrFieldCount) {
		return &lineError{p.Line, errors.New("not as many fields as the header has (quote a field that holds a comma)")}
	}
	return &lineError{p.Line, p.Err}
}

// parseJSONL reads one object a line; empty lines are passed over.
func parseJSONL(r io.Reader) ([]sample, error) {
	b := bufio.NewReader(r)
	var samples []sample
	for line := 1; ; line++ {
		text, err := b.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		if len(bytes.TrimSpace(text)) > 0 {
			s, err := parseObject(text, line)
			if err != nil {
				return nil, err
			}
			samples = append(samples, s)
		}
		if err == io.EOF {
			return samples, nil
		}
	}
}

func parseObject(text []byte, line int) (sample, error) {
	var entry struct {
		Path  string `json:"path"`
		Label any    `json:"label"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&entry); err != nil {
		return sample{}, &lineError{line, fmt.Errorf("not a JSON object with path and label: %w", err)}
	}
	if _, err := d.Token(); err != io.EOF {
		return sample{}, &lineError{line, errors.New("more than one JSON value")}
	}
	switch label := entry.Label.(type) {
	case string:
		return newSample(entry.Path, label, line)
	case json.Number:
		if _, err := strconv.ParseUint(label.String(), 10, 64); err == nil {
			return newSample(entry.Path, label.String(), line)
		}
	case nil:
		return newSample(entry.Path, "", line)
	}
	return sample{}, &lineError{line, fmt.Errorf("label %v is neither text nor a whole number", entry.Label)}
}

func newSample(path, label string, line int) (sample, error) {
	path, label = strings.TrimSpace(path), strings.TrimSpace(label)
	if path == "" {
		return sample{}, &lineError{line, errors.New("empty path")}
	}
	if strings.ContainsRune(path, 0) {
		return sample{}, &lineError{line, errors.New("path holds a zero byte")}
	}
	return sample{Item: Item{Path: path}, label: label, line: line}, nil
}
