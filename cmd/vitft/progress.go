package main

import (
	"fmt"
	"io"
	"strings"
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
			switch {
			case stage == event.Pull:
				rate = []progressbar.Option{progressbar.OptionShowBytes(true)}
			case b.detail != nil: // its description has them, also after a pause
				rate = []progressbar.Option{progressbar.OptionSetElapsedTime(false),
					progressbar.OptionSetPredictTime(false)}
			}
			b.bar = progressbar.NewOptions(total, append(rate,
				progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(name),
				progressbar.OptionShowCount(),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30),
				progressbar.OptionClearOnFinish())...)
		}
		if b.detail != nil {
			b.bar.Describe(name + b.beside(stage, done, total))
		}
		_ = b.bar.Set(done) // a bar that cannot be drawn must not stop the work
	} else if time.Since(b.logged) >= logEvery && done < total && done > b.first {
		b.logged = time.Now()
		rate, left := b.pace(done, total)
		b.log.Info().Int("done", done).Int("total", total).Str("rate",
			fmt.Sprintf("%.1f %s/s", rate, stage.Unit())).Stringer("left", left).Fields(b.detail).Msg(name)
	}
	if done == total {
		b.pause()
		b.name, b.detail = "", nil
	}
}

// pace is how many are done in a second, since there is a bar, and the time that is left at that.
func (b *bars) pace(done, total int) (rate float64, left time.Duration) {
	rate = float64(done-b.first) / time.Since(b.start).Seconds()
	return rate, time.Duration(float64(total-done)/rate) * time.Second
}

// beside is pace and details as text: ": 412.0 images/s, 5m48s left, workers 3, bad 0".
func (b *bars) beside(stage event.Stage, done, total int) string {
	var parts []string
	if done > b.first {
		rate, left := b.pace(done, total)
		parts = append(parts, fmt.Sprintf("%.1f %s/s, %v left", rate, stage.Unit(), left))
	}
	for i := 0; i+1 < len(b.detail); i += 2 {
		parts = append(parts, fmt.Sprintf("%v %v", b.detail[i], b.detail[i+1]))
	}
	return ": " + strings.Join(parts, ", ")
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
