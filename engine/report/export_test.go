package report

import "github.com/vitft/vitft/calib"

// ECEs are the calibration errors of the reliability diagrams: of all samples, then of the groups; before calibration,
// if asked for.
func (r *Run) ECEs(before bool) (ece [4]float64) {
	of := confidence
	if before {
		of = confidenceBefore
	}
	for i := range ece {
		groups := calib.Shots()
		if i > 0 {
			groups = groups[i-1 : i]
		}
		ece[i] = calib.ECE(r.bins(of, groups...))
	}
	return ece
}

// Project is for tests of the map.
var Project = project
