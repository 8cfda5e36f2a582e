package engine

import (
	"context"
	"errors"
	"fmt"
)

// interruption names the cure on an error that came of a cancelled context.
func interruption(ctx context.Context, err error, cure string) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	if !errors.Is(err, ctx.Err()) { // something else went wrong too, such as a full disk
		err = errors.Join(ctx.Err(), err)
	}
	return fmt.Errorf("interrupted; the features and epochs so far are kept, %s: %w", cure, err)
}
