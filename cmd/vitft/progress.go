package main

import (
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/head"
)

// logEvery is how often progress is logged where no bar can be drawn.
const logEvery = 15 * time.Second

// bars shows the engine's progress: a bar with rate and time left on a terminal, a log line now and then elsewhere.
type bars struct {
	out     io.Writer
	visible bool
	log     zerolog.Logger

	name   string
	bar    *progressbar.ProgressBar
	start  time.Time
	first  int // what was done before start
	logged time.Time
	detail []any // keys and values to show beside
}

func (b *bars) progress(stage event.Stage, what string, done, total int) {
	name := string(stage) + " " + what
	if name != b.name {
		b.pause()
		b.name, b.start, b.first, b.logged = name, time.Now(), done, time.Now()
	}
	if b.visible {
		if b.bar == nil {
			rate := []progressbar.Option{progressbar.OptionShowIts(), progressbar.OptionSetItsString(stage.Unit())}
			if stage == event.Pull {
				rate = []progressbar.Option{progressbar.OptionShowBytes(true)}
			}
			b.bar = progressbar.NewOptions(total, append(rate,
				progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(name),
				progressbar.OptionShowCount(),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30),
				progressbar.OptionClearOnFinish())...)
		}
		if text := b.beside(); text != "" {
			b.bar.Describe(name + text)
		}
		_ = b.bar.Set(done) // a bar that cannot be drawn must not stop the work
	} else if time.Since(b.logged) >= logEvery && done < total && done > b.first {
		b.logged = time.Now()
		rate := float64(done-b.first) / time.Since(b.start).Seconds()
		left := time.Duration(float64(total-done)/rate) * time.Second
		b.log.Info().Int("done", done).Int("total", total).Str("rate",
			fmt.Sprintf("%.1f %s/s", rate, stage.Unit())).Stringer("left", left).Fields(b.detail).Msg(name)
	}
	if done == total {
		b.pause()
		b.name, b.detail = "", nil
	}
}

// beside is the details as text: ", 3 workers, 0 bad".
func (b *bars) beside() (text string) {
	for i := 0; i+1 < len(b.detail); i += 2 {
		text += fmt.Sprintf(", %v %v", b.detail[i+1], b.detail[i])
	}
	return text
}

// epoch keeps the training bar's text on the latest epoch.
func (b *bars) epoch(e head.Epoch) {
	if b.bar != nil {
		b.bar.Describe(fmt.Sprintf("train %s loss %.4f", e.Phase, e.Loss))
	}
}

// pause clears the bar so that a log line starts on a line of its own; the next progress draws it again.
func (b *bars) pause() {
	if b.bar != nil {
		_ = b.bar.Clear()
		b.bar = nil
	}
}
