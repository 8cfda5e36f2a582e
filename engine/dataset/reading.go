package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/machine"
	"github.com/vitft/vitft/internal/plaintext"
)

// reading is what a source holds, before labels become classes.
type reading struct {
	source   string
	part     string // of a data set that is named as a whole
	listed   bool   // labels were written into a file
	selected bool   // the part was selected in a list, or among what is in one file or folder
	samples  []sample
	memory   int64    // that they take
	classes  []string // in order, if the source has a list of its own; there may be more than there are samples of
	findings
}

type sample struct {
	Item  // without its class
	label string
	line  int    // in the list; 0 if none
	split string // what the list says of the part that it is of
}

// perSample is the memory that a listed image takes besides its text, which is there in several copies.
const perSample = 400

// add lists an image if there is memory for it.
func (r *reading) add(s sample) error {
	r.memory += perSample + 4*int64(len(s.Path)+len(s.label))
	if len(r.samples)%1000 == 0 {
		if err := machine.Check(float64(r.memory), "a list of more than %d images", len(r.samples)); err != nil {
			return err
		}
	}
	r.samples = append(r.samples, s)
	return nil
}

// in says in which file or folder a fault is, if it does not say so itself.
func in(source string, err error) error {
	switch e := err.(type) {
	case nil, *UnknownLabelError:
		return err
	case *SourceError:
		e.Source = cmp.Or(e.Source, source)
		return e
	}
	return &SourceError{Source: source, Err: err}
}

func (r *reading) read() error {
	info, err := place.Stat(r.source)
	if files, fault := expand(r.source); fault != nil {
		return fault
	} else if files != nil {
		return r.readShards(files)
	} else if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no such file or folder: %w", fs.ErrNotExist)
	} else if err != nil {
		return err
	}
	name := strings.ToLower(filepath.Base(r.source))
	switch {
	case info.IsDir():
		return r.readFolder()
	case isList(name):
		return r.readList(r.source)
	case isIDXImages(name):
		return r.readIDX(r.source)
	case kindOf(name) != "":
		return r.readShards([]string{r.source})
	}
	return errors.New("not a data source: give a folder of class folders, a list (.csv, .tsv, .txt, .jsonl, .json), " +
		"a .parquet, .tar or .zip file, or an IDX file named …images-idx3-ubyte[.gz]")
}

