package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/disk"
)

// Forecast is what a run would do.
type Forecast struct {
	Encode []feature.Forecast // what it makes of each set, and keeps
	Inside int                // numbers that it trains inside the backbone
	Laid   int64              // bytes that features to learn from take on the disk meanwhile, for want of memory
	Cache  string             // where features are kept
	Data   *feature.Outlook   // of a dry run: what its images are like
}

// forecast says what the run would do, and that the disk is too small if it is.
func (t *training) forecast(ctx context.Context, images *dataset.Sets) (*Forecast, error) {
	f := &Forecast{Cache: t.Features.Cache, Laid: t.far}
	train, others := t.views.needed(t.Calibration.judgesTraining(t.Data.Val, t.Data.Test))
	for _, p := range images.Parts() {
		views := others
		if p.Name == "train" {
			views = train
		}
		of, err := t.features.Forecast(ctx, p.Name, p.Data, views)
		if err != nil {
			return nil, err
		}
		f.Encode = append(f.Encode, of)
	}
	if t.inside != nil {
		f.Inside = t.inside.Parameters()
	}
	tokens, err := t.tokens(ctx, images.Train, images.Val)
	if err != nil {
		return nil, err
	}
	for _, w := range tokens {
		of, err := w.Forecast(ctx, w.Name, w.Data, w.Views)
		if err != nil {
			return nil, err
		}
		f.Encode = append(f.Encode, of)
	}
	kept := f.Bytes()
	if t.ahead && place.IsURL(t.Features.Cache) { // who makes them keeps copies, not this machine
		kept = 0
	}
	return f, t.Features.Room(kept, f.Laid)
}

// foresee is what a dry run says.
func (t *training) foresee(ctx context.Context, images *dataset.Sets) (*Forecast, error) {
	f, err := t.forecast(ctx, images)
	if f == nil {
		return nil, err
	}
	return f, errors.Join(err, t.look(ctx, images, f))
}

// look adds what a dry run says of its images.
func (t *training) look(ctx context.Context, images *dataset.Sets, f *Forecast) error {
	train, others := t.views.needed(t.Calibration.judgesTraining(t.Data.Val, t.Data.Test))
	data, err := t.features.LookOver(ctx, images, feature.Needed{Train: train, Val: others, Test: others})
	data.Findings = t.warnings
	f.Data = &data
	if err != nil {
		return err
	}
	tokens, err := t.tokens(ctx, images.Train, images.Val)
	for _, w := range tokens {
		err = cmp.Or(err, w.Estimate(ctx, w.Name, w.Data, w.Views, &data))
	}
	return err
}

// Bytes is what it takes on the disk.
func (f Forecast) Bytes() (n int64) {
	for _, of := range f.Encode {
		n += of.Bytes
	}
	return n
}

// Text is for the terminal.
func (f Forecast) Text() string {
	var b strings.Builder
	for _, of := range f.Encode {
		fmt.Fprintf(&b, "%-13s %7d images, %7d to encode, %8.3f GB\n", of.What, of.Images, of.Missing,
			float64(of.Bytes)/1e9)
	}
	fmt.Fprintf(&b, "disk: %.3f GB in %s", float64(f.Bytes())/1e9, f.Cache)
	if free, known := disk.Free(feature.Options{Cache: f.Cache}.Here()); known {
		fmt.Fprintf(&b, ", where %.3f GB are free", float64(free)/1e9)
	}
	if f.Laid > 0 {
		fmt.Fprintf(&b, "\nin training: %.3f GB more of it, from where features are read that do not fit into memory",
			float64(f.Laid)/1e9)
	}
	if f.Inside > 0 {
		fmt.Fprintf(&b, "\ntrained inside the backbone: %d numbers", f.Inside)
	}
	b.WriteByte('\n')
	if f.Data != nil {
		b.WriteString(f.Data.Text())
	}
	return b.String() + "nothing was encoded or trained\n"
}
