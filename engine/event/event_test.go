package event_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vitft/vitft/engine/event"
)

func TestZeroEventsAreSilent(t *testing.T) {
	var e event.Events
	e.Info("nobody hears")
	e.Warn("nobody hears")
	e.Report(event.Scan, "train", 1, 2)
	var texts []string
	e.Recording(&texts).Warn("kept")
	if !slices.Equal(texts, []string{"kept"}) {
		t.Errorf("recorded %q", texts)
	}
}

func ExampleEvents_Recording() {
	e := event.Events{
		Note:     func(l event.Level, message string, kv ...any) { fmt.Println(l == event.Warning, message, kv) },
		Progress: func(s event.Stage, what string, done, total int) { fmt.Println(s, what, done, total, s.Unit()) },
	}
	var warnings []string
	e = e.Recording(&warnings)
	e.Info("backbone", "dim", 192)
	e.Warn("images are skipped", "images", 2, "of", 100)
	e.Report(event.Train, "cvs", 3, 30)
	fmt.Printf("%q\n", warnings)
	// Output:
	// false backbone [dim 192]
	// true images are skipped [images 2 of 100]
	// train cvs 3 30 epochs
	// ["images are skipped; images: 2; of: 100"]
}
