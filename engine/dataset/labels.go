package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/plaintext"
	"github.com/vitft/vitft/internal/userfile"
)

// unify makes one of labels that are the same text in several normal forms of Unicode, which look alike: the name of a
// folder is NFC on most systems and NFD where a Mac has written it. The form is that of the class list; without one it
// is the form that all have, or NFC where they differ.
func (r *reading) unify(classes []string) {
	labels := map[string]int{}
	for _, s := range r.samples {
		labels[s.label]++
	}
	for _, c := range r.classes {
		labels[c] += 0
	}
	form := map[string]string{} // of a text, by its NFC
	for _, c := range classes {
		form[norm.NFC.String(c)] = c
	}
	for _, c := range classes { // of two that are one text each stays what it is
		form[c] = c
	}
	into := map[string]string{}
	var merged, respelt []string
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		key := norm.NFC.String(label)
		switch known, ok := form[key]; {
		case classes != nil && form[label] == label:
		case ok && classes != nil:
			into[label] = known
			respelt = append(respelt, known)
		case !ok:
			form[key] = label
		default: // the second of two, so that one is NFC at most, or neither
			if !slices.Contains(merged, key) {
				merged = append(merged, key)
			}
		}
	}
	for label := range labels {
		if key := norm.NFC.String(label); slices.Contains(merged, key) && label != key {
			into[label] = key
		}
	}
	r.find(SameText, merged, "%d classes of %s are written in several normal forms of Unicode, which look alike, and "+
		"are taken as one each", len(merged), r.source)
	r.find(SameText, respelt, "%d classes of %s are written in another normal form of Unicode than the training "+
		"set's, and are taken for its", len(respelt), r.source)
	if len(into) == 0 {
		return
	}
	for i := range r.samples {
		if to, ok := into[r.samples[i].label]; ok {
			r.samples[i].label = to
		}
	}
	for i, c := range r.classes {
		if to, ok := into[c]; ok {
			r.classes[i] = to
		}
	}
	r.classes = unique(r.classes)
}

// round takes labels such as 3.0 for whole numbers, as pandas writes them where some are missing: all of a training
// set, if none is another; in other sets those that the class list has without the zeros.
func (r *reading) round(classes []string) {
	if !r.listed {
		return
	}
	known, labels, rounded := map[string]bool{}, map[string]bool{}, map[string]string{}
	for _, c := range classes {
		known[c] = true
	}
	for _, s := range r.samples {
		labels[s.label] = true
	}
	for label := range labels {
		number := wholeNumber(label)
		if _, err := strconv.ParseUint(number, 10, 64); err != nil && classes == nil {
			return
		}
		if number != label && (classes == nil || known[number] && !known[label]) {
			rounded[label] = number
		}
	}
	for i, s := range r.samples {
		if number, ok := rounded[s.label]; ok {
			r.samples[i].label = number
		}
	}
	r.find(ListForm, sortedLabels(rounded), "labels of %s are taken for whole numbers", r.source)
}

// unique is a list without what comes again.
func unique(list []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(s string) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}

// similar finds for labels that a class list lacks classes that differ in case, spaces, underscores and hyphens only.
func similar(labels []LabelCount, classes []string) (hints []string) {
	of := map[string]string{}
	for _, c := range classes {
		of[plain(norm.NFC.String(c))] = c
	}
	for _, l := range labels {
		if c, ok := of[plain(norm.NFC.String(l.Label))]; ok {
			hints = append(hints, fmt.Sprintf("%q is %q there", l.Label, c))
		}
	}
	return hints
}

// alike are classes whose names differ in case and spaces only; those of one letter are meant to in sets of letters.
func alike(classes []string) (groups []string) {
	first := map[string]string{}
	for _, c := range classes {
		text := strings.Join(strings.Fields(strings.ToLower(c)), " ")
		if other, ok := first[text]; ok && len([]rune(text)) > 1 {
			groups = append(groups, fmt.Sprintf("%q and %q", other, c))
		} else {
			first[text] = c
		}
	}
	return groups
}

// joined are classes that look like several at once: all that stands between separators are classes, or stand in others
// too.
func joined(classes []string) (list []string) {
	parts := func(class string) (names []string) {
		for _, name := range strings.FieldsFunc(class, func(c rune) bool { return strings.ContainsRune("|;,", c) }) {
			names = append(names, strings.TrimSpace(name))
		}
		return unique(names)
	}
	count := map[string]int{}
	for _, c := range classes {
		for _, name := range parts(c) {
			count[name]++
		}
	}
	for _, c := range classes {
		names := parts(c)
		if len(names) > 1 && !slices.ContainsFunc(names, func(name string) bool { return count[name] < 2 }) {
			list = append(list, c)
		}
	}
	return list
}

// numbered is a line of a file of class names that begins with the class's number.
var numbered = regexp.MustCompile(`^(\d+)[\s,:;]+(\S.*)$`)

// nameClasses gives the classes of a list without a header, where they are numbers, the names that a file beside it has
// for them: the lines, from 0, or those behind the numbers that all lines begin with.
func (r *reading) nameClasses(path string) error {
	for _, s := range r.samples {
		if _, err := strconv.ParseUint(s.label, 10, 32); err != nil {
			return nil
		}
	}
	for _, file := range []string{"classes.txt", "labels.txt", "class_names.txt", "classnames.txt"} {
		if file = place.Join(place.Dir(path), file); file == path {
			continue
		}
		content, err := place.Read(file, userfile.Text)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		text, err := io.ReadAll(plaintext.File(bytes.NewReader(content)))
		if err != nil {
			return in(file, err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if image, _ := cutLine(lines[0], false); imagepath.Is(image) { // another list
			continue
		}
		return r.take(file, lines)
	}
	return nil
}

// take names the classes by the lines of a file.
func (r *reading) take(file string, lines []string) error {
	byPlace, byNumber := map[uint64]string{}, map[uint64]string{}
	for i, line := range lines {
		line = strings.TrimSpace(line)
		byPlace[uint64(i)] = line
		if m := numbered.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[1], 10, 64)
			byNumber[n] = m[2]
		}
	}
	names := byNumber
	if len(byNumber) < len(lines) {
		names = byPlace
	}
	numbers := slices.Sorted(maps.Keys(names))
	for i := range r.samples {
		s := &r.samples[i]
		n, err := strconv.ParseUint(s.label, 10, 64)
		if err != nil || names[n] == "" {
			return &SourceError{Line: s.line, Err: fmt.Errorf("label %s has no name in %s, which names %d classes "+
				"from %d on (a number before each name says otherwise)", s.label, file, len(names), numbers[0])}
		}
		s.label = names[n]
	}
	r.classes = nil
	for _, n := range numbers {
		r.classes = append(r.classes, names[n])
	}
	if len(unique(slices.Clone(r.classes))) < len(r.classes) {
		return in(file, errors.New("a class name appears twice"))
	}
	r.find(ListForm, []string{file}, "the numbers in %s are classes by their names in", r.source)
	return nil
}
