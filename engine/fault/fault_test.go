package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/vitft/vitft/engine/fault"
)

// foreign is an error of a package that does not know this one.
type foreign struct{}

func (foreign) Error() string { return "no library" }
func (foreign) Kind() string  { return "runtime" }

func TestOf(t *testing.T) {
	data := fault.Data.Errorf("image %d is damaged", 3)
	for _, c := range []struct {
		err  error
		want fault.Kind
	}{
		{errors.New("disk full"), fault.Other},
		{data, fault.Data},
		{fmt.Errorf("train: %w", data), fault.Data},
		{fault.Config.Errorf("train: %w", data), fault.Config}, // the outermost
		{errors.Join(errors.New("other"), data), fault.Data},
		{fmt.Errorf("load: %w", foreign{}), fault.Runtime},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, fault.Data},
		{fault.Config.Errorf("config: %w", fs.ErrNotExist), fault.Config},
		{fault.Data.Errorf("read: %w", context.Canceled), fault.Interrupted},
	} {
		if got := fault.Of(c.err); got != c.want {
			t.Errorf("%v: kind %q, want %q", c.err, got, c.want)
		}
	}
}

func TestConsequencesAreThePromisedOnes(t *testing.T) {
	codes := map[fault.Kind]int{fault.Other: 1, fault.Config: 2, fault.Data: 3, fault.Runtime: 4,
		fault.Interrupted: 130}
	for _, k := range fault.Kinds() {
		if got := k.Consequence().Exit; got != codes[k] {
			t.Errorf("%q: exit code %d, want %d", k, got, codes[k])
		}
	}
	if got := fault.Kind("unheard of").Consequence(); got != fault.Other.Consequence() {
		t.Errorf("an unknown kind has %+v", got)
	}
}

func ExampleKind_Errorf() {
	err := fault.Data.Errorf("train: %w", fs.ErrNotExist)
	fmt.Println(err, "- exit code", fault.Of(fmt.Errorf("finetune: %w", err)).Consequence().Exit)
	// Output: train: file does not exist - exit code 3
}
