package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
)

func (a *app) evaluateCommand() *cobra.Command {
	var run string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "evaluate --run RUN --test IMAGES [--json] [--out FILE.csv]",
		Short:   "The metrics of a run on another set of images",
		Example: "  vitft evaluate --run run --test photos/new --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.config()
			if err != nil {
				return err
			}
			m, err := engine.Evaluate(cmd.Context(), run, c, a.events())
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(m)
			}
			return a.printMetrics(m, "")
		},
	}
	d := engine.DefaultConfig()
	f := cmd.Flags()
	f.StringVar(&run, "run", "", "run folder written by finetune")
	f.String("test", "", "images with labels")
	f.String("out", "", "CSV file for path, label, predicted and confidence of each image")
	f.BoolVar(&asJSON, "json", false, "print metrics as JSON")
	runtimeFlags(f, d)
	return cmd
}

func (a *app) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return a.printf("%s\n", text)
}
