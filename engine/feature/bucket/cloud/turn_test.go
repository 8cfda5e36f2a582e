package cloud_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
)

// Of all that would go on with work at the same time one does; what it leaves is there for the next, and is kept or
// forgotten when other work begins.
func TestTurns(t *testing.T) {
	t.Run("memory", func(t *testing.T) { turns(t, "mem://turns/runs/x") })
	eachStore(t, turns)
}

func turns(t *testing.T, url string) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	out := func() *place.Output {
		o, err := place.Out(url)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	take := func(seize bool) *place.Turn {
		t.Helper()
		turn, err := out().Take(t.Context(), seize)
		if err != nil {
			t.Fatal(err)
		}
		return turn
	}
	begun := func(want bool) {
		t.Helper()
		if is, err := out().Begun(); err != nil || is != want {
			t.Errorf("begun: %v, %v", is, err)
		}
	}
	file := func(text string) string {
		return testkit.WriteFile(t, filepath.Join(t.TempDir(), "file"), []byte(text))
	}
	holds := func(turn *place.Turn, name, want string) {
		t.Helper()
		to := filepath.Join(t.TempDir(), "file")
		there, err := turn.Fetch(name, to)
		if err != nil || there != (want != "") || there && string(testkit.ReadFile(t, to)) != want {
			t.Errorf("%s: %v, %v", name, there, err)
		}
	}
	begun(false)
	var won atomic.Int32
	var first *place.Turn
	var racing sync.WaitGroup
	for range 8 {
		racing.Go(func() {
			turn, err := out().Take(t.Context(), false)
			if taken := (*place.TakenError)(nil); err == nil {
				won.Add(1)
				first = turn
			} else if !errors.As(err, &taken) || taken.Lost {
				t.Error(err)
			}
		})
	}
	if racing.Wait(); won.Load() != 1 {
		t.Fatalf("%d have the turn", won.Load())
	}
	if err := errors.Join(first.Put("state", file("one")), first.Put("state", file("two"))); err != nil {
		t.Fatal(err)
	}
	begun(true)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := take(false) // which was given back
	holds(second, "state", "two")
	holds(second, "other", "")
	third := take(true)
	if err := second.Put("state", file("late")); !errors.As(err, new(*place.TakenError)) ||
		!strings.Contains(err.Error(), "has taken over") || second.Lost() == nil || second.Context().Err() == nil {
		t.Errorf("one that has lost its turn: %v, %v", err, second.Lost())
	}
	holds(third, "state", "two")
	as := ""
	if err := third.SetAside(func(name string) { as = name }, "state"); err != nil {
		t.Fatal(err)
	}
	holds(third, "state", "")
	bare, _, _ := strings.Cut(url, "?")
	if kept, err := place.Read(as+"/.under-way/000001/state", 10); as != bare+".1" || err != nil ||
		string(kept) != "two" {
		t.Errorf("kept is %q as %q, %v", kept, as, err)
	}
	if err := errors.Join(second.Close(), third.Close()); err != nil {
		t.Error(err)
	}
}
