package run

import (
	"slices"
	"strconv"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/vec"
)

// Predictions are what a classifier says of images.
type Predictions struct {
	Calibrated bool
	Rows       []Prediction
}

// Prediction is what it says of one image.
type Prediction struct {
	Path, Label, Predicted string
	Confidence             float32
	Before                 float32 // confidence before calibration; 0 where it is not calibrated
}

// Predict are the predictions under logits [N, C] of images at N paths whose classes are labels [N].
func Predict(paths []string, labels []int, logits []float32, classes []string, scaling calib.Scaling) Predictions {
	after, before := make([]float32, len(logits)), make([]float32, len(logits)) // calibration
	scaling.Probabilities(logits, len(classes), after)
	p := Predictions{Calibrated: len(scaling.Temperature) > 0}
	if p.Calibrated {
		calib.Scaling{}.Probabilities(logits, len(classes), before)
	}
	for i, path := range paths {
		best := vec.Argmax(logits[i*len(classes) : (i+1)*len(classes)])
		at := i*len(classes) + best
		p.Rows = append(p.Rows, Prediction{path, classes[labels[i]], classes[best], after[at], before[at]})
	}
	return p
}

// WriteFile writes a file in the form of predictions.csv anywhere, but not in the place of a finished folder's own.
func (p Predictions) WriteFile(path string) error {
	if err := artifact.Free(path); err != nil {
		return err
	}
	text, err := p.encode()
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(path, text)
}

// before is the column of predictions.csv that is there only if confidence is calibrated.
const before = "confidence_before"

var predictionColumns = []string{"path", "label", "predicted", "confidence", before}

func (p Predictions) encode() ([]byte, error) {
	columns := len(predictionColumns)
	if !p.Calibrated {
		columns--
	}
	rows := [][]string{predictionColumns[:columns]}
	for _, r := range p.Rows {
		row := []string{r.Path, r.Label, r.Predicted, confidence(r.Confidence), confidence(r.Before)}
		rows = append(rows, row[:columns])
	}
	return csvtable.Write(rows)
}

func confidence(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) }

func decodePredictions(text []byte) (p Predictions, err error) {
	err = csvtable.Read(text, predictionColumns[:4], func(header []string) error {
		p.Calibrated = slices.Contains(header, before)
		return nil
	}, func(r *csvtable.Row) {
		read := func(column string) float32 {
			v, err := strconv.ParseFloat(r.Text(column), 32)
			if err != nil || !(v >= 0 && v <= 1) {
				r.Fault("%s %q is not in [0, 1]", column, r.Text(column))
			}
			return float32(v)
		}
		row := Prediction{r.Text("path"), r.Text("label"), r.Text("predicted"), read("confidence"), 0}
		if p.Calibrated {
			row.Before = read(before)
		}
		p.Rows = append(p.Rows, row)
	})
	return p, err
}

// Skipped is an image that was left out.
type Skipped struct{ Set, Path, Reason string }

var skippedColumns = []string{"set", "path", "reason"}

func encodeSkipped(images []Skipped) ([]byte, error) {
	if len(images) == 0 {
		return nil, nil
	}
	rows := [][]string{skippedColumns}
	for _, s := range images {
		rows = append(rows, []string{s.Set, s.Path, s.Reason})
	}
	return csvtable.Write(rows)
}

func decodeSkipped(text []byte) (images []Skipped, err error) {
	err = csvtable.Read(text, skippedColumns, nil, func(r *csvtable.Row) {
		images = append(images, Skipped{r.Text("set"), r.Text("path"), r.Text("reason")})
	})
	return images, err
}
