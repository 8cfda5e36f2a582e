package report

import "github.com/vitft/vitft/calib"

// ECEs are the calibration errors of the reliability diagrams: of all samples,
// then of the groups.
func (r *Run) ECEs() [4]float64 {
	ece := [4]float64{calib.ECE(r.bins(func(prediction) bool { return true }))}
	for g := range groupNames {
		ece[1+g] = calib.ECE(r.bins(func(p prediction) bool { return groupOf(r.metrics.PerClass[p.label].TrainCount) == g }))
	}
	return ece
}
