package engine

import (
	"context"
	"runtime/debug"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/scratch"
)

// place decides whether the features to learn from are in memory or on the disk and, with that, in which order they are
// learned; and refuses what there is no room for.
func (t *training) place(images *dataset.Sets) error {
	judged := 0
	if images.Val != nil {
		judged = len(images.Val.Items)
	}
	of := t.size(images, judged, t.Calibration, t.Calibration.outOfFold(t.Data.Val))
	evaluated := images.Parts()[len(images.Parts())-1].Data
	of.Held += t.judging(len(evaluated.Items), of.Classes)
	if err := t.Training.CheckFolds(of); err != nil {
		return err
	}
	of.Far = t.Training.Far(of)
	t.Training.Shuffle = t.Training.Shuffled(of)
	if err := t.Training.CheckMemory(of); err != nil || !of.Far {
		return err
	}
	t.far = 4 * int64(of.Samples) * int64(of.Views) * int64(of.Dim)
	if t.Adapt.On() { // which learns from them more than once
		t.far *= 2
	}
	t.events.Info("features are read from the disk in training", "images shuffled at a time", t.Training.Shuffle,
		"GB on the disk meanwhile", float64(t.far)/1e9)
	if t.DryRun { // which says so with all else that there is no room for
		return nil
	}
	return t.Features.Room(0, t.far)
}

// slow says whether epochs may take minutes.
func (t *training) slow() bool { return t.inside != nil || t.far > 0 }

// examples are the images to learn from, in memory or far from it, and what lets go of them.
func (t *training) examples(ctx context.Context) (d head.Data, free func(), err error) {
	set := t.learned.Train
	if t.far == 0 {
		d, err = t.toLearn(ctx, set)
		return d, func() {}, err
	}
	dir, dim := t.Features.Here(), t.features.Dim()
	progress := func(done, total int) { t.events.Report(event.Lay, set.Name, done, total) }
	rows, err := feature.Lay(ctx, t.features, set.Scan.IDs, t.views.Train, dir, progress)
	if err != nil {
		return d, nil, err
	}
	debug.FreeOSMemory() // that reading and laying took: what training begins with is large, and the collector is late
	d = t.data(set, nil, t.views.Train)
	d.Far = &head.Far{Rows: rows}
	if t.Adapt.On() {
		d.Far.New = func(n int) (head.Matrix, error) { return scratch.New(dir, n, dim) }
	}
	return d, func() { _ = rows.Close() }, nil // of a file without a name, whose content nobody misses
}
