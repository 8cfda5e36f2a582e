package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
)

func (a *app) exportCommand() *cobra.Command {
	var o engine.ExportOptions
	cmd := &cobra.Command{
		Use:   "export --run RUN --out model.onnx",
		Short: "A run as one ONNX file, encoder + head + softmax, checked against the run",
		Long: `export writes the classifier of a run as one file that needs no other, with class names and preprocessing
in its metadata. First it runs the file on images of the run, and refuses if a label differs or a probability
by more than 1e-4; with weights in float16 or int8 labels may differ where the run itself was in doubt.
With --hf it writes the folder that transformers.js and Optimum load; softmax of its logits is the calibrated
probability.`,
		Example: `  vitft export --run run --out flowers.onnx
  vitft export --run run --out web/ --hf`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := engine.Export(cmd.Context(), o, a.events())
			if done == nil {
				return err
			}
			return cmp.Or(err, a.printf("%s", exported(done, err == nil)))
		},
	}
	a.declare(cmd, o.Fields()...)
	return cmd
}

// exported says what an export found and, if it is, what was written.
func exported(done *engine.ExportResult, written bool) string {
	g := done.Agreement
	var b strings.Builder
	if written {
		fmt.Fprintf(&b, "written      %s\n", strings.Join(done.Files, ", "))
	}
	if done.Beside {
		fmt.Fprintf(&b, "beside       where half a margin is rounded, pipelines crop one pixel beside the run\n")
	}
	fmt.Fprintf(&b, "size         %.1f MB, %.1f M weights converted\n", float64(done.Bytes)/1e6,
		float64(done.Converted)/1e6)
	fmt.Fprintf(&b, "checked on   %d images of %s\n", g.Images, done.Checked)
	fmt.Fprintf(&b, "same label   %d\n", g.Same)
	if g.Same < g.Images {
		fmt.Fprintf(&b, "other label  %d; of its own the run was surer by %.4f at most\n", g.Images-g.Same, g.Margin)
	}
	fmt.Fprintf(&b, "probability  differs by %.1g at most, by %.1g on average over the images\n", g.Largest, g.Mean)
	return b.String()
}
