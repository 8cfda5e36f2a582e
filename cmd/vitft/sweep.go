package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
)

func (a *app) sweepCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sweep EXPERIMENT.yaml [--out DIR]",
		Short: "A grid of losses, settings and seeds on features encoded once",
		Long: "sweep trains a head for every point of the grid in the experiment file and compares them: mean and\n" +
			"standard deviation over seeds, paired difference to a baseline with its confidence interval.\n" +
			"The file's other keys are those of --config; a flag wins over them, the grid over both. Heads that\n" +
			"are in the folder already are not trained again: after Ctrl-C the same command goes on.",
		Example: "  vitft sweep experiments/ablation.yaml --backbone vit_tiny_patch16_224.onnx\n" +
			"  vitft sweep experiments/ablation.yaml --train cifar100/train_ir10.csv --out ablation-ir10",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: no experiment file %s", errUsage, args[0])
			} else if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			experiment, shared, err := engine.ParseSweep(text)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err := a.settings.MergeConfigMap(shared); err != nil {
				return err
			}
			c, err := a.config()
			if err != nil {
				return err
			}
			if c.Out == "" {
				c.Out = "sweep-" + strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0]))
			}
			result, err := engine.Sweep(cmd.Context(), c, experiment, a.events())
			if err != nil {
				return err
			}
			if n := result.Summary.Failed(); n > 0 {
				a.log.Warn().Int("failed", n).Str("see", filepath.Join(result.Folder, "heads.csv")).Msg("heads failed; their cells are empty")
			}
			if asJSON {
				return a.printJSON(result.Summary)
			}
			return a.printf("%s\nsweep folder: %s\n", result.Summary.Text(), result.Folder)
		},
	}
	d := engine.DefaultConfig()
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	trainingDataFlags(f, d)
	encoderFlags(f, d)
	trainingFlags(f, d)
	calibrationFlags(f, d)
	f.String("out", "", "folder of the sweep (default: sweep- and the name of the file)")
	return cmd
}
