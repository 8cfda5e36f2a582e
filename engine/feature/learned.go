package feature

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/vitft/vitft/engine/dataset"
)

// Learned is what a run learns from, in an order that neither lists nor names decide: images by their content, classes
// by how many images they have and which. Whatever is drawn at random in training is drawn in this order, and so are
// sums taken, so that another order of the same images or other names for the same classes give the same bits.
//
// Images of equal content are equal: which of them comes first is in no bit. Only classes with the very same images
// cannot be told apart, and are learned in the order of the list.
type Learned struct {
	Train, Val *Set  // Val may be nil
	Classes    []int // of the classes as they are learned, the number of each in the sets of the run

	test *Set // as it is listed: what is kept of it is by image
}

// Learned puts the training and the validation set in the order in which they are learned.
func (s *Sets) Learned() *Learned {
	l := &Learned{Classes: classOrder(s.Train), test: s.Test}
	l.Train = s.Train.inOrder(l.Classes)
	if s.Val != nil {
		l.Val = s.Val.inOrder(l.Classes)
	}
	return l
}

// Identify writes which images the sets have, and their labels, those that are learned from in the order of learning.
func (l *Learned) Identify(w io.Writer) {
	for _, set := range []*Set{l.Train, l.Val, l.test} {
		if set == nil {
			continue
		}
		fmt.Fprintf(w, "%s %q\n", set.Name, set.Data.Classes)
		for i, y := range set.Data.Labels() {
			fmt.Fprintf(w, "%x %d\n", set.Scan.IDs[i], y)
		}
	}
}

// classOrder lists the classes of a set, those with most images first, of equally many those whose images, by content,
// have the smaller hash.
func classOrder(s *Set) []int {
	counts, digests := s.Data.Counts(), make([]hash.Hash, len(s.Data.Classes))
	order := make([]int, len(digests))
	for k := range digests {
		order[k], digests[k] = k, sha256.New()
	}
	for _, i := range s.byContent(func(int) int { return 0 }) {
		digests[s.Data.Items[i].Class].Write(s.Scan.IDs[i][:])
	}
	sums := make([][]byte, len(digests))
	for k, d := range digests {
		sums[k] = d.Sum(nil)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), bytes.Compare(sums[a], sums[b]))
	})
	return order
}

// inOrder is a set with its classes in an order, and its images by content and then by class.
func (s *Set) inOrder(classes []int) *Set {
	rank, names := make([]int, len(classes)), make([]string, len(classes))
	for k, class := range classes {
		rank[class], names[k] = k, s.Data.Classes[class]
	}
	rows := s.byContent(func(i int) int { return rank[s.Data.Items[i].Class] })
	ordered := *s
	ordered.Data, ordered.Scan = s.Data.Select(rows), &dataset.Scan{IDs: make([]dataset.ID, len(rows))}
	ordered.Data.Classes = names
	for i, row := range rows {
		ordered.Scan.IDs[i] = s.Scan.IDs[row]
		ordered.Data.Items[i].Class = rank[s.Data.Items[row].Class]
	}
	return &ordered
}

// byContent lists the images of a set by the hash of their content, those of equal content by something else.
func (s *Set) byContent(then func(i int) int) []int {
	rows := make([]int, len(s.Scan.IDs))
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(a, b int) int {
		return cmp.Or(bytes.Compare(s.Scan.IDs[a][:], s.Scan.IDs[b][:]), cmp.Compare(then(a), then(b)))
	})
	return rows
}
