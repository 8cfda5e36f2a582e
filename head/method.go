package head

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
)

// method is what a value of Settings.Loss means: a loss, in one phase or two, or a closed form; and what is done to
// the head in the end.
type method struct {
	name  string
	early stage
	late  *stage // from T0 on; nil: one phase
	kappa bool   // drawn on by the loss

	// solve finds the head at once, in place of epochs, and leaves it in the parameters.
	solve func(ctx context.Context, l *Linear, loss *batchLoss) error
	// after changes the trained head; prior is π.
	after func(h *Head, prior []float64, tau float64)

	// What the method is made for, where it is not the default recipe.
	head                   string
	scale, lr, weightDecay float64
}

// stage is one phase of a training: α, β, Δ and margin as functions of the class (nil: 1, 1, 0, 0), and how samples
// and parameters take part.
type stage struct {
	alpha, beta, delta, margin func(terms) float64
	focal                      bool
	balanced                   bool // each class is drawn as often as any other
	scales                     bool // only one scale a class is trained
}

// methods is the table. Sources of the losses: focal, Lin et al., ICCV 2017; cb, Cui et al., CVPR 2019; drw, ldam and
// ldam-drw, Cao et al., NeurIPS 2019; la, Menon et al., ICLR 2021; balanced-softmax, Ren et al., NeurIPS 2020; cdt, Ye
// et al., 2020; vs, Kini et al., NeurIPS 2021; adrw and vs-adrw-tla, Wang et al., NeurIPS 2023; cvs, Wang et al.,
// TPAMI 2026.
//
// The baselines, and what is left of each when the backbone does not learn:
//
//   - post-hoc-la (Menon et al., ICLR 2021): cross-entropy, then τ log π_y is taken off the bias;
//   - tau-norm (Kang et al., ICLR 2020): cross-entropy, then the rows of W are divided by their length to the power τ
//     and the biases dropped. Rows of a cosine head are of one length already;
//   - crt (Kang et al.): the classifier trained anew with classes drawn alike. There is no first stage, since that
//     would only train the backbone;
//   - lws (Kang et al.): cross-entropy until T0, from there on only one scale a class, with classes drawn alike;
//   - ncm (Kang et al.; Mensink et al., TPAMI 2013): the nearest class mean, by cosine or, for a linear head, by
//     Euclidean distance;
//   - lda (Fisher, 1936; the covariance shrunk as in Friedman, 1989): Gaussian classes with one shared covariance and
//     equal priors;
//   - logreg: class-balanced multinomial logistic regression, as in scikit-learn's
//     LogisticRegression(class_weight="balanced", C=1/(n·WeightDecay)).
var methods = []method{
	{name: "ce"},
	{name: "focal", early: stage{focal: true}},
	{name: "cb", early: stage{alpha: classBalanced}},
	{name: "drw", late: &stage{alpha: classBalanced}},
	{name: "adrw", late: &stage{alpha: reweighted}},
	{name: "la", early: stage{delta: logAdjusted}},
	{name: "balanced-softmax", early: stage{delta: logPrior}},
	{name: "cdt", early: stage{beta: classDependent}},
	{name: "vs", early: stage{beta: classDependent, delta: logAdjusted}},
	{name: "vs-adrw-tla", early: stage{beta: classDependent, delta: logAdjusted},
		late: &stage{alpha: reweighted, delta: logAdjusted}},
	{name: "ldam", early: stage{margin: labelMargin}, scale: 30, lr: 0.006},
	{name: "ldam-drw", early: stage{margin: labelMargin}, late: &stage{alpha: classBalanced, margin: labelMargin},
		scale: 30, lr: 0.006},
	{name: "cvs", early: stage{beta: calibratedScale}, late: &stage{alpha: reweighted, delta: calibratedLogits},
		kappa: true},

	{name: "post-hoc-la", after: adjustLogits},
	{name: "tau-norm", after: normalizeRows, head: "linear"},
	{name: "crt", early: stage{balanced: true}},
	{name: "lws", late: &stage{balanced: true, scales: true}},
	{name: "ncm", solve: solveNCM},
	{name: "lda", solve: solveLDA, head: "linear"},
	{name: "logreg", early: stage{alpha: balancedWeight}, solve: solveLogReg, head: "linear", weightDecay: 1},
}

// Losses lists the names that Settings.Loss takes: losses, then baselines.
func Losses() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}

