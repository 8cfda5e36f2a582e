package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/yamlmap"
)

func (a *app) sweepCommand() *cobra.Command {
	var o engine.SweepOptions
	var json bool
	var watch string
	cmd := &cobra.Command{
		Use:   "sweep EXPERIMENT.yaml [--out DIR]",
		Short: "A grid of losses, settings and seeds on features encoded once",
		Long: `sweep trains a head for every point of the grid in the experiment file and compares them: mean and
standard deviation over seeds, paired difference to a baseline with its confidence interval.
With adapt in the grid or the file the heads are trained together with what is put into the backbone.
The file's other keys are those of --config; a flag wins over them, the grid over both. Heads that
are in the folder already are not trained again: after Ctrl-C the same command goes on, where --out
is in an object store on any machine.`,
		Example: `  vitft sweep experiments/ablation.yaml --backbone vit_tiny_patch16_224.onnx
  vitft sweep experiments/ablation.yaml --train cifar100/train_ir10.csv --out ablation-ir10`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.readExperiment(cmd, args[0], &o); err != nil {
				return err
			}
			var result *engine.SweepResult
			err := a.watched(watch, o.Out, func(ev event.Events, _ func(head.Epoch)) (err error) {
				result, err = engine.Sweep(cmd.Context(), o, ev)
				return err
			})
			if err != nil {
				return err
			}
			if n := result.Summary.Failed(); n > 0 {
				a.log.Warn().Int("failed", n).Str("see",
					run.HeadsFile.Path(run.Folder(result.Folder))).Msg("heads failed; their cells are empty")
			}
			if json {
				return a.printJSON(result.Summary)
			}
			return a.printf("%s\nsweep folder: %s\n", result.Summary.Text(), result.Folder)
		},
	}
	a.declare(cmd, append(o.Fields(), asJSON(&json), watchField(&watch))...)
	return cmd
}

// readExperiment reads an experiment file; what it says outside the grid stands behind flags and environment.
func (a *app) readExperiment(cmd *cobra.Command, file string, o *engine.SweepOptions) error {
	text, path, err := readSettings(cmd.Context(), file)
	if err != nil {
		return fmt.Errorf("experiment: %w", err)
	}
	var shared map[string]any
	if o.Experiment, shared, err = engine.ParseSweep(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := a.settings.MergeConfigMap(shared); err != nil {
		return err
	}
	entries, err := yamlmap.Read(text)
	if err != nil {
		return err
	}
	for _, e := range entries {
		a.from[e.Key] = fmt.Sprintf("%s, line %d", path, e.Line)
	}
	if err := a.take(cmd); err != nil {
		return err
	}
	if o.Out == "" {
		name := filepath.Base(path)
		o.Out = "sweep-" + name[:len(name)-len(filepath.Ext(name))]
	}
	return nil
}
