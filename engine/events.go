package engine

import (
	"fmt"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/head"
)

// Events is how the engine reports: optional functions, called from one
// goroutine at a time. A nil function is skipped.
type Events struct {
	// Note is one thing worth a log line, with alternating keys and values.
	Note func(level Level, message string, keysAndValues ...any)
	// Progress says how far a stage ("scan", "encode", "train") is for what
	// ("train", "val", "test"); done == total ends it.
	Progress func(stage, what string, done, total int)
	// Epoch follows each training epoch.
	Epoch func(head.Epoch)
}

// Level is the weight of a Note.
type Level = event.Level

// The levels of a Note.
const (
	Info    = event.Info
	Warning = event.Warning
)

func (e Events) info(message string, kv ...any) { e.note(Info, message, kv) }
func (e Events) warn(message string, kv ...any) { e.note(Warning, message, kv) }

func (e Events) note(l Level, message string, kv []any) {
	if e.Note != nil {
		e.Note(l, message, kv...)
	}
}

func (e Events) progress(stage, what string, done, total int) {
	if e.Progress != nil {
		e.Progress(stage, what, done, total)
	}
}

// recording returns e with every warning also appended to texts.
func (e Events) recording(texts *[]string) Events {
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
