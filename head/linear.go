package head

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
)

// Linear is the linear or cosine head in training: a [Trainable] whose parameters are, for each expert, weight [C, D],
// bias [C] and scale [C], on top of features that are prepared as Settings.Features says. With LearnScale the scales of
// all classes are one number, and each has the gradient of that.
type Linear struct {
	set     schedule
	data    Data
	counts  []int
	train   Source // of prepared rows
	held    Source // of Settings.Val
	raw     bool   // or both of features as they come
	ahead   *ahead // reads train where that is not in memory; nil: it is
	workers int
	masks   [][]float32 // [D] of each expert; nil: all ones
	*prepared
	expert // of all experts
	batch  // scratch
}

// NewLinear starts a head on data, whose features also say how features are prepared from then on. It is trained on
// them and measured on Settings.Val; or, where a model below gives the samples of data other features each time, on
// those of the sources train and held (nil where nothing is measured).
func NewLinear(data Data, s Settings, train, held Source) (*Linear, error) {
	l, err := start(context.Background(), data, s)
	if err == nil && train != nil {
		err = l.Close() // what is prepared has told how to prepare others
		l.train, l.held, l.raw, l.ahead = train, held, true, nil
	}
	return l, err
}

// Close lets go of features that are not in memory, where there are such.
func (l *Linear) Close() error {
	if l.ahead != nil {
		l.ahead.end()
	}
	return l.prepared.close()
}

// start is NewLinear on data alone, until ctx ends.
func start(ctx context.Context, data Data, s Settings) (*Linear, error) {
	if err := check(data, s); err != nil {
		return nil, err
	}
	s = s.WithDefaults()
	workers := runtime.GOMAXPROCS(0)
	p, err := prepare(ctx, data, s, workers)
	if err != nil {
		return nil, err
	}
	l, err := newLinear(ctx, data, s, p, workers)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return l, nil
}

// Order implements Ordered.
func (l *Linear) Order(rows []int) {
	if l.ahead != nil {
		l.ahead.order(rows)
	}
}

// Begin implements Trainable.
func (l *Linear) Begin(epoch int, phase Phase) {
	l.noise = rand.New(rand.NewPCG(l.set.Seed, noiseStream|uint64(epoch)))
	l.scales = l.set.stage(phase == PhaseCLA).scales
}

// Params implements Trainable: weight, bias and scale.
func (l *Linear) Params() []Param {
	e, c, d := l.set.Experts, l.data.Classes, l.data.Dim
	return []Param{
		{Name: "weight", Shape: []int{e, c, d}, Values: l.w, Decays: true, Frozen: l.scales},
		{Name: "bias", Shape: []int{e, c}, Values: l.b, Frozen: l.scales || l.head.Normalize},
		{Name: "scale", Shape: []int{e, c}, Values: l.s, Frozen: !l.scales && !(l.set.LearnScale && l.head.Normalize)},
	}
}

// Forward implements Trainable; what is its own is the diversity of the experts.
func (l *Linear) Forward(ctx context.Context, rows []int, z []float32) (float64, error) {
	if err := l.gather(ctx, rows); err != nil {
		return 0, err
	}
	for e := range l.set.Experts {
		if err := errors.Join(ctx.Err(), l.logits(e, l.of(z, e))); err != nil {
			return 0, err
		}
	}
	if l.set.Diversity > 0 {
		return l.diverge(l.n, z), nil
	}
	return 0, nil
}

// Backward implements Trainable.
func (l *Linear) Backward(ctx context.Context, dz []float32, grad [][]float32) error {
	return l.BackwardFeatures(ctx, dz, grad, nil)
}

