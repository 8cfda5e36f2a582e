package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vitft/vitft/engine/dataset"
	kinds "github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/graph"
)

// Kind says what a caller can do about an error.
type Kind int

// The kinds of error. The command line maps them to its exit codes.
const (
	KindOther       Kind = iota // may work when tried again (I/O, full disk)
	KindConfig                  // a setting is wrong
	KindData                    // data or a model file is missing, corrupt or unfit
	KindRuntime                 // the runtime library or provider is not usable
	KindInterrupted             // the context was cancelled; state is saved
)

// ErrConfig marks settings that cannot work together or at all.
var ErrConfig = errors.New("bad configuration")

// ErrData marks data or model files that are missing, corrupt or unfit.
var ErrData = errors.New("bad data")

// KindOf classifies an error returned by this package.
func KindOf(err error) Kind {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return KindInterrupted
	case errors.Is(err, ErrConfig), errors.Is(err, dataset.ErrOption), err != nil && kinds.Of(err) == kinds.Config:
		return KindConfig
	case errors.Is(err, onnx.ErrRuntime):
		return KindRuntime
	case errors.Is(err, ErrData), errors.Is(err, dataset.ErrData), err != nil && kinds.Of(err) == kinds.Data, errors.Is(err, graph.ErrModel), errors.Is(err, fs.ErrNotExist):
		return KindData
	}
	return KindOther
}

// interruption names the cure on an error that came of a cancelled context.
func interruption(ctx context.Context, err error, cure string) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("interrupted; the features and epochs so far are kept, %s: %w", cure, ctx.Err())
}

// fault is an error of a kind whose text is only what went wrong.
type fault struct {
	kind error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

func configError(format string, a ...any) error { return &fault{ErrConfig, fmt.Sprintf(format, a...)} }
func dataError(format string, a ...any) error   { return &fault{ErrData, fmt.Sprintf(format, a...)} }
