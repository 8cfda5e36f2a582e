// Package dataset finds labelled images: which there are, of which class, and what is wrong with them. It does not
// decode them.
//
// # Basics
//
//	train, findings, err := dataset.Open("photos/train", dataset.Options{})
//	test, findings, err := dataset.Open("photos/test", dataset.Options{Classes: train.Classes})
//	scan, err := train.Scan(ctx, dataset.ScanOptions{}) // content hashes, unreadable files
//	train = train.Select(scan.Readable())
//
// [Sources] are the settings that name the sets of a run, opened together. docs/data.md has a table of all sources,
// with an example each; a source is one of
//   - a folder with one folder per class, searched in depth as torchvision's ImageFolder does: symbolic links are
//     followed, files without an image's extension, hidden ones and those of systems passed over
//   - a list of paths and labels: .csv and its kin, whose header names the two columns, lines of path and label as
//     ImageNet-LT is published in, .jsonl, and .json in the schema of COCO; paths are relative to the list, or to a
//     folder nearby where they are not there
//   - IDX files as MNIST and its kin come, plain or .gz: the images file, or a folder with such files, from which the
//     training set takes train-… and any other set t10k-… or test-…. Lines of classes.txt or labels.txt beside them
//     name the labels 0, 1, ….
//   - a file that holds images, or a folder of such files, which are called shards: Parquet as the Hugging Face hub has
//     it, tar archives of images with their labels beside them, as WebDataset has them, or of class folders, zip
//     archives of class folders, and CIFAR in its binary version. Such files are opened anew for each image, of which
//     none is in memory; one that changes while it is used is refused
//   - a data set as a whole: a folder with folders train, val and test in it, an archive of such a folder, shards that
//     say it by their names, or a list with a column that says which rows are of which, from which each set takes its
//     part
//
// The training set makes the class list; other sets are opened with it and may not know other labels. Classes are
// sorted, as numbers if all are numbers; names that a source gives to numbers, as an IDX set or COCO's schema, keep the
// order of those. Labels that are one text in two normal forms of Unicode are one class.
//
// What deserves a look but does not stop the work is returned as [Finding]s; everything else is an error of the kind
// data. A file that a list names but that is not there stays an [Item]: it shows up as unreadable in [Scan], like a
// file without permission.
//
// With an [Index] a scan reads only files that are new or have changed.
//
// The same source gives the same items in the same order on every machine, and [Imbalance.Apply] and [Dataset.Split]
// the same choice for a seed: of the same images, whatever their order, paths and classes are called.
//
// # Caveats
//
// IDX files are held in memory, uncompressed, up to 2 GiB. Sets of one channel only.
package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/userfile"
)

// SourceError is a fault in a source, or that there is none.
type SourceError struct {
	Source string // file or folder
	Line   int    // from 1; 0 if not about a line
	Err    error
}

func (e *SourceError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %v", e.Source, e.Line, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Source, e.Err)
}

// Unwrap is the cause, fs.ErrNotExist where there is no such source.
func (e *SourceError) Unwrap() error { return e.Err }

// Kind says that data are at fault, unless they could not be read.
func (e *SourceError) Kind() string {
	if errors.Is(e.Err, place.ErrUnanswered) {
		return string(fault.Other)
	}
	return string(fault.Data)
}

// UnknownLabelError says that a set has labels that its class list lacks.
type UnknownLabelError struct {
	Source  string
	Labels  []LabelCount // sorted
	Similar []string     // which of them are a class of the training set but for case, spaces and the like
}

// LabelCount is a label and how many images have it.
type LabelCount struct {
	Label string
	Count int
}

func (e *UnknownLabelError) Error() string {
	texts := make([]string, len(e.Labels))
	for i, l := range e.Labels {
		texts[i] = fmt.Sprintf("%q (%d)", l.Label, l.Count)
	}
	hint := ""
	if len(e.Similar) > 0 {
		hint = " (" + some(e.Similar) + ")"
	}
	return fmt.Sprintf("%s: labels that the training set does not have: %s%s; remove or rename them, or train with "+
		"them", e.Source, some(texts), hint)
}

// Kind says that data are at fault.
func (e *UnknownLabelError) Kind() string { return string(fault.Data) }

// Kind is what a Finding is about.
type Kind string

// The kinds of findings.
const (
	EmptyClass     Kind = "empty-class"      // a training class without images was dropped
	UntestedClass  Kind = "untested-class"   // a class has no images in this set
	IgnoredFiles   Kind = "ignored-files"    // files that are no images, or in no class
	SkippedLink    Kind = "skipped-link"     // a symbolic link that leads back to a folder above
	ChosenFile     Kind = "chosen-file"      // which of several IDX files was taken
	Unpaired       Kind = "unpaired"         // images without their label, or labels without their image
	DecodedName    Kind = "decoded-name"     // names that are not UTF-8
	NoEnd          Kind = "no-end"           // an archive without an end mark
	DuplicatePath  Kind = "duplicate-path"   // listed more than once with one label, kept once
	SameContent    Kind = "same-content"     // files of one class that are equal
	LabelConflict  Kind = "label-conflict"   // equal files of different classes
	Leak           Kind = "leak"             // files of two sets that are equal
	FewerThanAsked Kind = "fewer-than-asked" // a class is too small for the imbalance
	NotHeldOut     Kind = "not-held-out"     // a class has no images in the held-out part
	SystemFiles    Kind = "system-files"     // hidden files, and those of systems and programs
	NotAPart       Kind = "not-a-part"       // what may look like a part of a data set, and is not taken for one
	TakenPart      Kind = "taken-part"       // what of a data set was taken
	MissingFiles   Kind = "missing-files"    // files of a part that are not there, as the others' names say
	ListForm       Kind = "list-form"        // how a list is read, where that is not plain
	IgnoredColumns Kind = "ignored-columns"  // columns of a list that are not read
	Unlabelled     Kind = "unlabelled"       // images that a list gives no label
	OneEach        Kind = "one-each"         // every image has a class of its own, as if labels were something else
	SimilarClasses Kind = "similar-classes"  // names of classes differ in case and spaces only, or not at all
	SeveralLabels  Kind = "several-labels"   // labels that look like those of several classes at once
	SameText       Kind = "same-text"        // labels that are one text in several normal forms of Unicode
)

