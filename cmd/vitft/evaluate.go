package main

import (
	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
)

func (a *app) evaluateCommand() *cobra.Command {
	var o engine.EvaluateOptions
	var json bool
	cmd := &cobra.Command{
		Use:     "evaluate --run RUN --test IMAGES [--json] [--out FILE.csv]",
		Short:   "The metrics of a run on another set of images",
		Example: `  vitft evaluate --run run --test photos/new --json`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := engine.Evaluate(cmd.Context(), o, a.events())
			switch {
			case err != nil:
				return err
			case json:
				return a.printJSON(result.Metrics)
			}
			return a.printf("%s", result.Metrics.Text())
		},
	}
	a.declare(cmd, append(o.Fields(), asJSON(&json))...)
	return cmd
}
