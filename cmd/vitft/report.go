package main

import (
	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/report"
)

func (a *app) reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report DIR",
		Short: "Write the report.html of a run or a sweep anew",
		Long: `Writes report.html into the folder of a finished run or sweep, from that folder's files. The page is one
file that any browser shows offline.`,
		Example: `  vitft report run
  vitft report sweep-ablation`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := report.Save(args[0])
			if err != nil {
				return err
			}
			return a.printf("report: %s\n", path)
		},
	}
}
