package dataset

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
)

func TestSources(t *testing.T) {
	train := tree(t, "a/1.png|1", "a/2.png|2", "a/3.png|3", "a/4.png|4", "b/1.png|5", "b/2.png|6", "b/x.txt")
	test := tree(t, "b/1.png|7")
	var notes []string
	ev := event.Events{Note: func(l event.Level, message string, _ ...any) { notes = append(notes, message) }}
	s := Sources{Train: train, Val: "0.5", Test: test, Imbalance: "step:4"}
	setting.Fill(s.Fields())
	if err := setting.Check(s.Fields()); err != nil || s.Val != "0.5" {
		t.Fatal(s, err)
	}
	sets, err := s.Open(context.Background(), 1, nil, ev)
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	var names []string
	for _, p := range sets.Parts() {
		names, sizes = append(names, p.Name), append(sizes, len(p.Data.Items))
	}
	if !slices.Equal(names, []string{"train", "val", "test"}) || !slices.Equal(sizes, []int{3, 2, 1}) ||
		sets.Test.Items[0].Class != 1 {
		t.Errorf("%v of %v", names, sizes)
	}
	if smallest, largest := sets.Train.Extent(); smallest != 1 || largest != 2 {
		t.Errorf("classes of %d to %d", smallest, largest)
	}
	if !slices.ContainsFunc(notes, func(n string) bool {
		return strings.Contains(n,
			"no images by their extension (1 .txt)")
	}) ||
		notes[len(notes)-1] != "training images" {
		t.Errorf("notes %q", notes)
	}
	// Without training images the others have classes of their own.
	sets, err = (&Sources{Val: train, Test: train}).Open(context.Background(), 0, nil, event.Events{})
	if err != nil || sets.Train != nil || len(sets.Test.Classes) != 2 {
		t.Errorf("%+v, %v", sets, err)
	}
}

func TestSourcesRefuse(t *testing.T) {
	train := tree(t, "a/1.png", "b/1.png")
	other := tree(t, "c/1.png", "d/1.png")
	for want, c := range map[string]struct {
		sources Sources
		kind    fault.Kind
	}{
		"name at least one":                           {Sources{}, fault.Config},
		"val, test: name":                             {Sources{Val: "0.1"}, fault.Config},
		"val: a hold-out of 2":                        {Sources{Train: train, Val: "2"}, fault.Config},
		"val: holding out 0.1":                        {Sources{Train: train, Val: "0.1"}, fault.Config},
		`imbalance: "exp"`:                            {Sources{Train: train, Imbalance: "exp"}, fault.Config},
		"no such file":                                {Sources{Train: train + "x"}, fault.Data},
		"does not have: \"c\" (1),":                   {Sources{Train: train, Test: other}, fault.Data},
		"does not have: \"c\" (1), \"d\" (1); remove": {Sources{Train: train, Val: other}, fault.Data},
	} {
		if _, err := c.sources.Open(context.Background(), 0, nil, event.Events{}); fault.Of(err) != c.kind ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v of kind %q, want %q", c.sources, err, fault.Of(err), want)
		}
	}
	s := Sources{Val: "1.5", Imbalance: "x:1"}
	err := setting.Check(s.Fields())
	for _, want := range []string{"val: a hold-out of 1.5", `imbalance: "x:1" is no imbalance`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	gone := filepath.Join(train, "gone")
	s = Sources{Train: gone, Val: gone, Test: gone}
	if err := s.Exist(); fault.Of(err) != fault.Data || strings.Count(err.Error(), gone) != 3 {
		t.Errorf("error %v", err)
	}
	s = Sources{Train: train, Val: "0.1"}
	if err := s.Exist(); err != nil {
		t.Error(err)
	}
}