// dataset reads the source and turns labels into classes: those given or, for training, those that have samples.
func (r *reading) dataset(classes []string) (*Dataset, error) {
	if r.part == "" {
		r.part = test
		if classes == nil {
			r.part = train
		}
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	return r.named(classes)
}

// named turns the labels of what was read into classes.
func (r *reading) named(classes []string) (*Dataset, error) {
	training := classes == nil
	r.round(classes)
	r.unify(classes)
	if err := r.check(); err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, s := range r.samples {
		counts[s.label]++
	}
	if training {
		classes = r.classes
	}
	if classes == nil {
		classes = sortedLabels(counts)
	}
	empty := slices.DeleteFunc(slices.Clone(classes), func(c string) bool { return counts[c] > 0 })
	if training {
		classes = slices.DeleteFunc(classes, func(c string) bool { return counts[c] == 0 })
		if len(classes) < 2 {
			return nil, fmt.Errorf("only one class with images, %q; training needs two%s", classes[0],
				r.below(classes[0]))
		}
		r.find(EmptyClass, empty, "%d classes without images are left out", len(empty))
		r.find(SimilarClasses, alike(classes), "classes of %s whose names differ in case and spaces only are several",
			r.source)
		r.find(SeveralLabels, joined(classes), "labels of %s name several classes at once, and are classes of their "+
			"own; an image has one class here", r.source)
		if n := len(r.samples); n >= 10 && n == len(classes) {
			r.find(OneEach, classes, "each of the %d images of %s has a class of its own; are these its labels", n,
				r.source)
		}
	} else {
		r.find(UntestedClass, empty, "%d of %d classes have no images in %s", len(empty), len(classes), r.source)
	}

	number := make(map[string]int, len(classes))
	for i, c := range classes {
		number[c] = i
	}
	unknown := &UnknownLabelError{Source: r.source}
	for _, l := range sortedLabels(counts) {
		if _, known := number[l]; !known {
			unknown.Labels = append(unknown.Labels, LabelCount{l, counts[l]})
		}
	}
	if unknown.Labels != nil {
		unknown.Similar = similar(unknown.Labels, classes)
		return nil, unknown
	}
	d := &Dataset{Name: r.name(), Classes: classes, Items: make([]Item, len(r.samples))}
	for i, s := range r.samples {
		d.Items[i] = s.Item
		d.Items[i].Class = number[s.label]
	}
	return d, nil
}

// name is the source's last path element, with the part that was taken where that leaves it open.
func (r *reading) name() string {
	if r.selected {
		return fmt.Sprintf("%s (%s)", filepath.Base(r.source), r.part)
	}
	return filepath.Base(r.source)
}

// below is the end of an error about a single class, which may be a data set itself or the images of a list.
func (r *reading) below(class string) string {
	folder := place.Join(r.source, class)
	if c, err := contentsOf(folder); err == nil && len(c.folders) > 1 {
		return ": if the classes are the folders in it, name " + folder
	}
	if c, err := contentsOf(r.source); err == nil && slices.ContainsFunc(c.files, isList) {
		return c.listsHint()
	}
	return ""
}

// noLabels are what tables have for a label that is missing, by the libraries that write them.
var noLabels = []string{"NaN", "nan", "<NA>", "NaT", "#N/A"}

// check refuses labels that are nothing, or no line of text, and entries that differ in the label only; it keeps one of
// several equal ones.
func (r *reading) check() error {
	first := make(map[string]int, len(r.samples)) // in kept
	kept := r.samples[:0]
	var repeated []string
	for _, s := range r.samples {
		var fault error
		one := s.Path
		if id := s.known(); id != (ID{}) { // of a path there may be several
			one += string(id[:])
		}
		k, seen := first[one]
		switch {
		case s.label == "":
			fault = fmt.Errorf("empty label for %s", s.Path)
		case r.listed && slices.Contains(noLabels, s.label):
			fault = fmt.Errorf("label %s of %s, which stands for none: give it one, or leave it out", s.label, s.Path)
		case !utf8.ValidString(s.label):
			fault = fmt.Errorf("label %q of %s is not UTF-8: rename the folder, or save the list as UTF-8", s.label,
				s.Path)
		case strings.ContainsFunc(s.label, unicode.IsControl):
			fault = fmt.Errorf("label %q of %s has control characters", s.label, s.Path)
		case !seen:
			first[one] = len(kept)
			kept = append(kept, s)
		case kept[k].label != s.label:
			where := ""
			if kept[k].line > 0 {
				where = fmt.Sprintf(", in line %d,", kept[k].line)
			}
			fault = fmt.Errorf("%s is listed as %q and%s as %q; keep one", s.Path, s.label, where, kept[k].label)
		default:
			repeated = append(repeated, s.Path)
		}
		if fault != nil {
			return &SourceError{Line: s.line, Err: fault}
		}
	}
	r.samples = kept
	if len(kept) == 0 {
		return errors.New("no images")
	}
	r.find(DuplicatePath, repeated, "%d repeated entries in %s count once", len(repeated), r.source)
	return nil
}

type findings []Finding

// find records a finding, with the items at the end of its message, if it concerns any.
func (f *findings) find(kind Kind, items []string, format string, args ...any) {
	if len(items) > 0 {
		*f = append(*f, Finding{Kind: kind, Message: fmt.Sprintf(format, args...) + ": " + some(items), Items: items})
	}
}

// sortedLabels sorts as numbers if all labels are whole numbers, else as text.
func sortedLabels[T any](of map[string]T) []string {
	labels := slices.Sorted(maps.Keys(of))
	numbers := make(map[string]uint64, len(labels))
	for _, l := range labels {
		n, err := strconv.ParseUint(l, 10, 64)
		if err != nil {
			return labels
		}
		numbers[l] = n
	}
	slices.SortStableFunc(labels, func(a, b string) int { return cmp.Compare(numbers[a], numbers[b]) })
	return labels
}

// some names the first few of many.
func some(names []string) string {
	const most = 10
	first := slices.Clone(names[:min(len(names), most)])
	for i, name := range first {
		first[i] = plaintext.Valid(name)
	}
	if len(names) <= most {
		return strings.Join(first, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(first, ", "), len(names)-most)
}
