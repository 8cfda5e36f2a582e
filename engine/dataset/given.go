package dataset

import (
	"errors"

	"github.com/vitft/vitft/engine/place"
)

// Reader opens sources that stand for images, such as embeddings of them, as Open does; see Of.
type Reader interface {
	Set(source string, o Options) (*Dataset, []Finding, error)
}

// Row is an item of a source that another package reads: what stands for an image, such as an embedding. Its content is
// known by its ID, and rows of one path that differ in it are not one.
type Row struct {
	Path, Label string
	ID          ID
}

// Of is Open of a source whose rows another package has read. classes are its classes in their order, nil if that is
// the one of their names.
func Of(source string, of []Row, classes []string, o Options) (*Dataset, []Finding, error) {
	source, err := place.Named(source)
	if err != nil {
		return nil, nil, err
	}
	r := &reading{source: source, listed: true, classes: classes, samples: make([]sample, len(of))}
	for i, row := range of {
		r.samples[i] = sample{Item: Item{Path: row.Path, in: rows(of), index: i}, label: row.Label}
	}
	d, err := r.named(o.Classes)
	if err != nil {
		return nil, nil, in(source, err)
	}
	return d, r.findings, nil
}

// rows are a container of what is no image.
type rows []Row

func (rows) opened() *file           { return new(file) }
func (rows) find(string) (int, bool) { return 0, false }
func (rows) image(int) ([]byte, error) {
	return nil, errors.New("it is no image, but what stands for one")
}

// known is the id of an item of such a container; zero of another.
func (it Item) known() ID {
	if all, is := it.in.(rows); is {
		return all[it.index].ID
	}
	return ID{}
}
