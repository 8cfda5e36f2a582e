package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/engine/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	var repair, json bool
	cmd := &cobra.Command{
		Use:   "verify RUN|SWEEP|MODEL|CACHE… [--repair] [--json]",
		Short: "Is what is there still what was written, and what can be mended",
		Long: `verify reads a run folder, a sweep folder, an exported model with the files beside it, or a cache folder as a
whole: every file by its checksum and its content, and whether files fit together. It names what is damaged and
what to do, and changes nothing; with --repair it writes anew what other files tell, and sets aside or removes
what is made again when it is needed. The exit code is 0 if all is sound, or mended, and 3 if something is not.`,
		Example: `  vitft verify run
  vitft verify ~/.cache/vitft --repair`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var reports []*verify.Report
			left := 0
			for _, path := range args {
				r, err := verify.Check(cmd.Context(), path, repair)
				if err != nil {
					return err
				}
				if !json {
					err = a.printf("%s", verified(r))
				}
				if err != nil {
					return err
				}
				reports = append(reports, r)
				for _, f := range r.Findings {
					if !f.Mended {
						left++
					}
				}
			}
			if json {
				if err := a.printJSON(reports); err != nil {
					return err
				}
			}
			if left > 0 {
				return fault.Data.Errorf("verify: not sound (findings: %d); the lines above say what to do", left)
			}
			return nil
		},
	}
	a.declare(cmd, setting.Flag("repair", &repair,
		"write anew what other files tell, set aside what is made again when it is needed").Here(), asJSON(&json))
	return cmd
}

// verified is a report for readers.
func verified(r *verify.Report) string {
	var b strings.Builder
	verdict := "sound"
	if n := len(r.Findings); n > 0 {
		verdict = fmt.Sprintf("findings: %d", n)
	}
	fmt.Fprintf(&b, "%s: %s, %s; %d files, %s\n", r.Path, r.Kind, r.State, r.Files, verdict)
	for _, f := range r.Findings {
		what := "to do"
		if f.Mended {
			what = "mended"
		}
		fmt.Fprintf(&b, "  %s\n    %s\n    %s: %s\n", f.Path, f.Reason, what, f.Cure)
	}
	return b.String()
}
