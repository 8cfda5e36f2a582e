package engine

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/vitft/vitft/engine/fault"
)

// An interruption says what else went wrong: a checkpoint that a full disk did not take is not kept.
func TestInterruptionsSayTheRest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	disk := errors.Join(errors.New("write checkpoint"), syscall.ENOSPC)
	for _, err := range []error{disk, context.Canceled, errors.Join(context.Canceled, disk)} {
		got := interruption(ctx, err, "go on")
		if fault.Of(got) != fault.Interrupted || !strings.Contains(got.Error(), "go on") {
			t.Errorf("%v became %v", err, got)
		}
		if errors.Is(err, syscall.ENOSPC) != errors.Is(got, syscall.ENOSPC) {
			t.Errorf("%v lacks the full disk of %v", got, err)
		}
		if strings.Count(got.Error(), context.Canceled.Error()) != 1 {
			t.Errorf("%v says that it was cancelled twice", got)
		}
	}
}
