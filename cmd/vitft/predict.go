package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/classify"
)

// predictedLine is a line of predict's output for an image.
type predictedLine struct {
	Path       string           `json:"path"`
	Label      string           `json:"label"`
	Confidence float32          `json:"confidence"`
	Top        []classify.Score `json:"top"`
}

// failedLine is one for an image that could not be classified.
type failedLine struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

func (a *app) predictCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "predict --model RUN-or-model.onnx IMAGE…",
		Short: "What is on images, one JSON object a line",
		Long: "predict classifies image files and the images in folders, in sorted order; - stands for a list of paths on\n" +
			"standard input. Each gets a line, in that order; an image that fails has its error there, the others go on,\n" +
			"and the exit code is then 3.",
		Example: "  vitft predict --model run photo.jpg photos/\n  find photos -name '*.jpg' | vitft predict --model model.onnx --top 1 -",
		Args:    cobra.MinimumNArgs(1),
		RunE:    a.predict,
	}
	f := cmd.Flags()
	f.String("model", "", "run folder, or a model.onnx that finetune or export wrote")
	f.Int("top", 5, "classes to list for each image")
	classifierFlags(f)
	return cmd
}

func (a *app) predict(cmd *cobra.Command, args []string) error {
	top := a.settings.GetInt("top")
	if top < 1 {
		return fmt.Errorf("%w: --top %d: list one class at least", errUsage, top)
	}
	c, err := a.openClassifier(a.settings.GetString("model"))
	if err != nil {
		return err
	}
	defer c.Close()
	images, failed := 0, 0
	err = c.ClassifyFiles(cmd.Context(), classify.ImageFiles(args, cmd.InOrStdin()), func(path string, p classify.Prediction, err error) error {
		images++
		var line any = predictedLine{path, p.Label, p.Confidence, p.Top(top)}
		if err != nil {
			failed++
			line = failedLine{path, err.Error()}
		}
		text, err := json.Marshal(line)
		if err != nil {
			return err
		}
		return a.printf("%s\n", text)
	})
	switch {
	case err != nil && cmd.Context().Err() != nil:
		return fmt.Errorf("interrupted after %d images: %w", images, err)
	case err != nil:
		return err
	case images == 0:
		return fmt.Errorf("%w: no images in %v", engine.ErrData, args)
	case failed > 0:
		return fmt.Errorf("%w: %d of %d images could not be classified; their lines say why", engine.ErrData, failed, images)
	}
	return nil
}
