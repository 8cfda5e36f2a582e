package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/par"
)

func (a *app) inspectCommand() *cobra.Command {
	var o backbone.Options
	var json bool
	cmd := &cobra.Command{
		Use:   "inspect MODEL.onnx [--json]",
		Short: "What an ONNX file is, and what would be used of it and why",
		Example: `  vitft inspect vit_b16.onnx
  vitft inspect vit_b16.onnx --feature cls+mean --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			inspect := func() (*backbone.Report, error) { return backbone.Inspect(o) }
			found, err := par.Await(cmd.Context(), inspect, nil)
			if found == nil {
				return err
			}
			print := func() error { return a.printf("%s", inspected(found)) }
			if json {
				print = func() error { return a.printJSON(found) }
			}
			return cmp.Or(err, print())
		},
	}
	fields := []setting.Field{asJSON(&json)}
	for _, f := range o.Fields() {
		if f.Key != "backbone" && f.Key != "adapter" { // the one is the argument, the other changes nothing of this
			fields = append(fields, f)
		}
	}
	a.declare(cmd, fields...)
	return cmd
}

// inspected is the report for readers.
func inspected(r *backbone.Report) string {
	var b strings.Builder
	line := func(name, format string, v ...any) { fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, v...)) }
	line("model", "%s, %.1f MB, %.1f M parameters, opset %d, %s", r.Path, float64(r.FileSize+r.ExternalSize)/1e6,
		float64(r.Parameters)/1e6, r.Opset, cmp.Or(r.Producer, "no producer named"))
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
		resize := p.Resize
		if p.ResizeTo > 0 {
			resize += fmt.Sprintf(" %d", p.ResizeTo)
		}
		if p.Crop != "" {
			resize += ", crop rounded " + p.Crop
		}
		line("preprocess", "%d×%d, resize %s, %s, mean %v, std %v", p.Width, p.Height, resize, p.Interpolation,
			p.Mean, p.Std)
		line("", "from %s", r.PreprocessFrom)
	}
	if r.Warning != "" {
		line("warning", "%s", r.Warning)
	}
	for _, v := range r.Others[:min(6, len(r.Others))] {
		line("or", "--feature %s %v", v.Name, v.Shape)
	}
	if x := r.Adapt; x.Blocks > 0 {
		line("adapt", "%d blocks on %d tokens of %d; kinds %v", x.Blocks, x.Tokens, x.Dim, x.Kinds)
		if x.Before > 0 {
			line("", "%d attentions before them are in blocks of another form, and stay as they are", x.Before)
		}
	}
	if x := r.Adapt; x.Problem != "" {
		line("", "not adaptable: %s", x.Problem)
	}
	for _, why := range r.Reasons {
		line("because", "%s", why)
	}
	for _, problem := range r.Problems {
		line("problem", "%s", problem)
	}
	if r.Untried != "" {
		line("untried", "whether the runtime takes it: %s", r.Untried)
	}
	return b.String()
}
