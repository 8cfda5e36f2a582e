package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// reading is what a source holds, before labels become classes.
type reading struct {
	samples  []sample
	classes  []string // class list in order, if the source has its own; may be of more classes than there are samples of
	findings []Finding
}

type sample struct {
	Item  // without its class
	label string
	line  int // in the manifest; 0 if none
}

func read(source string, training bool) (*reading, error) {
	info, err := os.Stat(source)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("no such file or folder: %w", fs.ErrNotExist)
		}
		return nil, &SourceError{Source: source, Err: err}
	}
	name := strings.ToLower(filepath.Base(source))
	switch {
	case info.IsDir():
		return readFolder(source, training)
	case filepath.Ext(name) == ".csv":
		return readManifest(source, parseCSV)
	case filepath.Ext(name) == ".jsonl":
		return readManifest(source, parseJSONL)
	case isIDXImages(name):
		return readIDX(source)
	}
	return nil, &SourceError{Source: source, Err: errors.New(
		"not a data source: give a folder of class folders, a .csv or .jsonl manifest, or an IDX file named " +
			"…images-idx3-ubyte[.gz]")}
}

// dataset turns labels into classes.
func (r *reading) dataset(source string, classes []string) (*Dataset, []Finding, error) {
	if err := r.checkLabels(source); err != nil {
		return nil, nil, err
	}
	if err := r.mergeDuplicates(source); err != nil {
		return nil, nil, err
	}
	if len(r.samples) == 0 {
		return nil, nil, &SourceError{Source: source, Err: errors.New("no images")}
	}
	training := classes == nil
	if training {
		classes = r.trainingClasses()
		if len(classes) < 2 {
			return nil, nil, &SourceError{Source: source, Err: fmt.Errorf("only one class with images, %q; training needs two",
				classes[0])}
		}
	}

	number := make(map[string]int, len(classes))
	for i, c := range classes {
		number[c] = i
	}
	d := &Dataset{Name: filepath.Base(source), Classes: classes, Items: make([]Item, 0, len(r.samples))}
	unknown := map[string]int{}
	for _, s := range r.samples {
		class, ok := number[s.label]
		if !ok {
			unknown[s.label]++
			continue
		}
		s.Class = class
		d.Items = append(d.Items, s.Item)
	}
	if len(unknown) > 0 {
		e := &UnknownLabelError{Source: source}
		for _, l := range sortedLabels(unknown) {
			e.Labels = append(e.Labels, LabelCount{l, unknown[l]})
		}
		return nil, nil, e
	}
	if !training {
		var untested []string
		for class, n := range d.Counts() {
			if n == 0 {
				untested = append(untested, classes[class])
			}
		}
		r.find(UntestedClass, untested, "%d of %d classes have no images in %s: %s", len(untested), len(classes), source,
			listed(untested))
	}
	return d, r.findings, nil
}

// trainingClasses are those that have samples; the others are reported.
func (r *reading) trainingClasses() []string {
	counts := map[string]int{}
	for _, s := range r.samples {
		counts[s.label]++
	}
	if r.classes == nil {
		return sortedLabels(counts)
	}
	var classes, empty []string
	for _, c := range r.classes {
		if counts[c] > 0 {
			classes = append(classes, c)
		} else {
			empty = append(empty, c)
		}
	}
	r.find(EmptyClass, empty, "%d classes without images are left out: %s", len(empty), listed(empty))
	return classes
}

// checkLabels refuses labels that are nothing, or no line of text.
func (r *reading) checkLabels(source string) error {
	for _, s := range r.samples {
		var fault error
		switch {
		case s.label == "":
			fault = fmt.Errorf("empty label for %s", s.Path)
		case !utf8.ValidString(s.label):
			fault = fmt.Errorf("label %q of %s is not UTF-8", s.label, s.Path)
		case strings.ContainsFunc(s.label, unicode.IsControl):
			fault = fmt.Errorf("label %q of %s has control characters", s.label, s.Path)
		default:
			continue
		}
		return &SourceError{Source: source, Line: s.line, Err: fault}
	}
	return nil
}

// mergeDuplicates keeps one of several equal entries and refuses two that differ in the label only.
func (r *reading) mergeDuplicates(source string) error {
	first := make(map[string]sample, len(r.samples))
	kept := r.samples[:0]
	var repeated []string
	for _, s := range r.samples {
		f, seen := first[s.Path]
		if !seen {
			first[s.Path] = s
			kept = append(kept, s)
			continue
		}
		if f.label != s.label {
			return &SourceError{Source: source, Line: s.line, Err: fmt.Errorf(
				"%s is listed as %q and, in line %d, as %q; keep one", s.Path, s.label, f.line, f.label)}
		}
		repeated = append(repeated, s.Path)
	}
	r.samples = kept
	r.find(DuplicatePath, repeated, "%d repeated entries in %s count once: %s", len(repeated), source, listed(repeated))
	return nil
}

// find records a finding if it concerns anything.
func (r *reading) find(kind Kind, items []string, format string, args ...any) {
	r.findings = appendFinding(r.findings, kind, items, format, args...)
}

func appendFinding(to []Finding, kind Kind, items []string, format string, args ...any) []Finding {
	if len(items) == 0 {
		return to
	}
	return append(to, Finding{Kind: kind, Message: fmt.Sprintf(format, args...), Items: items})
}

// sortedLabels sorts as numbers if all labels are whole numbers, else as text.
func sortedLabels(counts map[string]int) []string {
	labels := make([]string, 0, len(counts))
	for l := range counts {
		labels = append(labels, l)
	}
	sortLabels(labels)
	return labels
}

func sortLabels(labels []string) {
	numbers := make(map[string]uint64, len(labels))
	for _, l := range labels {
		n, err := strconv.ParseUint(l, 10, 64)
		if err != nil {
			slices.Sort(labels)
			return
		}
		numbers[l] = n
	}
	slices.SortFunc(labels, func(a, b string) int {
		return cmp.Or(cmp.Compare(numbers[a], numbers[b]), strings.Compare(a, b))
	})
}

// listed names the first few of many.
func listed(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
