package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
)

func (a *app) inspectCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "inspect MODEL.onnx [--json]",
		Short:   "What an ONNX file is, and what would be used of it and why",
		Example: "  vitft inspect vit_b16.onnx\n  vitft inspect vit_b16.onnx --feature cls+mean --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := a.config()
			if err != nil {
				return err
			}
			c.Backbone = args[0]
			report, err := engine.Inspect(c)
			if report == nil {
				return err
			}
			show := a.printReport
			if asJSON {
				show = func(r *engine.ModelReport) error { return a.printJSON(r) }
			}
			if printErr := show(report); err == nil {
				err = printErr
			}
			return err
		},
	}
	d := engine.DefaultConfig()
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print as JSON")
	f.String("preprocess", "", "JSON file with the preprocessing")
	f.String("feature", d.Feature, "feature to use: auto, pooled, cls, mean, cls+mean, logits-input, a tensor's name, or TENSOR:POOLING")
	f.Int("image-size", d.ImageSize, "image size in pixels, for models that leave it open (0: that of the preprocessing, else 224)")
	return cmd
}

func (a *app) printReport(r *engine.ModelReport) error {
	var b strings.Builder
	line := func(name, format string, v ...any) { fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, v...)) }
	line("model", "%s, %.1f MB, %.1f M parameters, opset %d, %s", r.Path, float64(r.FileSize+r.ExternalSize)/1e6, float64(r.Parameters)/1e6, r.Opset, orNone(r.Producer))
	line("sha256", "%s", r.SHA256)
	for _, v := range r.Inputs {
		line("input", "%v", v)
	}
	for _, v := range r.Outputs {
		line("output", "%v", v)
	}
	if f := r.Feature; f.Tensor != "" {
		line("feature", "%s %v, pooling %s, D = %d", f.Tensor, f.Shape, f.Pooling, f.Dim)
	}
	if p := r.Preprocess; p != nil {
		line("preprocess", "%d×%d, resize %s, %s, mean %v, std %v", p.Width, p.Height, p.Resize, p.Interpolation, p.Mean, p.Std)
		line("", "from %s", r.PreprocessFrom)
	}
	for _, why := range r.Reasons {
		line("because", "%s", why)
	}
	for _, problem := range r.Problems {
		line("problem", "%s", problem)
	}
	return a.printf("%s", b.String())
}

func orNone(s string) string {
	if s == "" {
		return "no producer named"
	}
	return s
}
