package dataset

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/fault"
)

// Imbalance is a long-tailed profile that a balanced training set is cut down to, as in long-tailed CIFAR (Cui et al.,
// CVPR 2019; Cao et al., NeurIPS 2019). The zero value keeps everything.
type Imbalance struct {
	Profile string  // "exp" or "step"
	Ratio   float64 // R: images of the largest class to those of the smallest
}

// ParseImbalance reads "exp:R" or "step:R"; empty is no imbalance. An error is of the kind config.
func ParseImbalance(text string) (Imbalance, error) {
	if text == "" {
		return Imbalance{}, nil
	}
	profile, ratio, ok := strings.Cut(text, ":")
	r, err := strconv.ParseFloat(ratio, 64)
	if !ok || (profile != "exp" && profile != "step") || err != nil || !(r >= 1) || math.IsInf(r, 1) {
		return Imbalance{}, fault.Config.Errorf(
			"%q is no imbalance: give exp:R or step:R with a ratio R of at least 1, for example exp:100", text)
	}
	return Imbalance{Profile: profile, Ratio: r}, nil
}

// String is the text that ParseImbalance reads.
func (im Imbalance) String() string {
	if im.Profile == "" {
		return ""
	}
	return im.Profile + ":" + strconv.FormatFloat(im.Ratio, 'g', -1, 64)
}

// Counts is the number of images that each of the classes is to keep when the largest has most. Of C classes, class i
// (from 0) keeps
//
//	exp   ⌊most · (1/R)^(i/(C−1))⌋
//	step  most if i < C/2, else ⌊most/R⌋
//
// but always at least one.
func (im Imbalance) Counts(most, classes int) []int {
	counts := make([]int, classes)
	for i := range counts {
		share := 1.0
		switch {
		case im.Profile == "exp" && classes > 1:
			share = math.Pow(1/im.Ratio, float64(i)/float64(classes-1))
		case im.Profile == "step" && 2*i >= classes:
			share = 1 / im.Ratio
		}
		counts[i] = max(1, int(math.Floor(float64(most)*share)))
	}
	return counts
}

// Apply keeps of each class as many images as Counts says for its place in the class list, chosen by the seed and by
// their content, and returns their ids too. The choices for different ratios are nested, and do not depend on the other
// classes, nor on any name or order. Classes that have fewer images than that keep all and are reported.
func (im Imbalance) Apply(d *Dataset, ids []ID, seed uint64) (*Dataset, []ID, []Finding) {
	if im.Profile == "" {
		return d, ids, nil
	}
	classes := d.byClass()
	_, most := d.Extent()
	var keep []int
	var small []string
	for class, n := range im.Counts(most, len(classes)) {
		items := classes[class]
		if len(items) < n {
			small = append(small, d.Classes[class])
			n = len(items)
		}
		keep = append(keep, drawn(items, ids, "imbalance", seed)[:n]...)
	}
	slices.Sort(keep)
	var found findings
	found.find(FewerThanAsked, small, "imbalance %v: %d classes have fewer images than it asks for and keep all", im,
		len(small))
	kept := make([]ID, len(keep))
	for i, k := range keep {
		kept[i] = ids[k]
	}
	return d.Select(keep), kept, found
}

// Split holds out a fraction of each class, chosen by the seed and by the content of the images, rounded to the nearest
// whole image; every class keeps at least one image in the first part. Classes without an image in the second are
// reported. An error is of the kind config.
func (d *Dataset) Split(fraction float64, ids []ID, seed uint64) (train, held *Dataset, _ []Finding, err error) {
	if !(fraction > 0 && fraction < 1) {
		return nil, nil, nil, notAFraction(fraction)
	}
	var first, second []int
	var none []string
	for class, items := range d.byClass() {
		n := max(0, min(int(math.Round(fraction*float64(len(items)))), len(items)-1))
		if n == 0 {
			none = append(none, d.Classes[class])
		}
		order := drawn(items, ids, "split", seed)
		second = append(second, order[:n]...)
		first = append(first, order[n:]...)
	}
	slices.Sort(first)
	slices.Sort(second)
	var found findings
	found.find(NotHeldOut, none, "%d classes are too small to hold out an image", len(none))
	return d.Select(first), d.Select(second), found, nil
}

// drawn is items in an order that depends on their content, the seed and the purpose, and on nothing else: each has a
// place of its own, the hash of the three, so that images that come or go do not move the others. What cannot be read
// has no content and comes last.
func drawn(items []int, ids []ID, purpose string, seed uint64) []int {
	place := make(map[int]ID, len(items))
	var readable, others []int
	for _, i := range items {
		if ids[i] == (ID{}) {
			others = append(others, i)
			continue
		}
		readable = append(readable, i)
		place[i] = sha256.Sum256(fmt.Appendf(nil, "%s %d %x", purpose, seed, ids[i]))
	}
	slices.SortStableFunc(readable, func(a, b int) int {
		pa, pb := place[a], place[b]
		return bytes.Compare(pa[:], pb[:])
	})
	return append(readable, others...)
}
