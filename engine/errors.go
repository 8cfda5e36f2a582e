package engine

import (
	"context"
	"fmt"
)

// interruption names the cure on an error that came of a cancelled context.
func interruption(ctx context.Context, err error, cure string) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("interrupted; the features and epochs so far are kept, %s: %w", cure, ctx.Err())
}
