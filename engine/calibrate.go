package engine

import (
	"fmt"
	"slices"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/internal/vec"
)

// calibration is what makes probabilities of logits. The zero value is the softmax as it is.
type calibration struct {
	scaling          calib.Scaling
	method, fittedOn string
}

// calibrate fits temperatures to logits of the validation images or, where there are none, of the training images, each
// under a head trained on other folds. Classes count alike, as they do in the balanced accuracy that heads are made for.
func (s *sets) calibrate(method string, logits []float32, labels []int, ev event.Events) (calibration, error) {
	classes := len(s.train.Data.Classes)
	c := calibration{method: method, fittedOn: "out-of-fold"}
	if s.val != nil {
		c.fittedOn = s.val.Name
	}
	fit, temperatures := calib.FitTemperature, 1
	if method == classwise {
		fit, temperatures = calib.FitClasswise, classes
	}
	weights := calib.BalancedWeights(labels, classes)
	if s.val == nil { // every fold's head has seen the one image of a class of one
		counts := s.train.Data.Counts()
		for i, y := range labels {
			if counts[y] == 1 {
				weights[i] = 0
			}
		}
	}
	if !anyWrong(logits, labels, weights) { // the likelihood would be best at no doubt at all
		ev.Warn("nothing to calibrate on: every image that was held back is classified rightly; probabilities stay as "+
			"they are", "images", len(labels))
		c.scaling.Temperature = slices.Repeat([]float64{1}, temperatures)
		return c, nil
	}
	var err error
	if c.scaling, err = fit(logits, classes, labels, weights); err != nil {
		return c, fmt.Errorf("calibrate: %w", err)
	}
	t := c.scaling.Temperature
	ev.Info("calibrated", "method", method, "fitted on", c.fittedOn, "smallest temperature", slices.Min(t), "largest", slices.Max(t))
	return c, nil
}

func anyWrong(logits []float32, labels []int, weights []float64) bool {
	classes := len(logits) / len(labels)
	for i, y := range labels {
		if weights[i] > 0 && vec.Argmax(logits[i*classes:(i+1)*classes]) != y {
			return true
		}
	}
	return false
}

// measure is metric.Measure with calibrated probabilities, and what they were before.
func (c calibration) measure(logits []float32, labels []int, classes []string, trainCounts []int) metric.Metrics {
	plain := metric.Measure(logits, nil, labels, classes, trainCounts)
	if len(c.scaling.Temperature) == 0 {
		return plain
	}
	p := make([]float32, len(logits))
	c.scaling.Probabilities(logits, len(classes), p)
	m := metric.Measure(logits, p, labels, classes, trainCounts)
	m.Calibration = &metric.Calibration{
		Method: c.method, FittedOn: c.fittedOn, Temperature: c.scaling.Temperature, Before: plain.Uncalibrated(),
	}
	return m
}
