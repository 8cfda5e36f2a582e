package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/internal/disk"
)

// Forecast is what a run would do.
type Forecast struct {
	Encode []feature.Forecast // what it makes of each set, and keeps
	Inside int                // numbers that it trains inside the backbone
	Cache  string             // where features are kept

	// Of a dry run, which looks at the data too.
	Classes  []ClassCount // of the training images, the largest first
	Trial    feature.Trial
	Findings []string // what deserves a look
}

// ClassCount is a class with its number of training images.
type ClassCount struct {
	Label  string
	Images int
}

// forecast says what the run would do, and that the disk is too small if it is.
func (t *training) forecast(ctx context.Context, images *dataset.Sets) (*Forecast, error) {
	f := &Forecast{Cache: t.Features.Cache}
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
		tokens, err := t.below.Forecast(ctx, t.inside, images.Train, images.Val,
			t.Calibration.outOfFold(t.Data.Val))
		if err != nil {
			return nil, err
		}
		f.Encode = append(f.Encode, tokens...)
	}
	return f, t.Features.Room(f.Bytes())
}

// look adds what a dry run says of the data: a few images of each set are encoded, and nothing is kept.
func (t *training) look(ctx context.Context, images *dataset.Sets, f *Forecast) error {
	train, others := t.views.needed(t.Calibration.judgesTraining(t.Data.Val, t.Data.Test))
	var learned *dataset.Scan
	for _, p := range images.Parts() {
		views := others
		if p.Name == "train" {
			views = train
		}
		trial, scan, err := t.features.Try(ctx, p.Name, p.Data, views)
		if err != nil {
			return err
		}
		f.Trial.Unreadable = append(f.Trial.Unreadable, trial.Unreadable...)
		f.Trial.Tried += trial.Tried
		f.Trial.Seconds += trial.Seconds
		if p.Name == "train" {
			learned = scan
			dataset.Warn(dataset.CheckContent(p.Data, scan), t.events)
		} else {
			dataset.Warn(dataset.CheckLeak(images.Train, learned, p.Data, scan), t.events)
		}
	}
	for k, n := range images.Train.Counts() {
		f.Classes = append(f.Classes, ClassCount{images.Train.Classes[k], n})
	}
	slices.SortStableFunc(f.Classes, func(a, b ClassCount) int { return b.Images - a.Images })
	f.Findings = t.warnings
	return nil
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
	if free, known := disk.Free(f.Cache); known {
		fmt.Fprintf(&b, ", where %.3f GB are free", float64(free)/1e9)
	}
	if f.Inside > 0 {
		fmt.Fprintf(&b, "\ntrained inside the backbone: %d numbers", f.Inside)
	}
	b.WriteByte('\n')
	if f.Classes != nil {
		f.describe(&b)
	}
	return b.String() + "nothing was encoded or trained\n"
}

// describe says what the data are like.
func (f Forecast) describe(b *strings.Builder) {
	if f.Trial.Seconds > 0 {
		fmt.Fprintf(b, "time: about %v to encode, by an estimate from %d images; a head alone then trains in seconds\n",
			time.Duration(math.Ceil(f.Trial.Seconds))*time.Second, f.Trial.Tried)
	}
	shots := map[calib.Shot]int{}
	for _, c := range f.Classes {
		shots[calib.ShotOf(c.Images)]++
	}
	fmt.Fprintf(b, "classes: %d", len(f.Classes))
	for _, s := range calib.Shots() {
		fmt.Fprintf(b, ", %s (%s images) %d", s, s.Range(), shots[s])
	}
	b.WriteString("\n")
	const shown = 10 // at either end
	for i, c := range f.Classes {
		switch {
		case i < shown || i >= len(f.Classes)-shown:
			fmt.Fprintf(b, "%8d %s\n", c.Images, c.Label)
		case i == shown:
			fmt.Fprintf(b, "       … %d classes between\n", len(f.Classes)-2*shown)
		}
	}
	fmt.Fprintf(b, "unreadable, as far as was looked: %d\n", len(f.Trial.Unreadable))
	for _, u := range f.Trial.Unreadable[:min(shown, len(f.Trial.Unreadable))] {
		fmt.Fprintf(b, "  %s: %s\n", u.Path, u.Reason)
	}
	fmt.Fprintf(b, "findings: %d\n", len(f.Findings))
	for _, text := range f.Findings {
		fmt.Fprintf(b, "  %s\n", text)
	}
}
