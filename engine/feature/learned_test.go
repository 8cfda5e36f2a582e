package feature

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/dataset"
)

// listed is a set of images "class content …", whose contents are hashes as they are.
func listed(name string, classes []string, images ...string) *Set {
	s := &Set{Name: name, Data: &dataset.Dataset{Name: name, Classes: classes}, Scan: &dataset.Scan{}}
	for i, image := range images {
		class, content, _ := strings.Cut(image, " ")
		s.Data.Items = append(s.Data.Items, dataset.Item{Path: fmt.Sprint(i), Class: slices.Index(classes, class)})
		s.Scan.IDs = append(s.Scan.IDs, dataset.ID([]byte(fmt.Sprintf("%-32s", content))))
	}
	return s
}

// learned prints what is learned, and in what order.
func learned(s *Set) string {
	var b strings.Builder
	for i, it := range s.Data.Items {
		fmt.Fprintf(&b, "%s %s, ", s.Data.Classes[it.Class], bytes.TrimRight(s.Scan.IDs[i][:], " "))
	}
	return b.String()
}

func TestLearned(t *testing.T) {
	classes := []string{"ant", "bee", "cat"}
	train := []string{"ant 5", "bee 9", "bee 1", "cat 7", "bee 7", "ant 2", "cat 3", "bee 1"}
	val := []string{"cat 8", "ant 4"}
	l := (&Sets{Train: listed("train", classes, train...), Val: listed("val", classes, val...)}).Learned()
	if ant, cat := l.Train.Data.Classes[1], l.Train.Data.Classes[2]; l.Classes[0] != 1 || ant == cat {
		t.Errorf("classes %v, want bee, which has most images, first", l.Train.Data.Classes)
	}
	for k, name := range l.Train.Data.Classes {
		if classes[l.Classes[k]] != name || l.Val.Data.Classes[k] != name {
			t.Errorf("class %d is %s, in Val %s, and listed as %d", k, name, l.Val.Data.Classes[k], l.Classes[k])
		}
	}
	want := "bee 1, bee 1, ant 2, cat 3, ant 5, bee 7, cat 7, bee 9, "
	if got := learned(l.Train); got != want {
		t.Errorf("learned %s, want %s", got, want)
	}
	if got := learned(l.Val); got != "ant 4, cat 8, " {
		t.Errorf("validated on %s", got)
	}
	identity := func(l *Learned) string {
		var b strings.Builder
		l.Identify(&b)
		return b.String()
	}
	// Classes of the very same images are learned as they are listed.
	twins := (&Sets{Train: listed("train", classes, "cat 1", "bee 1", "ant 2", "ant 3", "ant 4")}).Learned()
	if got, want := learned(twins.Train), "bee 1, cat 1, ant 2, ant 3, ant 4, "; got != want {
		t.Errorf("learned %s, want %s", got, want)
	}
	// Another list of the same is learned in the same order, and so with other names for the classes.
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		shuffled := slices.Clone(train)
		rng.Shuffle(len(train), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		sets := &Sets{Train: listed("train", classes, shuffled...), Val: listed("val", classes, val[1], val[0])}
		same := sets.Learned()
		if identity(same) != identity(l) {
			t.Fatalf("%v is another set", shuffled)
		}
		renamed := strings.NewReplacer("ant", "y", "bee", "z", "cat", "x")
		for i, image := range shuffled {
			shuffled[i] = renamed.Replace(image)
		}
		other := (&Sets{Train: listed("train", []string{"x", "y", "z"}, shuffled...)}).Learned()
		if got := learned(other.Train); got != renamed.Replace(want) {
			t.Fatalf("renamed: learned %s, want %s", got, renamed.Replace(want))
		}
		if identity(other) == identity(l) {
			t.Fatal("other names are the same set")
		}
	}
}