// BackwardFeatures is Backward that also writes the gradient with respect to the features, [n, D], as the source of
// training gave them, to dx, unless that is nil.
func (l *Linear) BackwardFeatures(ctx context.Context, dz []float32, grad [][]float32, dx []float32) error {
	if dx != nil && !l.raw {
		return errors.New("the gradient of features is of those of a source, and this head has none")
	}
	if l.set.Diversity > 0 {
		for i, g := range l.push[:len(dz)] {
			dz[i] += g
		}
	}
	clear(dx)
	for e := range l.set.Experts {
		g := expert{w: grad[0], b: grad[1], s: grad[2]}
		if err := errors.Join(ctx.Err(), l.backward(e, l.of(dz, e), l.one(g, e), dx)); err != nil {
			return err
		}
	}
	return l.unprepare(dx)
}

// Predict implements Trainable.
func (l *Linear) Predict(ctx context.Context, held bool, from, to int, z []float32) error {
	source, views, h := l.train, l.data.views(), l.Head()
	if held {
		source, views = l.held, 1
	}
	if source == nil {
		return errors.New("there is no source of features held out")
	}
	rows := make([]int, to-from)
	for i := range rows {
		rows[i] = (from + i) * views
	}
	l.plain = grow(l.plain, len(rows)*h.Dim)
	x := l.plain
	if err := source.Features(ctx, rows, x); err != nil {
		return err
	}
	if l.raw {
		return h.logits(l.set.Gemm, l.workers, x, z)
	}
	return h.multiply(l.set.Gemm, x, z)
}

// Head is the head as it is now: the mean of the experts, with what the method does to it in the end.
func (l *Linear) Head() *Head {
	h := l.prepared.head
	h.W, h.B = make([]float32, h.Classes*h.Dim), make([]float32, h.Classes)
	for e := range l.set.Experts {
		p := l.one(l.expert, e)
		w := l.effective(p)
		for k, s := range p.s {
			s /= float32(l.set.Experts)
			for d, v := range w[k*h.Dim : (k+1)*h.Dim] {
				h.W[k*h.Dim+d] += s * v
			}
			h.B[k] += s * p.b[k]
		}
	}
	if l.set.after != nil {
		l.set.after(&h, priors(l.counts), *l.set.Tau)
	}
	return &h
}

// newLinear is NewLinear on data that has been checked and prepared, for settings with their defaults.
func newLinear(ctx context.Context, data Data, s Settings, p *prepared, workers int) (*Linear, error) {
	rows, classes := s.Experts*data.Classes, data.Classes
	l := &Linear{set: s.schedule(), data: data, counts: data.Counts(), prepared: p, workers: workers,
		masks: make([][]float32, s.Experts),
		train: p.flat, held: Data{X: p.val, Dim: data.Dim},
		expert: expert{make([]float32, rows*data.Dim), make([]float32, rows), make([]float32, rows)},
		batch:  batch{unit: make([]float32, classes*data.Dim), norms: make([]float32, classes)}}
	if far := p.flat.Far; far != nil {
		l.train = far.Rows
		l.ahead = &ahead{Source: far.Rows, dim: data.Dim, most: s.Shuffle.together()}
	}
	for e := range s.Experts {
		if err := ctx.Err(); err != nil && e > 0 { // one is soon there
			return nil, fmt.Errorf("starting expert %d of %d: %w", e+1, s.Experts, err)
		}
		l.masks[e] = subspace(s, e, data.Dim)
		if err := l.start(ctx, e); err != nil {
			return nil, err
		}
	}
	l.Begin(0, l.set.phase(0))
	return l, nil
}

// expert is the parameters of an expert, or something in their shape: z_k = S_k (w_k·x' + b_k), where the rows of W are
// first scaled to length 1 if the head is a cosine head.
type expert struct {
	w    []float32 // [C, D]
	b, s []float32 // [C]; S is the same for all classes but in the late stage of lws
}

// one returns the e-th of all experts.
func (l *Linear) one(all expert, e int) expert {
	from, to, dim := e*l.data.Classes, (e+1)*l.data.Classes, l.data.Dim
	return expert{all.w[from*dim : to*dim], all.b[from:to], all.s[from:to]}
}

// of returns the e-th expert's part of z, [Experts, n, C].
func (l *Linear) of(z []float32, e int) []float32 {
	size := l.n * l.data.Classes
	return z[e*size : (e+1)*size]
}
