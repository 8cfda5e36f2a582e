package main

import (
	"encoding/json"
	"errors"
	"fmt"
	neturl "net/url"
	"os"
	"slices"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/plaintext"
)

// predictOptions are those of predict.
type predictOptions struct {
	Model   string
	Top     int
	Explain string
	classify.Options
}

func (o *predictOptions) fields() []setting.Field {
	return append([]setting.Field{
		setting.Text("model", &o.Model, "", nil, "run folder, or a model.onnx that finetune or export wrote").Here(),
		setting.Number("top", &o.Top, 5, setting.Between(1, 1_000_000), "classes to list for each image").Here(),
		setting.Text("explain", &o.Explain, "", pictures,
			"also write which patches of each image speak for its class: a "+
				"folder for NAME-why.png and NAME-why.json, or FILE.png for one image").Here(),
	}, o.Options.Fields()...)
}

// predictedLine is a line of predict's output for an image.
type predictedLine struct {
	Path       string           `json:"path"`
	PathURL    string           `json:"path_url,omitempty"`
	Label      string           `json:"label"`
	Confidence float32          `json:"confidence"`
	Top        []classify.Score `json:"top"`
	Explained  *explained       `json:"explained,omitempty"`
}

// failedLine is one for an image that could not be classified.
type failedLine struct {
	Path    string `json:"path"`
	PathURL string `json:"path_url,omitempty"`
	Error   string `json:"error"`
}

// pathURL is a path whose bytes are no UTF-8, as that of a URL: what is no text in JSON is a text there, from which
// every language has a way back. It is empty for other paths, which JSON keeps.
func pathURL(path string) string {
	if utf8.ValidString(path) {
		return ""
	}
	return (&neturl.URL{Path: path}).EscapedPath()
}

func (a *app) predictCommand() *cobra.Command {
	var o predictOptions
	cmd := &cobra.Command{
		Use:   "predict --model RUN-or-model.onnx IMAGE…",
		Short: "What is on images, one JSON object a line",
		Long: `predict classifies image files and the images in folders, in sorted order; - stands for a list of paths
on standard input. Each gets a line, in that order; an image that fails has its error there, the others go on,
and the exit code is then 3. --explain also writes the photo with its patches tinted: orange what speaks for the
class, blue what speaks against it, and the numbers; that takes seconds an image.`,
		Example: `  vitft predict --model run photo.jpg photos/
  find photos -name '*.jpg' | vitft predict --model model.onnx --top 1 -
  vitft predict --model run photo.jpg --explain why.png`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.predict(cmd, o, args)
		},
	}
	a.declare(cmd, o.fields()...)
	return cmd
}

func (a *app) predict(cmd *cobra.Command, o predictOptions, args []string) error {
	setting.Fill(o.fields())
	if o.Model == "" {
		return fault.Config.Errorf("model: name a run folder or a model.onnx")
	}
	o.Events = a.events()
	open := func() (*classify.Classifier, error) { return classify.Open(o.Model, o.Options) }
	c, err := par.Await(cmd.Context(), open, nil)
	if err != nil {
		return err
	}
	if err := c.TakesImages(); err != nil {
		return errors.Join(err, c.Close())
	}
	var explaining *explanations
	if o.Explain != "" {
		if explaining, err = openExplanations(o.Explain, o.Model, o.Options); err != nil {
			return errors.Join(err, c.Close())
		}
		defer explaining.Close()
	}
	total := a.expected(args)
	images, failed := 0, 0
	err = c.ClassifyFiles(cmd.Context(), classify.ImageFiles(args, cmd.InOrStdin()),
		func(path string, p classify.Prediction, err error) error {
			images++
			if total > 1 {
				a.bars.progress(event.Predict, o.Model, images, max(images, total))
			}
			line := predictedLine{Path: path, PathURL: pathURL(path), Label: p.Label, Confidence: p.Confidence,
				Top: p.Top(o.Top)}
			if err == nil && explaining != nil {
				if line.Explained, err = explaining.write(cmd.Context(), path, p.Class); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
			if err != nil {
				failed++
				return a.printLine(failedLine{path, pathURL(path), plaintext.Valid(err.Error())})
			}
			return a.printLine(line)
		})
	if err != nil && cmd.Context().Err() != nil { // to close it would wait for images that are being decoded
		return fmt.Errorf("interrupted after %d images: %w", images, err)
	}
	defer c.Close()
	switch {
	case err != nil:
		return err
	case images == 0:
		return fault.Data.Errorf("no images in %v", args)
	case failed > 0:
		return fault.Data.Errorf("%d of %d images could not be classified; their lines say why", failed, images)
	}
	return nil
}

// expected is how many images are to be classified, for a progress that tells: 0 where nobody knows before a list on
// standard input has ended, and where the answers themselves are on the terminal.
func (a *app) expected(args []string) (n int) {
	f, ok := a.stdout.(*os.File)
	if a.options.Quiet || slices.Contains(args, "-") || ok && a.terminal && term.IsTerminal(int(f.Fd())) {
		return 0
	}
	for range classify.ImageFiles(args, nil) {
		n++
	}
	return n
}

// printLine prints v as JSON on one line.
func (a *app) printLine(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.printf("%s\n", text)
}
