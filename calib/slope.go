package calib

import (
	"math"
	"slices"
)

// Grouping says which samples stand for a class when its slope is fitted.
type Grouping string

const (
	// ByLabel takes the samples that bear the class's label; a hit is a right prediction. Its slope says how recall
	// rises with confidence.
	ByLabel Grouping = "label"
	// ByPrediction takes the samples that are predicted as the class: top-label calibration, class by class.
	ByPrediction Grouping = "prediction"
	// OneVsRest takes all samples, p_y against 1[label = y]: class-wise calibration, the literal reading of
	// P(y|x) = κ_y p_y(x). It needs all logits, and so the full pass.
	OneVsRest Grouping = "one-vs-rest"
)

// Slope is the paper's definition: κ is the slope of accuracy against confidence, with everything about the fit to
// be chosen. The zero value is the default.
//
// A logit has no unit: a head of twice the scale has half the slope, and κ* would undo or double the scale for all
// classes alike. So κ* is relative to the slope of all classes together.
type Slope struct {
	Group      Grouping // default ByPrediction
	Bins       int      // default 20
	EqualCount bool     // bins of equal count instead of equal width (κ*: least to greatest logit, κ⁺: [0, 1])
	Raw        bool     // κ⁺ of the softmax of the raw logits, as in the reference code, instead of what the loss sees
	Intercept  bool     // fit slope and intercept instead of a line through the origin
	Huber      bool     // [FitHuber] instead of least squares (the paper's appendix C.5)
	FullPass   bool     // all training samples as the head sees them now, instead of the epoch's training-time logits
	Min, Max   float64  // clamps (default 0.1 and 10)
	Decay      float64  // share of the old κ in the new: exponential moving average from 1 (default 0: none)
	Warmup     int      // epochs before the first κ*; until then it is 1 (default 0)
	// Shrink pulls a class's slope toward that of all classes together, which then counts as much as this many
	// samples: (n κ_y + m κ)/(n + m) (empirical Bayes; default 20; negative: none).
	Shrink float64
	// CrossFit is the number of folds that the samples are out of: slopes that are not read off memorised samples
	// (default 0: the samples as trained on).
	CrossFit int
}

func (s Slope) Estimate(e Epoch) ([]Kappa, error) {
	if s.Group == "" {
		s.Group = ByPrediction
	}
	if s.Bins == 0 {
		s.Bins = 20
	}
	if s.Min == 0 {
		s.Min = 0.1
	}
	if s.Max == 0 {
		s.Max = 10
	}
	if s.Shrink == 0 {
		s.Shrink = 20
	}
	if !e.Late && e.Number < s.Warmup {
		return One{}.Estimate(e)
	}
	classes, err := s.collect(e)
	if err != nil {
		return nil, err
	}
	var all series
	for _, c := range classes {
		all.confidence = append(all.confidence, c.confidence...)
		all.hit = append(all.hit, c.hit...)
	}
	global, haveGlobal := s.fit(all, e.Late)

	unit := 1.0
	if !e.Late && haveGlobal && global.Slope > 0 {
		unit = global.Slope
	}
	global.Slope /= unit

	kappa := make([]Kappa, len(classes))
	for y, c := range classes {
		line, ok := s.fit(c, e.Late)
		line.Slope, line.StdErr = line.Slope/unit, line.StdErr/unit
		k := Kappa{Value: line.Slope, StdErr: line.StdErr, Samples: len(c.hit), Bins: line.Bins}
		if s.Group == OneVsRest {
			k.Samples = e.Counts[y] // the positives, which are what limits the fit
		}
		n := float64(k.Samples)
		switch {
		case ok && s.Shrink > 0 && haveGlobal:
			keep := n / (n + s.Shrink)
			k.Value, k.StdErr, k.Shrunk = keep*k.Value+(1-keep)*global.Slope, keep*k.StdErr, true
		case ok:
		case s.Shrink > 0 && haveGlobal:
			k.Value, k.Shrunk = global.Slope, true
		default:
			k.Value, k.Skipped = 1, true
		}
		k.Value = clamp(k.Value, s.Min, s.Max)
		kappa[y] = smooth(k, e.Previous, y, s.Decay)
	}
	return kappa, nil
}

func (s Slope) Softmax(late bool) bool { return late && s.Raw && s.Group != OneVsRest && !s.FullPass }

func (s Slope) Folds() int { return s.CrossFit }

func (s Slope) fit(c series, late bool) (Line, bool) {
	bins := c.bins(s.Bins, !late, s.EqualCount)
	switch {
	case s.Huber:
		return FitHuber(bins, s.Intercept)
	case s.Intercept:
		return FitLine(bins)
	}
	return FitOrigin(bins)
}

// collect sorts the epoch's samples, or those of a full pass, by class.
func (s Slope) collect(e Epoch) ([]series, error) {
	classes := make([]series, len(e.Counts))
	if s.Group != OneVsRest && !s.FullPass {
		for _, o := range e.Samples {
			s.add(classes, o, e.Late)
		}
		return classes, nil
	}
	err := e.Pass(func(logits []float32, labels []int) {
		n := len(classes)
		seen := make([]float64, n)
		for i, y := range labels {
			row := logits[i*n : (i+1)*n]
			o := Sample{Label: int32(y), Predicted: int32(argmax(row)), True: row[y]}
			o.Top = row[o.Predicted]
			if e.Late {
				for k, z := range row {
					seen[k] = float64(z)
					if !s.Raw {
						seen[k] = e.Beta[k]*seen[k] + e.Delta[k]
					}
				}
				o.Fitted = int32(argmax(seen))
				logSum := softmax(seen)
				o.Confidence, o.LogSum = float32(seen[o.Fitted]), float32(logSum)
			}
			if s.Group != OneVsRest {
				s.add(classes, o, e.Late)
				continue
			}
			for k, z := range row {
				confidence := float64(z)
				if e.Late {
					confidence = seen[k]
				}
				classes[k].add(confidence, k == y)
			}
		}
	})
	return classes, err
}

// add files a sample under the class that the grouping says.
func (s Slope) add(classes []series, o Sample, late bool) {
	class, confidence := o.Predicted, float64(o.Top)
	if s.Group == ByLabel && !late {
		confidence = float64(o.True)
	}
	if late && s.Raw {
		confidence = math.Exp(float64(o.Top - o.LogSum))
	} else if late {
		class, confidence = o.Fitted, float64(o.Confidence)
	}
	hit := class == o.Label
	if s.Group == ByLabel {
		class = o.Label
	}
	classes[class].add(confidence, hit)
}

func argmax[T float32 | float64](row []T) int {
	best := 0
	for k, v := range row {
		if v > row[best] {
			best = k
		}
	}
	return best
}

// softmax replaces logits by probabilities and returns the log of their sum before.
func softmax(row []float64) float64 {
	top, sum := slices.Max(row), 0.0
	for k, z := range row {
		row[k] = math.Exp(z - top)
		sum += row[k]
	}
	for k := range row {
		row[k] /= sum
	}
	return top + math.Log(sum)
}
