package feature

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/vit"
)

// Outlook is what can be said of the images of a run before they are encoded.
type Outlook struct {
	Classes    []ClassCount // of the training images, the largest first
	Unreadable []Unreadable // of all images those that cannot be read, of those that were tried those that are none
	Tried      int          // images that were encoded, to see how long that takes; nothing of them is kept
	Seconds    float64      // that encoding what is missing takes, by their rate; 0 where nothing is
	Findings   []string     // what else deserves a look, as it was warned of
}

// ClassCount is a class with its number of training images.
type ClassCount struct {
	Label  string
	Images int
}

// LookOver reads all images of a run, and encodes a few of those that EnsureAll would encode with the same arguments.
// Copies among the images are warnings.
func (x *Extractor) LookOver(ctx context.Context, d *dataset.Sets, n Needed) (o Outlook, err error) {
	views := map[string]int{"train": n.Train, "val": n.Val, "test": n.Test}
	var learned *dataset.Scan
	for _, p := range d.Parts() {
		j, err := x.begin(ctx, p.Name, p.Data, views[p.Name])
		if err != nil {
			return o, err
		}
		before := len(o.Unreadable)
		for _, u := range j.scan.Unreadable {
			o.Unreadable = append(o.Unreadable, Unreadable{u.Path, u.Err.Error()})
		}
		if err := j.estimate(ctx, &o); err != nil {
			return o, err
		}
		if err := x.refused(p, o.Unreadable[before:]); err != nil {
			x.events.Warn("a run would end here", "because", err.Error())
		}
		if p.Name == "train" {
			learned = j.scan
			dataset.Warn(dataset.CheckContent(p.Data, j.scan), x.events)
		} else if learned != nil {
			dataset.Warn(dataset.CheckLeak(d.Train, learned, p.Data, j.scan), x.events)
		}
	}
	if d.Train != nil {
		o.Count(d.Train)
	}
	return o, nil
}

// refused is what a run would say of a set without its unreadable images, if it would not go on.
func (x *Extractor) refused(p dataset.Part, unreadable []Unreadable) error {
	s := Set{Name: p.Name, Data: p.Data, Unreadable: unreadable}
	if err := s.judge(len(p.Data.Items), *x.options.MaxUnreadable, event.Events{}); err != nil {
		return err
	}
	left, gone := make([]int, len(p.Data.Classes)), map[string]bool{}
	for _, u := range unreadable {
		gone[u.Path] = true
	}
	for class, images := range p.Data.Counts() {
		if images == 0 { // of this part of a data set
			left[class] = 1
		}
	}
	for _, item := range p.Data.Items {
		if !gone[item.Path] {
			left[item.Class]++
		}
	}
	if p.Name == "train" {
		return lost(p.Data.Classes, left)
	}
	return nil
}

// Count sets the classes to those of a training set.
func (o *Outlook) Count(train *dataset.Dataset) {
	o.Classes = nil
	for k, images := range train.Counts() {
		o.Classes = append(o.Classes, ClassCount{train.Classes[k], images})
	}
	slices.SortStableFunc(o.Classes, func(a, b ClassCount) int { return b.Images - a.Images })
}

// estimate encodes a few images of those that lack the same views.
func (j *job) estimate(ctx context.Context, o *Outlook) error {
	missing, _, err := j.lacking(ctx)
	if err != nil {
		return err
	}
	for lacks, items := range missing {
		if err := j.try(ctx, j.in(lacks), items, o); err != nil {
			return err
		}
	}
	return nil
}

// try encodes three batches of items at most, from all over them. The first warms the runtime up, and is not timed if
// there are others.
func (j *job) try(ctx context.Context, views []view, items []int, o *Outlook) error {
	batch := j.options.Batch
	few := make([]int, min(len(items), 3*batch))
	for i := range few {
		few[i] = items[i*len(items)/len(few)]
	}
	model := viewModel{j.backbone, views}
	encoder := vit.Encoder{Model: model, Preprocess: model.Preprocess, Batch: batch}
	begin, timed := time.Now(), len(few)
	load := func(i int) ([]byte, error) { return j.data.Items[few[i]].Bytes() }
	err := encoder.Encode(ctx, len(few), load, func(i int, _ []float32, fault error) error {
		if fault != nil {
			o.Unreadable = append(o.Unreadable, Unreadable{j.data.Items[few[i]].Path, fault.Error()})
		}
		if i == batch-1 && len(few) > batch {
			begin, timed = time.Now(), len(few)-batch
		}
		return nil
	})
	o.Tried += len(few)
	o.Seconds += time.Since(begin).Seconds() / float64(timed) * float64(len(items))
	return err
}

// Text is for the terminal.
func (o Outlook) Text() string {
	var b strings.Builder
	if o.Tried > 0 {
		fmt.Fprintf(&b, "time: about %v to encode, by an estimate from %d images\n",
			time.Duration(math.Ceil(o.Seconds))*time.Second, o.Tried)
	}
	shots := map[calib.Shot]int{}
	for _, c := range o.Classes {
		shots[calib.ShotOf(c.Images)]++
	}
	fmt.Fprintf(&b, "classes: %d", len(o.Classes))
	for _, s := range calib.Shots() {
		fmt.Fprintf(&b, ", %s (%s images) %d", s, s.Range(), shots[s])
	}
	b.WriteString("\n")
	const shown = 10 // at either end
	for i, c := range o.Classes {
		switch {
		case i < shown || i >= len(o.Classes)-shown:
			fmt.Fprintf(&b, "%8d %s\n", c.Images, c.Label)
		case i == shown:
			fmt.Fprintf(&b, "       … %d classes between\n", len(o.Classes)-2*shown)
		}
	}
	fmt.Fprintf(&b, "unreadable, as far as was looked: %d\n", len(o.Unreadable))
	for _, u := range o.Unreadable[:min(shown, len(o.Unreadable))] {
		fmt.Fprintf(&b, "  %s: %s\n", u.Path, u.Reason)
	}
	fmt.Fprintf(&b, "findings: %d\n", len(o.Findings))
	for _, text := range o.Findings {
		fmt.Fprintf(&b, "  %s\n", text)
	}
	return b.String()
}
