package main

import (
	"errors"

	"github.com/vitft/vitft/engine"
)

// The exit codes, as documented in `vitft help` and docs/cli.md.
const (
	exitDone        = 0
	exitFailed      = 1   // may work when tried again
	exitUsage       = 2   // bad flags or configuration
	exitData        = 3   // bad or missing data or model file
	exitRuntime     = 4   // runtime library or provider not usable
	exitInterrupted = 130 // interrupted, state saved
)

// errUsage marks wrong command lines.
var errUsage = errors.New("usage")

func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	switch engine.KindOf(err) {
	case engine.KindConfig:
		return exitUsage
	case engine.KindData:
		return exitData
	case engine.KindRuntime:
		return exitRuntime
	case engine.KindInterrupted:
		return exitInterrupted
	}
	return exitFailed
}
