package dataset

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/place"
)

// separators are what stands between the cells of a row, with what messages call it.
var separators = map[rune]string{',': "commas", ';': "semicolons", '\t': "tabs", '|': "bars"}

// openRows finds out what separates the cells of a row, and whether the first row names the columns.
func (l *list) openRows() error {
	start, _ := l.text.Peek(sniffed)
	candidates := []rune{',', ';', '\t', '|'}
	skipped := 0
	if bytes.HasPrefix(start, []byte("sep=")) && len(start) > 5 { // which Excel reads, and some write for it
		if _, err := l.text.ReadString('\n'); err != nil {
			return errors.New("it has a line sep= and no row")
		}
		skipped, candidates = 1, []rune{rune(start[4])}
		start, _ = l.text.Peek(sniffed)
	}
	if len(bytes.TrimSpace(start)) == 0 {
		return errors.New("empty file: the first line must be path,label")
	}
	read := func(comma rune, header bool) {
		usual := map[string]string{".csv": ",;", ".tsv": "\t"}[strings.ToLower(filepath.Ext(l.path))]
		if usual != "" && !strings.ContainsRune(usual, comma) && skipped == 0 {
			l.find(ListForm, []string{l.path}, "cells are separated by %s in", separators[comma])
		}
		l.each = func(add func(sample) error) error { return l.table(comma, header, skipped, add) }
	}
	var fault error // of a row whose cells one of the separators divides
	for _, comma := range candidates {
		rows := firstRows(start, comma, 1)
		if rows == nil {
			continue
		}
		err := l.choose(rows[0])
		if err == nil {
			read(comma, true)
			return nil
		}
		if fault == nil || len(rows[0]) > 1 && isColumns(fault) {
			fault = err
		}
	}
	if fault != nil && !isColumns(fault) {
		return &SourceError{Line: 1 + skipped, Err: fault}
	}
	l.bare = true
	dir := place.Dir(l.path)
	for _, comma := range candidates {
		rows := firstRows(start, comma, 20)
		for i, row := range rows {
			if rows[i] = trimmed(row); len(rows[i]) != len(rows[0]) {
				rows = nil // it is no separator
				break
			}
		}
		if len(rows) > 0 && l.chooseBare(rows, dir) {
			l.find(ListForm, []string{l.path}, "no line names the columns: column %d is taken for paths, column %d "+
				"for labels in", l.columns.path+1, l.label+1)
			read(comma, false)
			return nil
		}
	}
	if l.each = l.words(start, dir); l.each != nil {
		return nil
	}
	if fault == nil {
		fault = errors.New("its first line is no row of cells")
	}
	return &SourceError{Line: 1 + skipped, Err: fault}
}

// firstRows are the first rows that are not empty, as far as they can be read.
func firstRows(start []byte, comma rune, most int) (rows [][]string) {
	c := csv.NewReader(bytes.NewReader(start))
	c.Comma, c.FieldsPerRecord = comma, -1
	for len(rows) < most {
		row, err := c.Read()
		if err != nil {
			break
		}
		if !empty(row) {
			rows = append(rows, row)
		}
	}
	return rows
}

// empty reports whether a row has no content, as spreadsheets write below a table.
func empty(row []string) bool {
	return !slices.ContainsFunc(row, func(cell string) bool { return strings.TrimSpace(cell) != "" })
}

// trimmed is a row without the empty cells behind its last separators.
func trimmed(row []string) []string {
	for len(row) > 0 && strings.TrimSpace(row[len(row)-1]) == "" {
		row = row[:len(row)-1]
	}
	return row
}

// chooseBare finds the columns of a list without a header by its first rows: of two cells that which is an image is the
// path. Three are those of MXNet's lists: number, label, path. In a .csv file, whose first row may be meant as a
// header, an image must be there.
func (l *list) chooseBare(rows [][]string, dir string) bool {
	there := func(column int) bool {
		var paths []string
		for _, row := range rows {
			if path := strings.TrimSpace(row[column]); path != "" {
				paths = append(paths, path)
			}
		}
		return newPlaces(dir, paths, "").found > 0
	}
	is := func(column int) bool {
		if imagepath.Is(strings.TrimSpace(rows[0][column])) {
			return strings.ToLower(filepath.Ext(l.path)) != ".csv" || there(column)
		}
		return newPlaces(dir, []string{strings.TrimSpace(rows[0][column])}, "").found > 0
	}
	number := func(column int) bool {
		_, err := strconv.ParseFloat(strings.TrimSpace(rows[0][column]), 64)
		return err == nil
	}
	switch width := len(rows[0]); {
	case width == 2 && is(0):
		l.columns = columns{path: 0, label: 1, split: -1}
	case width == 2 && is(1):
		l.columns = columns{path: 1, label: 0, split: -1}
	case width == 3 && number(0) && number(1) && is(2):
		l.columns = columns{path: 2, label: 1, split: -1}
	default:
		return false
	}
	return true
}

