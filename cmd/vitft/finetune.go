package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/run"
)

func (a *app) finetuneCommand() *cobra.Command {
	var o engine.FinetuneOptions
	cmd := &cobra.Command{
		Use:   "finetune --train IMAGES [--test IMAGES] [--out RUN]",
		Short: "Images + backbone → run folder with a trained head",
		Long: `finetune encodes the images once with the frozen backbone, trains a head on the features
and writes a run folder: model.onnx, metrics.json, predictions.csv, kappa.csv, history.jsonl and
config.yaml, which reproduces the run. Ctrl-C saves the state; --resume goes on from it.
--dry-run says what would be encoded and trained, how long that takes, and what is wrong with the data.`,
		Example: `  vitft finetune --train photos/train --test photos/test --out run
  vitft finetune --backbone vit_b16.onnx --train train.csv --val 0.1 --loss ce --out run-ce
  vitft finetune --config run/config.yaml --out again`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ev := a.events()
			o.OnEpoch, o.Zeros = a.bars.epoch, a.zeros(cmd)
			result, err := engine.Finetune(cmd.Context(), o, ev)
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
			a.log.Info().Str("next", "vitft predict --model "+quoted(result.Run)+" PHOTO…").Msg("done")
			return nil
		},
	}
	a.declare(cmd, o.Fields()...)
	return cmd
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
