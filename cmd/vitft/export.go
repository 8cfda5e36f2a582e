package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/artifact"
)

func (a *app) exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export --run RUN --out model.onnx",
		Short: "A run as one ONNX file, encoder + head + softmax, checked against the run",
		Long: "export writes the classifier of a run as one file that needs no other, with class names and preprocessing in\n" +
			"its metadata. First it runs the file on images of the run, and refuses if a label differs or a probability\n" +
			"by more than 1e-4; with weights in float16 or int8 labels may differ where the run itself was in doubt.",
		Example: "  vitft export --run run --out flowers.onnx\n  vitft export --run run --out web/model.onnx --precision float16 --hf",
		Args:    cobra.NoArgs,
		RunE:    a.export,
	}
	d := engine.DefaultConfig()
	f := cmd.Flags()
	f.String("run", "", "run folder written by finetune")
	f.String("out", "", "file to write")
	f.String("precision", artifact.Precisions()[0], "how weights are stored: "+strings.Join(artifact.Precisions(), ", "))
	f.Bool("hf", false, "write config.json and preprocessor_config.json beside it, in the Hugging Face convention")
	f.String("test", "", "images to check the file on (default: the run's test images, else its training images)")
	f.Int("images", 200, "how many of them, at most")
	f.Float64("near-tie", 0, "below float32: by how much surer the run may have been of its label where the file gives another (0: that of the precision)")
	runtimeFlags(f, d)
	return cmd
}

func (a *app) export(cmd *cobra.Command, _ []string) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	s := a.settings
	done, err := engine.Export(cmd.Context(), s.GetString("run"), s.GetString("out"), c, engine.ExportOptions{
		Precision: s.GetString("precision"), Images: s.GetInt("images"), NearTie: s.GetFloat64("near-tie"), HuggingFace: s.GetBool("hf"),
	}, a.events())
	if done != nil {
		g := done.Agreement
		var b strings.Builder
		if err == nil {
			fmt.Fprintf(&b, "written      %s\n", strings.Join(done.Files, ", "))
		}
		fmt.Fprintf(&b, "size         %.1f MB, %.1f M weights converted\n", float64(done.Bytes)/1e6, float64(done.Converted)/1e6)
		fmt.Fprintf(&b, "checked on   %d images of %s\n", g.Images, done.Checked)
		fmt.Fprintf(&b, "same label   %d\n", g.Same)
		if g.Same < g.Images {
			fmt.Fprintf(&b, "other label  %d; of its own the run was surer by %.4f at most\n", g.Images-g.Same, g.Margin)
		}
		fmt.Fprintf(&b, "probability  differs by %.1g at most, by %.1g on average over the images\n", g.Largest, g.Mean)
		if printErr := a.printf("%s", b.String()); err == nil {
			err = printErr
		}
	}
	return err
}
