package calib

import (
	"cmp"
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
	// P(y|x) = κ_y p_y(x). It needs all logits, and so the full pass, and holds n·C confidences. It is of κ⁺ alone: the
	// slope of 1[label = y] against a logit is little but π_y, and so κ* is by prediction.
	OneVsRest Grouping = "one-vs-rest"
)

// Target is where a class's slope is shrunk to.
type Target string

const (
	Group  Target = "group"  // the classes of its group, many, medium or few; all where the group is too small
	Global Target = "global" // all classes
)

// Slope is the paper's definition: κ is the slope of accuracy against confidence, with everything about the fit to
// be chosen. The zero value is the default.
//
// A logit has no unit: a head of twice the scale has half the slope, and κ* would undo or double the scale for all
// classes alike. So κ* is relative to the slope of all classes together, whose own standard error is not counted.
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

	// Shrink says how much a class's slope is pulled toward that of its Target. 0, the default, is empirical Bayes:
	// as much as the slopes' standard errors and their scatter ask for ([DerSimonianLaird]; Morris, 1983), which needs
	// four slopes. Above 0, the target counts as much as this many samples: (n κ_y + m κ)/(n + m). Negative: none.
	Shrink float64
	Toward Target // default Group

	// CrossFit is the number of folds that the samples are out of: slopes that are not read off memorised samples
	// (default 0: the samples as trained on).
	CrossFit int
}

const defaultMin, defaultMax = 0.1, 10

func (s Slope) Estimate(e Epoch) ([]Kappa, error) {
	if s.Group == "" || s.Group == OneVsRest && !e.Late {
		s.Group = ByPrediction
	}
	s.Bins, s.Min, s.Max = cmp.Or(s.Bins, 20), cmp.Or(s.Min, defaultMin), cmp.Or(s.Max, defaultMax)
	if !e.Late && e.Number < s.Warmup {
		return One{}.Estimate(e)
	}
	classes, err := s.collect(e)
	if err != nil {
		return nil, err
	}
	fits, all := make([]fit, len(classes)), make([]int, len(classes))
	for y, c := range classes {
		n := len(c.hit)
		if s.Group == OneVsRest {
			n = e.Counts[y] // the positives are what limits it
		}
		fits[y], all[y] = s.fit(c, n, e.Late), y
	}
	global := s.target(classes, fits, all, e.Late)
	unit := 1.0
	if !e.Late {
		if unit = global.line.Slope; !(unit > 0) { // nothing to be relative to
			return One{}.Estimate(e)
		}
	}
	targets := slices.Repeat([]target{global}, len(classes))
	if s.Toward != Global {
		members := map[int][]int{}
		for y, g := range e.Group {
			members[g] = append(members[g], y)
		}
		for _, ys := range members {
			if t := s.target(classes, fits, ys, e.Late); t.ok && (s.Shrink != 0 || t.classes.n >= minPopulation) {
				for _, y := range ys {
					targets[y] = t
				}
			}
		}
	}
	kappa := make([]Kappa, len(classes))
	for y, f := range fits {
		k := targets[y].shrink(f, s.Shrink)
		k.StdErr /= unit
		if !k.Skipped {
			k.Value = clamp(k.Value/unit, s.Min, s.Max)
		}
		kappa[y] = smooth(k, e.Previous, y, s.Decay)
	}
	return kappa, nil
}

// A fit is a line through one class's bins, and what its standard error depends on.
type fit struct {
	line      Line
	bins      []Bin
	influence []float64
	samples   int
	ok        bool // there is a line
}

func (s Slope) fit(c series, samples int, late bool) fit {
	f := fit{bins: c.bins(s.Bins, !late, s.EqualCount), samples: samples}
	f.line, f.influence, f.ok = fitLine(f.bins, s.Intercept, s.Huber)
	f.ok = f.ok && samples > 0
	return f
}

// A target is what the slopes of several classes have in common.
type target struct {
	fit                // of all their samples
	classes population // for empirical Bayes
}

func (s Slope) target(classes []series, fits []fit, ys []int, late bool) target {
	var together series
	samples := 0
	for _, y := range ys {
		together.confidence = append(together.confidence, classes[y].confidence...)
		together.hit = append(together.hit, classes[y].hit...)
		samples += fits[y].samples
	}
	t := target{fit: s.fit(together, samples, late)}
	if !t.ok || s.Shrink != 0 {
		return t
	}
	var slopes, errs []float64
	for _, y := range ys {
		if fits[y].ok {
			slopes, errs = append(slopes, fits[y].line.Slope), append(errs, t.stdErr(fits[y]))
		}
	}
	t.classes = newPopulation(slopes, errs)
	return t
}

// stdErr is the standard error of a class's slope if the class were as the target is. A class that was right five
// times in five has a small error of its own, and weights by it would believe just those that luck has moved most.
func (t target) stdErr(f fit) float64 {
	n := float64(t.samples)
	return stdErr(f.bins, f.influence, func(b Bin) float64 {
		p := clamp(t.line.Slope*b.Confidence+t.line.Intercept, 0, 1)
		return (p*n + 1) / (n + 2)
	})
}

// shrink makes κ of a class's fit; amount is [Slope.Shrink].
func (t target) shrink(f fit, amount float64) Kappa {
	k := Kappa{Value: f.line.Slope, StdErr: f.line.StdErr, Samples: f.samples, Bins: f.line.Bins}
	switch {
	case amount > 0 && t.ok:
		// m samples' worth of prior is a prior of the variance that a slope of m samples has.
		k.Shrunk = true
		if f.ok {
			keep := float64(f.samples) / (float64(f.samples) + amount)
			k.Value, k.StdErr = keep*k.Value+(1-keep)*t.line.Slope, math.Sqrt(keep)*t.stdErr(f)
		} else {
			k.Value, k.StdErr = t.line.Slope, t.line.StdErr*math.Sqrt(float64(t.samples)/amount)
		}
	case amount == 0 && t.classes.n >= minPopulation:
		k.Shrunk = true
		if f.ok {
			k.Value, k.StdErr = t.classes.posterior(k.Value, t.stdErr(f))
		} else {
			k.Value, k.StdErr = t.classes.prior()
		}
	case !f.ok:
		k.Value, k.StdErr, k.Skipped = 1, 0, true
	}
	return k
}

func (s Slope) Softmax(late bool) bool { return late && s.Raw && s.Group != OneVsRest && !s.FullPass }
func (s Slope) Folds() int             { return s.CrossFit }

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
			if s.Group != OneVsRest {
				s.add(classes, NewSample(row, y, e.Beta, e.Delta), e.Late)
				continue
			}
			for k, z := range row {
				seen[k] = float64(z)
				if !s.Raw {
					seen[k] = e.Beta[k]*seen[k] + e.Delta[k]
				}
			}
			softmax(seen)
			for k, confidence := range seen {
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

// softmax replaces logits by probabilities.
func softmax(row []float64) {
	top, sum := slices.Max(row), 0.0
	for k, z := range row {
		row[k] = math.Exp(z - top)
		sum += row[k]
	}
	for k := range row {
		row[k] /= sum
	}
}