// informs reports whether findings of a kind say what was decided, and warn of nothing.
func (k Kind) informs() bool {
	return slices.Contains([]Kind{SystemFiles, TakenPart, ListForm, IgnoredColumns}, k)
}

// Finding is something about a data set that its owner should know.
type Finding struct {
	Kind    Kind     `json:"kind"`
	Message string   `json:"message"`
	Items   []string `json:"items,omitempty"` // the classes or paths concerned, all of them
}

// Dataset is a list of labelled images.
type Dataset struct {
	Name    string // the source's last path element
	Classes []string
	Items   []Item
}

// Item is an image of a class.
type Item struct {
	Path  string // of the file; FILE#NAME for an image inside a file
	Class int    // index into Classes

	in    container // nil: Path is a file
	index int
}

// Bytes reads the encoded image. One that is stored as mere pixels comes as PGM or PPM.
func (it Item) Bytes() ([]byte, error) {
	if it.in == nil {
		return place.Read(it.Path, userfile.Image)
	}
	return it.in.image(it.index)
}

// Stored reports whether the image is a part of a file that is in memory anyway.
func (it Item) Stored() bool {
	_, is := it.in.(*idxData)
	return is
}

// Remote reports whether the image is in an object store, where reading it takes a request.
func (it Item) Remote() bool { return place.IsURL(it.Path) && !it.Stored() }

// Reader reads the items by their indices, each once and roughly in their order: those in object stores before they are
// asked for.
func (d *Dataset) Reader() func(i int) ([]byte, error) {
	read := func(i int) ([]byte, error) { return d.Items[i].Bytes() }
	if !slices.ContainsFunc(d.Items, Item.Remote) {
		return read
	}
	return par.Ahead(len(d.Items), place.Parallel, read)
}

// stat refuses what cannot be an image: a pipe, which might never end, or a huge file.
func (it Item) stat() (fs.FileInfo, error) {
	if it.in != nil {
		return it.in.opened().info, nil
	}
	return place.Within(it.Path, userfile.Image)
}

// Options are the settings of Open.
type Options struct {
	// Classes is the class list that labels are looked up in, as for a test set. Default: that of the source, as for a
	// training set, which then must have two classes at least.
	Classes []string
	// Part is what to take of a source that is a data set as a whole: "train", "val" or "test". Default: "test" with
	// Classes, else "train".
	Part string
}

// Open reads the list of a source's images, not the images.
func Open(source string, o Options) (*Dataset, []Finding, error) {
	source, err := place.Named(source)
	if err != nil {
		return nil, nil, err
	}
	defer place.Hold()()
	r := &reading{source: source, part: o.Part}
	d, err := r.dataset(o.Classes)
	if err != nil {
		return nil, nil, in(r.source, err)
	}
	for i := range d.Items {
		if it := &d.Items[i]; it.in == nil && it.Remote() {
			if info := place.Listed(it.Path); info != nil {
				it.in = &remote{file: file{it.Path, info}}
			}
		}
	}
	return d, r.findings, nil
}

// Counts is the number of items of each class.
func (d *Dataset) Counts() []int {
	counts := make([]int, len(d.Classes))
	for _, it := range d.Items {
		counts[it.Class]++
	}
	return counts
}

// Labels are the classes of the items.
func (d *Dataset) Labels() []int {
	labels := make([]int, len(d.Items))
	for i, it := range d.Items {
		labels[i] = it.Class
	}
	return labels
}

// Extent is the number of items of the smallest and of the largest class.
func (d *Dataset) Extent() (smallest, largest int) {
	counts := d.Counts()
	return slices.Min(counts), slices.Max(counts)
}

// Select is the data set of the items with those indices, in that order.
func (d *Dataset) Select(indices []int) *Dataset {
	items := make([]Item, len(indices))
	for i, k := range indices {
		items[i] = d.Items[k]
	}
	return &Dataset{Name: d.Name, Classes: d.Classes, Items: items}
}

// Every is the data set of every n-th item from the one with that index.
func (d *Dataset) Every(n, from int) *Dataset {
	var part []int
	for i := from; i < len(d.Items); i += n {
		part = append(part, i)
	}
	return d.Select(part)
}

func (d *Dataset) byClass() [][]int {
	out := make([][]int, len(d.Classes))
	for i, it := range d.Items {
		out[it.Class] = append(out[it.Class], i)
	}
	return out
}
