package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/report"
)

func (a *app) reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "report RUN",
		Short:   "Write a run's report.html anew",
		Long:    "Writes report.html into the folder of a finished run, from that folder's files. The page is one\nfile that any browser shows offline.",
		Example: "  vitft report run",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			run, err := report.Load(args[0])
			if err != nil {
				return err
			}
			if err := run.Save(); err != nil {
				return err
			}
			return a.printf("report: %s\n", filepath.Join(args[0], report.File))
		},
	}
}
