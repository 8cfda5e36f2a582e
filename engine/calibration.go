package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/head"
)

// The values of the key calibration.
const (
	noCalibration = "none"
	temperature   = "temperature"
	classwise     = "classwise"
)

// Calibrations lists the values of the key calibration, the default first.
func Calibrations() []string { return []string{noCalibration, temperature, classwise} }

// calibration is what makes probabilities of logits. The zero value is the
// softmax as it is.
type calibration struct {
	scaling          calib.Scaling
	method, fittedOn string
}

// calibrate fits the temperatures that the configuration asks for on images
// that the head was not trained on.
func (t *training) calibrate(ctx context.Context, h *head.Head) (calibration, error) {
	if t.config.Calibration == noCalibration {
		return calibration{method: noCalibration}, nil
	}
	begin := time.Now()
	defer func() { t.seconds += time.Since(begin).Seconds() }()
	logits, labels, err := t.unseen(ctx, h)
	if err != nil {
		return calibration{}, fmt.Errorf("calibrate: %w", err)
	}
	return t.sets.calibrate(t.config.Calibration, logits, labels, t.events)
}

// calibrate fits temperatures to logits of the validation images or, where
// there are none, of the training images, each under a head trained on other
// folds. Classes count alike, as they do in the balanced accuracy that the head
// is made for.
func (s *encodedSets) calibrate(method string, logits []float32, labels []int, ev Events) (calibration, error) {
	classes := len(s.train.data.Classes)
	c := calibration{method: method, fittedOn: "out-of-fold"}
	if s.val != nil {
		c.fittedOn = s.val.what
	}
	fit, temperatures := calib.FitTemperature, 1
	if method == classwise {
		fit, temperatures = calib.FitClasswise, classes
	}
	weights := calib.BalancedWeights(labels, classes)
	if s.val == nil { // every fold's head has seen the one image of a class of one
		counts := s.train.data.Counts()
		for i, y := range labels {
			if counts[y] == 1 {
				weights[i] = 0
			}
		}
	}
	if !anyWrong(logits, labels, weights) { // the likelihood would be best at no doubt at all
		ev.warn("nothing to calibrate on: every image that was held back is classified rightly; probabilities stay as they are", "images", len(labels))
		c.scaling.Temperature = slices.Repeat([]float64{1}, temperatures)
		return c, nil
	}
	var err error
	if c.scaling, err = fit(logits, classes, labels, weights); err != nil {
		return c, fmt.Errorf("calibrate: %w", err)
	}
	smallest, largest := c.scaling.Temperature[0], c.scaling.Temperature[0]
	for _, v := range c.scaling.Temperature {
		smallest, largest = min(smallest, v), max(largest, v)
	}
	ev.info("calibrated", "method", c.method, "fitted on", c.fittedOn, "smallest temperature", smallest, "largest", largest)
	return c, nil
}

func anyWrong(logits []float32, labels []int, weights []float64) bool {
	classes := len(logits) / len(labels)
	for i, y := range labels {
		if weights[i] > 0 && argmax(logits[i*classes:(i+1)*classes]) != y {
			return true
		}
	}
	return false
}

// unseen are logits of images that took no part in training what gave them.
func (t *training) unseen(ctx context.Context, h *head.Head) (logits []float32, labels []int, err error) {
	if t.sets.val != nil {
		logits, err = t.enc.logits(h, t.sets.val, t.gemm)
		return logits, t.sets.val.labels(), err
	}
	held, err := t.enc.evalData(t.sets.train)
	if err != nil {
		return nil, nil, err
	}
	logits, err = head.OutOfFold(ctx, t.data, held.X, t.settings, t.config.Folds)
	return logits, t.data.Y, err
}

// measure is Measure with calibrated probabilities.
func (c calibration) measure(logits []float32, labels []int, classes []string, trainCounts []int) Metrics {
	m := measure(logits, probabilities(logits, len(classes), c.scaling), labels, classes, trainCounts)
	if len(c.scaling.Temperature) > 0 {
		b := Measure(logits, labels, classes, trainCounts)
		m.Calibration = &Calibration{
			Method: c.method, FittedOn: c.fittedOn, Temperature: c.scaling.Temperature,
			Before: Uncalibrated{ECE: b.ECE, MCE: b.MCE, ClasswiseECE: b.ClasswiseECE, NLL: b.NLL, Brier: b.Brier, Groups: b.Groups},
		}
	}
	return m
}
