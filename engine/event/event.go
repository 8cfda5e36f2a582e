// Package event is how long work reports what it does, without logging.
package event

import "fmt"

// Events are optional functions, called from one goroutine at a time. A nil function is skipped.
type Events struct {
	// Note is one thing worth a log line, with alternating keys and values.
	Note func(level Level, message string, keysAndValues ...any)
	// Progress says how far a stage is for what ("train", "val", "test", a name); done == total ends it.
	Progress func(stage Stage, what string, done, total int)
	// Detail is what is worth showing beside the progress from now on, in alternating keys and values.
	Detail func(keysAndValues ...any)
}

// Level is the weight of a Note.
type Level int

// The levels of a Note.
const (
	Info Level = iota
	Warning
)

// Stage is what Progress counts.
type Stage string

// The stages.
const (
	Scan   Stage = "scan"   // images read and hashed
	Encode Stage = "encode" // images encoded
	Lay    Stage = "lay"    // images, in each view, whose features are laid out on the disk for training
	Train  Stage = "train"  // epochs
	Learn  Stage = "learn"  // images learned from, where an epoch takes long: those of all epochs
	Sweep  Stage = "sweep"  // heads
	Pull   Stage = "pull"   // bytes

	Predict Stage = "predict" // images classified
)

// Unit is what a stage counts, in the plural.
func (s Stage) Unit() string {
	switch s {
	case Train:
		return "epochs"
	case Sweep:
		return "heads"
	case Pull:
		return "bytes"
	}
	return "images"
}

// Info notes something that is as it should be.
func (e Events) Info(message string, kv ...any) { e.note(Info, message, kv) }

// Warn notes something that the user should know of.
func (e Events) Warn(message string, kv ...any) { e.note(Warning, message, kv) }

func (e Events) note(l Level, message string, kv []any) {
	if e.Note != nil {
		e.Note(l, message, kv...)
	}
}

// Report passes progress on.
func (e Events) Report(stage Stage, what string, done, total int) {
	if e.Progress != nil {
		e.Progress(stage, what, done, total)
	}
}

// Beside passes details of a progress on.
func (e Events) Beside(kv ...any) {
	if e.Detail != nil {
		e.Detail(kv...)
	}
}

// Recording returns e with every warning also appended to texts.
func (e Events) Recording(texts *[]string) Events {
	note := e.Note
	e.Note = func(l Level, message string, kv ...any) {
		if l == Warning {
			text := message
			for i := 0; i+1 < len(kv); i += 2 {
				text += fmt.Sprintf("; %v: %v", kv[i], kv[i+1])
			}
			*texts = append(*texts, text)
		}
		if note != nil {
			note(l, message, kv...)
		}
	}
	return e
}
