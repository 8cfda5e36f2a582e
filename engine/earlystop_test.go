package engine_test

import (
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
)

// A training that ends early says so, keeps the best epoch, and ends the same when it is interrupted, with something
// below the head too; a head of a sweep is that of the run.
func TestEarlyStop(t *testing.T) {
	for _, kind := range []string{"none", "adapter"} {
		t.Run(kind, func(t *testing.T) {
			o := adapting(t, kind)
			o.Data.Val, o.Training.Epochs, o.Training.EarlyStop, o.Training.Loss = "0.3", 9, 2, "la"
			o.Training.Start, o.Training.Batch = "zero", 16
			m := finetune(t, o).Metrics
			history := read(t, o.Out, run.HistoryFile)
			if m.EarlyStop == nil || m.EarlyStop.Epoch != len(history) || m.Epochs != 9 || len(history) == 9 ||
				m.EarlyStop.Best != m.EarlyStop.Epoch-2 {
				t.Fatalf("%+v of %d epochs, history of %d", m.EarlyStop, m.Epochs, len(history))
			}
			if text := content(t, o.Out, run.ReportFile); !strings.Contains(text, "ended after epoch ") {
				t.Error("the report does not say that it ended early")
			}
			if e := evaluate(t, evaluation(o.Out, o)).Metrics; e.Top1 != m.Top1 || *e.EarlyStop != *m.EarlyStop {
				t.Errorf("evaluate says %v, %+v", e.Top1, e.EarlyStop)
			}
			other := elsewhere(t, o)
			interrupt(t, other, 2)
			resume(t, other.Out)
			same(t, "interrupted", other.Out, o.Out, run.HeadFile, run.PredictionsFile, run.ModelFile)

			x, _ := adaptingSweep(t, `{grid: [{early-stop: [0, 2]}]}`)
			x.Data, x.Features, x.Training, x.Adapt = o.Data, o.Features, o.Training, o.Adapt
			x.Training.EarlyStop = 0
			runSweep(t, x, event.Events{})
			heads := table(t, x.Out, run.HeadsFile)
			expectRow(t, heads, 1, map[string]metric.Number{"balanced_accuracy": m.BalancedAccuracy})
			if heads["configuration"][1] == heads["configuration"][0] || heads["nll"][0] == heads["nll"][1] {
				t.Errorf("%q have an NLL of %q", heads["configuration"], heads["nll"])
				t.Log(m.EarlyStop, m.NLL)
			}
		})
	}
}

func TestEarlyStopTakesValidation(t *testing.T) {
	o := job(t)
	o.Training.EarlyStop = 3
	_, err := engine.Finetune(t.Context(), o, event.Events{})
	x, _ := sweepJob(t, `{grid: [{early-stop: [0, 3]}]}`)
	_, sweepErr := engine.Sweep(t.Context(), x, event.Events{})
	for _, err := range []error{err, sweepErr} {
		if err == nil || fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "early-stop") {
			t.Errorf("without validation images: %v", err)
		}
	}
}
