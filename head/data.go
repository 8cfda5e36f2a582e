package head

import (
	"context"
	"slices"

	"github.com/vitft/vitft/engine/fault"
)

// Source has the features of rows, of which each sample has as many as it has views: row = sample·Views + view.
type Source interface {
	// Features writes the features of rows, [len(rows), D], to dst.
	Features(ctx context.Context, rows []int, dst []float32) error
}

// Data is a labelled set of features, and as such a [Source].
type Data struct {
	X       []float32 // [n, Views, Dim]: the views of a sample one after the other, the plain image first
	Y       []int     // [n], in [0, Classes)
	Dim     int
	Classes int
	// Views is how many views of each image there are, such as flips and crops (0 is 1). In training each epoch takes
	// one of them, drawn from seed and epoch; means, covariances and closed forms take them all.
	Views int
}

// Counts returns N_y: samples, not views.
func (d Data) Counts() []int {
	n := make([]int, d.Classes)
	for _, y := range d.Y {
		n[y]++
	}
	return n
}

// Features implements Source.
func (d Data) Features(_ context.Context, rows []int, dst []float32) error {
	for i, r := range rows {
		copy(dst[i*d.Dim:(i+1)*d.Dim], d.X[r*d.Dim:(r+1)*d.Dim])
	}
	return nil
}

// Validate says what is wrong with the data. An empty class is no fault here: its prior counts as one sample.
func (d Data) Validate() error {
	switch {
	case d.Dim < 1:
		return fault.Data.Errorf("features of dimension %d", d.Dim)
	case d.Views < 0:
		return fault.Data.Errorf("%d views of a sample", d.Views)
	case len(d.X) != len(d.Y)*d.row():
		return fault.Data.Errorf("%d labels but %d feature values, not %[1]d×%[3]d×%[4]d",
			len(d.Y), len(d.X), d.views(), d.Dim)
	}
	if err := checkLabels(d.Y, d.Classes); err != nil {
		return err
	}
	if i := notFinite(d.X); i >= 0 {
		return fault.Data.Errorf("sample %d: feature %d is %v", i/d.row(), i%d.row(), d.X[i])
	}
	return nil
}

// notFinite is the index of the first value that is NaN or infinite, −1 if there is none.
func notFinite(values []float32) int {
	return slices.IndexFunc(values, func(v float32) bool { return v-v != 0 })
}

func checkLabels(labels []int, classes int) error {
	if classes < 2 {
		return fault.Data.Errorf("training takes two classes or more, not %d", classes)
	}
	if len(labels) == 0 {
		return fault.Data.Errorf("no samples")
	}
	for i, y := range labels {
		if y < 0 || y >= classes {
			return fault.Data.Errorf("sample %d: label %d is not one of %d classes", i, y, classes)
		}
	}
	return nil
}

func (d Data) views() int { return max(d.Views, 1) }

// row is how many values a sample has.
func (d Data) row() int { return d.views() * d.Dim }

// flat is the same data with every view as a sample of its own.
func (d Data) flat() Data {
	y := make([]int, len(d.Y)*d.views())
	for i := range y {
		y[i] = d.Y[i/d.views()]
	}
	return Data{X: d.X, Y: y, Dim: d.Dim, Classes: d.Classes}
}

// subset copies the samples for which keep holds.
func (d Data) subset(keep func(i int) bool) Data {
	part := d
	part.X, part.Y = nil, nil
	for i, y := range d.Y {
		if keep(i) {
			part.X = append(part.X, d.X[i*d.row():(i+1)*d.row()]...)
			part.Y = append(part.Y, y)
		}
	}
	return part
}
