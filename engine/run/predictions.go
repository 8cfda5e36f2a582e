package run

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/vitft/vitft/calib"
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
	after, before := make([]float32, len(logits)), make([]float32, len(logits))
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

// WriteFile writes a file in the form of predictions.csv anywhere.
func (p Predictions) WriteFile(path string) error {
	f := PredictionsFile
	f.Name = filepath.Base(path)
	return f.Write(Folder(filepath.Dir(path)), p)
}

// columns are those of predictions.csv; the last only if confidence is calibrated.
func (p Predictions) columns() []string {
	all := []string{"path", "label", "predicted", "confidence", "confidence_before"}
	if p.Calibrated {
		return all
	}
	return all[:4]
}

func (p Predictions) encode() ([]byte, error) {
	rows := [][]string{p.columns()}
	for _, r := range p.Rows {
		row := []string{r.Path, r.Label, r.Predicted, confidence(r.Confidence), confidence(r.Before)}
		rows = append(rows, row[:len(rows[0])])
	}
	return toCSV(rows)
}

func confidence(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) }

func decodePredictions(text []byte) (p Predictions, err error) {
	header, _, _ := bytes.Cut(text, []byte("\n"))
	p.Calibrated = bytes.Contains(header, []byte("confidence_before"))
	columns := p.columns()
	err = fromTable(text, columns, func(row []string) error {
		r := Prediction{Path: row[0], Label: row[1], Predicted: row[2]}
		for i, value := range []*float32{&r.Confidence, &r.Before}[:len(columns)-3] {
			v, err := strconv.ParseFloat(row[3+i], 32)
			if err != nil || !(v >= 0 && v <= 1) {
				return fmt.Errorf("%s %q is not in [0, 1]", columns[3+i], row[3+i])
			}
			*value = float32(v)
		}
		p.Rows = append(p.Rows, r)
		return nil
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
	return toCSV(rows)
}

func decodeSkipped(text []byte) (images []Skipped, err error) {
	err = fromTable(text, skippedColumns, func(row []string) error {
		images = append(images, Skipped{row[0], row[1], row[2]})
		return nil
	})
	return images, err
}