// findMethod returns one without a name if there is none of that name.
func findMethod(name string) method {
	for _, m := range methods {
		if m.name == name {
			return m
		}
	}
	return method{}
}

// stage returns what holds in a phase.
func (m method) stage(late bool) stage {
	if late && m.late != nil {
		return *m.late
	}
	return m.early
}

// terms is what a loss may draw on for one class.
type terms struct {
	prior  float64 // π_y
	ratio  float64 // N_y/N_max
	rarest float64 // N_min/N_y
	count  float64 // N_y
	kappa  float64 // κ*_y in the early phase, κ⁺_y in the late one

	tau, gamma, rho, margin float64
}

// classBalanced is the inverse effective number of samples, (1−b)/(1−b^N_y) (Cui et al., CVPR 2019).
func classBalanced(t terms) float64 {
	const b = 0.9999
	return (1 - b) / (1 - math.Pow(b, t.count))
}
func reweighted(t terms) float64       { return math.Pow(t.prior, -t.rho) }
func balancedWeight(t terms) float64   { return 1 / t.count }
func logAdjusted(t terms) float64      { return t.tau * math.Log(t.prior) }
func logPrior(t terms) float64         { return math.Log(t.prior) }
func classDependent(t terms) float64   { return math.Pow(t.ratio, t.gamma) }
func calibratedScale(t terms) float64  { return math.Pow(t.prior, t.gamma) / t.kappa }
func calibratedLogits(t terms) float64 { return t.tau * math.Log(t.prior/t.kappa) }
func labelMargin(t terms) float64      { return t.margin * math.Pow(t.rarest, 0.25) }

// NewAdjustment returns the loss's α, β, Δ and margin in a phase. Tau, Gamma, Rho, Focus, Margin and Scale come from
// s; kappa is κ for each class, nil for κ ≡ 1. An empty class counts as one sample, so that its log prior is finite.
func NewAdjustment(s Settings, late bool, counts []int, kappa []calib.Kappa) (Adjustment, error) {
	c := s.schedule()
	if c.name == "" {
		return Adjustment{}, fault.Config.Errorf("loss: %q is none of %s", c.Loss, strings.Join(Losses(), ", "))
	}
	if len(counts) == 0 {
		return Adjustment{}, nil
	}
	return c.adjustment(late, counts, kappa), nil
}

func (c schedule) adjustment(late bool, counts []int, kappa []calib.Kappa) Adjustment {
	f := c.stage(late)
	most, least := float64(max(slices.Max(counts), 1)), float64(max(slices.Min(counts), 1))
	a := Adjustment{}
	if f.focal {
		a.Focus = *c.Focus
	}
	for y, prior := range priors(counts) {
		count := float64(max(counts[y], 1))
		t := terms{prior: prior, ratio: count / most, rarest: least / count, count: count, kappa: 1,
			tau: *c.Tau, gamma: *c.Gamma, rho: *c.Rho, margin: *c.Margin * c.Scale}
		if kappa != nil {
			t.kappa = kappa[y].Value
		}
		value := func(f func(terms) float64, otherwise float64) float64 {
			if f == nil {
				return otherwise
			}
			return f(t)
		}
		a.Alpha = append(a.Alpha, value(f.alpha, 1))
		a.Beta = append(a.Beta, value(f.beta, 1))
		a.Delta = append(a.Delta, value(f.delta, 0))
		a.Margin = append(a.Margin, value(f.margin, 0))
	}
	return a
}

// priors returns π; an empty class counts as one sample.
func priors(counts []int) []float64 {
	p, total := make([]float64, len(counts)), 0.0
	for y, n := range counts {
		p[y] = float64(max(n, 1))
		total += p[y]
	}
	for y := range p {
		p[y] /= total
	}
	return p
}

// adjustLogits is post-hoc logit adjustment.
func adjustLogits(h *Head, prior []float64, tau float64) {
	for y, p := range prior {
		h.B[y] -= float32(tau * math.Log(p))
	}
}

// normalizeRows is τ-normalisation; a row of zeros stays.
func normalizeRows(h *Head, _ []float64, tau float64) {
	for y := range h.B {
		row := h.W[y*h.Dim : (y+1)*h.Dim]
		h.B[y] = 0
		if n := norm(row); n > 0 {
			f := float32(math.Pow(float64(n), -tau))
			for d := range row {
				row[d] *= f
			}
		}
	}
}
