// Package fault says what a caller can do about an error: its kind, from which exit codes and HTTP statuses follow.
//
// An error says its own kind with a method Kind() string, whichever package it is from; [Kind.Errorf] makes one that
// does. [Of] finds it under any wrapping.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Kind is what is at fault.
type Kind string

// The kinds.
const (
	Other       Kind = ""            // none of the others; may work when tried again
	Config      Kind = "config"      // a setting or a request is wrong
	Data        Kind = "data"        // data or a model file is missing, corrupt or unfit
	Runtime     Kind = "runtime"     // the runtime library or the provider is not usable
	Interrupted Kind = "interrupted" // the context has ended; state is saved
)

// Consequence is what follows from a kind.
type Consequence struct {
	Exit    int    // code of a process
	Status  int    // of an HTTP answer
	Meaning string // for those who read codes
}

var consequences = map[Kind]Consequence{
	Other:       {1, 500, "failed, may work when tried again (I/O, network, full disk)"},
	Config:      {2, 400, "bad flags or configuration"},
	Data:        {3, 422, "bad or missing data or model file"},
	Runtime:     {4, 503, "runtime library or provider not usable"},
	Interrupted: {130, 503, "interrupted, state saved"},
}

// Kinds lists all kinds, those of the smaller exit codes first.
func Kinds() []Kind { return []Kind{Other, Config, Data, Runtime, Interrupted} }

// Consequence is what follows from k; that of Other for a kind that is none.
func (k Kind) Consequence() Consequence {
	if c, ok := consequences[k]; ok {
		return c
	}
	return consequences[Other]
}

// Errorf makes an error of kind k; the text is that of fmt.Errorf, %w included.
func (k Kind) Errorf(format string, a ...any) error { return &kindError{fmt.Errorf(format, a...), k} }

// Of is the kind of err, which must not be nil: the outermost that an error in it says. An ended context comes first,
// since what failed with it failed because of it. A file that is missing, forbidden, or a folder, to which nobody gave
// a kind, is bad data: it will be so again.
func Of(err error) Kind {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Interrupted
	}
	if said, ok := errors.AsType[interface {
		error
		Kind() string
	}](err); ok {
		return Kind(said.Kind())
	}
	for _, lasting := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, syscall.EISDIR, syscall.ENOTDIR} {
		if errors.Is(err, lasting) {
			return Data
		}
	}
	return Other
}

type kindError struct {
	error
	kind Kind
}

func (e *kindError) Kind() string  { return string(e.kind) }
func (e *kindError) Unwrap() error { return e.error }
