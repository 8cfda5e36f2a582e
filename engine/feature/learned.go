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
	rows := s.Train.byContent()
	l := &Learned{Classes: s.Train.classOrder(rows), test: s.Test}
	l.Train = s.Train.inOrder(rows, l.Classes)
	if s.Val != nil {
		l.Val = s.Val.inOrder(s.Val.byContent(), l.Classes)
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

// byContent lists the images of a set by the hash of their content, those of equal content as the set does.
func (s *Set) byContent() []int {
	rows := make([]int, len(s.Scan.IDs))
	for i := range rows {
		rows[i] = i
	}
	slices.SortFunc(rows, func(a, b int) int {
		return cmp.Or(bytes.Compare(s.Scan.IDs[a][:], s.Scan.IDs[b][:]), cmp.Compare(a, b))
	})
	return rows
}

// classOrder lists the classes of a set whose images are listed by content: those with most images first, of equally
// many those whose images have the smaller hash.
func (s *Set) classOrder(rows []int) []int {
	counts, digests := s.Data.Counts(), make([]hash.Hash, len(s.Data.Classes))
	order := make([]int, len(digests))
	for k := range digests {
		order[k], digests[k] = k, sha256.New()
	}
	for _, i := range rows {
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

// inOrder is a set with its classes in an order, and its images as rows lists them by content, those of equal content
// by class.
func (s *Set) inOrder(rows, classes []int) *Set {
	rank, names := make([]int, len(classes)), make([]string, len(classes))
	for k, class := range classes {
		rank[class], names[k] = k, s.Data.Classes[class]
	}
	for equal := rows; len(equal) > 0; {
		n := 1
		for n < len(equal) && s.Scan.IDs[equal[n]] == s.Scan.IDs[equal[0]] {
			n++
		}
		slices.SortStableFunc(equal[:n], func(a, b int) int {
			return cmp.Compare(rank[s.Data.Items[a].Class], rank[s.Data.Items[b].Class])
		})
		equal = equal[n:]
	}
	ordered := *s
	ordered.Data, ordered.Scan = s.Data.Select(rows), &dataset.Scan{IDs: make([]dataset.ID, len(rows))}
	ordered.Data.Classes = names
	for i, row := range rows {
		ordered.Scan.IDs[i] = s.Scan.IDs[row]
		ordered.Data.Items[i].Class = rank[s.Data.Items[row].Class]
	}
	return &ordered
}
