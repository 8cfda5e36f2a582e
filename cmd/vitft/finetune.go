package main

import (
	"cmp"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
)

func (a *app) finetuneCommand() *cobra.Command {
	var o engine.FinetuneOptions
	var watch string
	cmd := &cobra.Command{
		Use:   "finetune --train IMAGES [--test IMAGES] [--out RUN]",
		Short: "Images + backbone → run folder with a trained head",
		Long: `finetune encodes the images once with the frozen backbone, trains a head on the features
and writes a run folder: model.onnx, metrics.json, predictions.csv, kappa.csv, history.jsonl and
config.yaml, which reproduces the run. Ctrl-C saves the state; --resume goes on from it.
--dry-run says what would be encoded and trained, how long that takes, and what is wrong with the data.
--watch shows how far it is, and curves by epoch, in a browser on this machine, and the report at the end.`,
		Example: `  vitft finetune --train photos/train --test photos/test --out run
  vitft finetune --backbone vit_b16.onnx --train train.csv --val 0.1 --loss ce --out run-ce
  vitft finetune --config run/config.yaml --out again`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.DryRun {
				watch = "" // there is nothing to see
			}
			var result *engine.FinetuneResult
			err := a.watched(watch, cmp.Or(o.Out, "run"), func(ev event.Events, epoch func(head.Epoch)) (err error) {
				o.OnEpoch, o.Zeros = epoch, a.zeros(cmd)
				result, err = engine.Finetune(cmd.Context(), o, ev)
				return err
			})
			if result != nil && result.Forecast != nil {
				return errors.Join(a.printf("%s", result.Forecast.Text()), err)
			}
			if err != nil {
				return err
			}
			if err := a.printf("%srun folder: %s\nreport: %s\n", result.Metrics.Text(), result.Run,
				run.ReportFile.Path(run.Folder(result.Run))); err != nil {
				return err
			}
			next := "vitft predict --model " + quoted(result.Run) + " PHOTO…"
			if r, err := run.Open(result.Run); err == nil && r.Environment.Embeddings { // it takes no photos
				next = "vitft evaluate --run " + quoted(result.Run) + " --test EMBEDDINGS"
			}
			a.log.Info().Str("next", next).Msg("done")
			return nil
		},
	}
	a.declare(cmd, append(o.Fields(), setting.In("output", watchField(&watch))...)...)
	return cmd
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
