package metric

import (
	"slices"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/vec"
)

// Fit is how probabilities are made of logits. The zero value is the softmax as it is.
type Fit struct {
	Scaling          calib.Scaling
	Method, FittedOn string // of Calibration
}

// The methods of Calibrate.
const (
	NoCalibration = "none"
	Temperature   = "temperature" // one for all images
	Classwise     = "classwise"   // one for each predicted class
)

// Calibrations lists the methods, the default first.
func Calibrations() []string { return []string{NoCalibration, Temperature, Classwise} }

// Calibrate fits temperatures to logits [N, C] of images that what gave them had not seen. Classes count alike, as they
// do in the balanced accuracy that heads are made for; images of a class that is to be left out do not count at all.
func Calibrate(method, fittedOn string, logits []float32, labels []int, classes int, leftOut func(class int) bool,
	ev event.Events) (f Fit, err error) {
	f = Fit{Method: method, FittedOn: fittedOn}
	fit, temperatures := calib.FitTemperature, 1
	if method == Classwise {
		fit, temperatures = calib.FitClasswise, classes
	}
	if i := vec.NotFinite(logits); i >= 0 { // which would pass for a right answer
		return f, fault.Config.Errorf("calibration: a logit of image %d of those held back is %v; the head that gave "+
			"it diverged: use a lower learning rate", i/classes+1, logits[i])
	}
	weights := calib.BalancedWeights(labels, classes)
	wrong := false
	for i, y := range labels {
		if leftOut(y) {
			weights[i] = 0
		}
		wrong = wrong || weights[i] > 0 && vec.Argmax(logits[i*classes:(i+1)*classes]) != y
	}
	if !wrong { // the likelihood would be best at no doubt at all
		ev.Warn("nothing to calibrate on: every image that was held back is classified rightly; "+
			"probabilities stay as they are", "images", len(labels))
		f.Scaling.Temperature = slices.Repeat([]float64{1}, temperatures)
		return f, nil
	}
	if f.Scaling, err = fit(logits, classes, labels, weights); err != nil {
		return f, fault.Config.Errorf("calibration: %w", err)
	}
	t := f.Scaling.Temperature
	ev.Info("calibrated", "method", method, "fitted on", fittedOn, "smallest temperature", slices.Min(t),
		"largest", slices.Max(t))
	return f, nil
}

// Measure is the function of that name with calibrated probabilities, and what they were before.
func (f Fit) Measure(logits []float32, labels []int, classes []string, trainCounts []int) Metrics {
	plain := Measure(logits, nil, labels, classes, trainCounts)
	if len(f.Scaling.Temperature) == 0 {
		return plain
	}
	p := make([]float32, len(logits))
	f.Scaling.Probabilities(logits, len(classes), p)
	m := Measure(logits, p, labels, classes, trainCounts)
	m.Calibration = &Calibration{
		Method: f.Method, FittedOn: f.FittedOn, Temperature: f.Scaling.Temperature, Before: plain.Uncalibrated(),
	}
	return m
}
