package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/internal/jsontext"
)

// openLines reads one object a line; empty lines are passed over.
func (l *list) openLines() error {
	start, _ := l.text.Peek(sniffed)
	first, _, whole := bytes.Cut(bytes.TrimSpace(start), []byte("\n"))
	if whole || len(start) < sniffed { // else the columns are known with the first row
		if _, err := (&objects{list: l}).sample(bytes.TrimSpace(first)); len(first) > 0 && isColumns(err) {
			return &SourceError{Line: 1 + bytes.Count(start[:bytes.Index(start, first)], []byte("\n")), Err: err}
		}
	}
	l.each = func(add func(sample) error) error {
		o := objects{list: l}
		return l.lines(func(line []byte, number int) error {
			s, err := o.sample(line)
			if err != nil {
				return &SourceError{Line: number, Err: err}
			}
			s.line = number
			return add(s)
		})
	}
	return nil
}

// openJSON reads a list of objects, objects a line as some tools name them .json too, or the schema of COCO.
func (l *list) openJSON() error {
	start, _ := l.text.Peek(sniffed)
	first, _, _ := bytes.Cut(bytes.TrimSpace(start), []byte("\n"))
	var object map[string]json.RawMessage
	switch {
	case bytes.HasPrefix(first, []byte("[")):
		l.each = l.array
	case json.Unmarshal(first, &object) == nil && object["images"] == nil:
		return l.openLines()
	default:
		l.each = l.coco
	}
	return nil
}

// array reads a JSON array of objects.
func (l *list) array(add func(sample) error) error {
	o, d, number := objects{list: l}, json.NewDecoder(l.text), 0
	if _, err := d.Token(); err != nil {
		return err
	}
	err := l.inArray(d, func() error {
		number++
		var entry json.RawMessage
		err := jsontext.Explain(d.Decode(&entry))
		if err == nil {
			var s sample
			if s, err = o.sample(entry); err == nil {
				return add(s)
			}
		}
		return fmt.Errorf("entry %d: %w", number, err)
	})
	if err != nil {
		return err
	}
	return ended(d)
}

// inArray calls f for every element of the array that the decoder is in, and leaves the array.
func (l *list) inArray(d *json.Decoder, f func() error) error {
	for d.More() {
		l.entry.left = mostElement
		if err := f(); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return errors.New("cut short: its list is not closed")
	}
	return nil
}

// ended refuses what comes behind the only value of a file.
func ended(d *json.Decoder) error {
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value: make it one list, or call it .jsonl with one object a line")
	}
	return nil
}

// objects reads JSON objects by the names of their keys, which the first one decides.
type objects struct {
	*list
	chosen             bool
	path, label, split string
	splits             texts
}

func (o *objects) sample(text []byte) (s sample, err error) {
	var entry map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&entry); err != nil {
		return s, fmt.Errorf("not a JSON object with path and label: %w", jsontext.Explain(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return s, errors.New("more than one JSON value")
	}
	if err := o.know(entry); err != nil {
		return s, err
	}
	var errs [3]error
	s.Path, errs[0] = word(o.path, entry[o.path])
	s.label, errs[1] = word(o.label, entry[o.label])
	if o.split != "" {
		s.split, errs[2] = word(o.split, entry[o.split])
		s.split = o.splits.of(s.split)
	}
	return s, errors.Join(errs[:]...)
}

// know chooses the keys by the first object. Of others that come later it takes note.
func (o *objects) know(entry map[string]json.RawMessage) error {
	if !o.chosen {
		keys := slices.Sorted(maps.Keys(entry))
		if err := o.choose(keys); isColumns(err) {
			return &columnsError{"keys of an object", keys}
		} else if err != nil {
			return err
		}
		o.chosen, o.path, o.label = true, keys[o.columns.path], keys[o.columns.label]
		if o.columns.split >= 0 {
			o.split = keys[o.columns.split]
		}
		return nil
	}
	const most = 100 // more are not worth a message
	for key := range entry {
		switch {
		case len(o.names) > most || slices.Contains(o.names, key):
		case o.split == "" && slices.Contains(splitColumns, plain(key)):
			return fmt.Errorf("it has the key %q, which the first object has not: give it to all, or to none", key)
		default:
			o.names = append(o.names, key)
		}
	}
	return nil
}

// word is a text or a whole number as text; "" of null, and where there is nothing.
func word(key string, value json.RawMessage) (string, error) {
	var text string
	if len(value) == 0 || json.Unmarshal(value, &text) == nil {
		return text, nil
	}
	number := string(bytes.TrimSpace(value))
	number = wholeNumber(number)
	if _, err := strconv.ParseUint(number, 10, 64); err != nil {
		return "", fmt.Errorf("%s %.100s is neither text nor a whole number", key, strings.ToValidUTF8(number, "�"))
	}
	return number, nil
}

// texts are texts of which there are few different ones, kept once.
type texts map[string]string

func (t texts) of(text string) string {
	if kept, ok := t[text]; ok {
		return kept
	}
	text = strings.Clone(text)
	t[text] = text
	return text
}