// table reads RFC 4180 CSV, with another separator where comma is one.
func (l *list) table(comma rune, header bool, skipped int, add func(sample) error) error {
	c := csv.NewReader(l.text)
	c.Comma, c.FieldsPerRecord, c.ReuseRecord = comma, -1, true
	text := func(cell string) string { return cell }
	if l.predictions {
		text = csvtable.Unguard
	}
	width := len(l.names)
	needed := max(l.columns.path, l.label, l.split) + 1
	line, splits := skipped, texts{}
	for {
		l.entry.left = mostRecord
		row, err := c.Read()
		var fault *csv.ParseError
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errRecord):
			return &SourceError{Line: line, Err: fmt.Errorf("%w; is there a quote that is not closed?", err)}
		case errors.As(err, &fault):
			return &SourceError{Line: skipped + fault.Line, Err: fault.Err}
		case err != nil:
			return err
		}
		at, _ := c.FieldPos(min(l.columns.path, len(row)-1))
		line = skipped + at
		switch {
		case empty(row):
			continue
		case header:
			header = false
			continue
		case len(row) < needed || width > 0 && len(row) > width && !empty(row[width:]):
			return &SourceError{Line: line, Err: errors.New("not as many fields as the header has " +
				"(quote a field that holds a comma)")}
		}
		s := sample{Item: Item{Path: text(row[l.columns.path])}, label: text(row[l.label]), line: line}
		if l.split >= 0 {
			s.split = splits.of(row[l.split])
		}
		if l.bare {
			s.label = wholeNumber(s.label)
		}
		if err := add(s); err != nil {
			return err
		}
	}
}

// wholeNumber is a label without the zeros behind its point, which MXNet's lists have.
func wholeNumber(label string) string {
	number, zeros, ok := strings.Cut(strings.TrimSpace(label), ".")
	if _, err := strconv.ParseUint(number, 10, 64); ok && err == nil && strings.Trim(zeros, "0") == "" {
		return number
	}
	return label
}

// words is who reads lines such as "cat/1.jpg 3", in which the published lists of ImageNet-LT, Places-LT and
// iNaturalist are; nil if the first line is none.
func (l *list) words(start []byte, dir string) func(func(sample) error) error {
	first, _, _ := strings.Cut(strings.TrimSpace(string(start)), "\n")
	path, label := cutLine(first, false)
	header := columns{split: -1}
	if label != "" && header.choose([]string{path, label}) == nil && header.path == 0 {
		l.columns, l.bare = header, false
	}
	labelFirst := false
	if l.bare {
		found := func(path string) bool { return imagepath.Is(path) || newPlaces(dir, []string{path}, "").found > 0 }
		if labelFirst = !found(path) || imagepath.Is(label) && !imagepath.Is(path); labelFirst {
			path, label = cutLine(first, true)
		}
		if label == "" || strings.Contains(label, "\t") || !found(path) {
			return nil
		}
	}
	return func(add func(sample) error) error {
		header := !l.bare
		return l.lines(func(line []byte, number int) error {
			if header {
				header = false
				return nil
			}
			path, label := cutLine(string(line), labelFirst)
			if label == "" {
				return &SourceError{Line: number, Err: fmt.Errorf("%q is no path and label with a space between them",
					line)}
			}
			if several(label) {
				return &SourceError{Line: number, Err: fmt.Errorf("%q are several numbers where one label belongs: "+
					"write the path and the label of each image into a .csv file", label)}
			}
			return add(sample{Item: Item{Path: path}, label: label, line: number})
		})
	}
}

// several reports whether a label is more than one number, as boxes and sets of labels are.
func several(label string) bool {
	fields := strings.Fields(label)
	return len(fields) > 1 && !slices.ContainsFunc(fields, func(field string) bool {
		_, err := strconv.ParseFloat(field, 64)
		return err != nil
	})
}

// cutLine divides a line into path and label: behind a path in quotes, behind the name of an image, else at its last
// space; where the label comes first, at the first space. The label is empty if there is no space.
func cutLine(line string, labelFirst bool) (path, label string) {
	line = strings.TrimSpace(line)
	if labelFirst {
		label, path, _ = strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		return strings.Trim(strings.TrimSpace(path), `"`), label
	}
	if strings.HasPrefix(line, `"`) {
		if path, label, ok := strings.Cut(line[1:], `"`); ok {
			return path, strings.TrimSpace(label)
		}
	}
	at := len(line)
	for i := range len(line) {
		if line[i] == ' ' || line[i] == '\t' {
			at = i
			if imagepath.Is(line[max(0, i-len(".jpeg")):i]) {
				break
			}
		}
	}
	return strings.TrimSpace(line[:at]), strings.TrimSpace(line[at:])
}
