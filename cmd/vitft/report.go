package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/report"
)

func (a *app) reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "report DIR",
		Short:   "Write the report.html of a run or a sweep anew",
		Long:    "Writes report.html into the folder of a finished run or sweep, from that folder's files. The page is one\nfile that any browser shows offline.",
		Example: "  vitft report run\n  vitft report sweep-ablation",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := saveReport(args[0]); err != nil {
				return err
			}
			return a.printf("report: %s\n", filepath.Join(args[0], report.File))
		},
	}
}

func saveReport(dir string) error {
	if report.IsSweep(dir) {
		return report.SaveSweep(dir)
	}
	run, err := report.Load(dir)
	if err != nil {
		return err
	}
	return run.Save()
}
