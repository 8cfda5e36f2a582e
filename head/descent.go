package head

import (
	"math"
	"math/rand/v2"
)

// sgd takes a step along the gradient with momentum, which it keeps in first, and weight decay as part of the gradient.
func sgd(params, first, grad []float32, lr, decay, momentum float64, nesterov bool) {
	rate, mu, wd := float32(lr), float32(momentum), float32(decay)
	first, grad = first[:len(params)], grad[:len(params)]
	for i, p := range params {
		g := grad[i] + wd*p
		v := mu*first[i] + g
		first[i] = v
		if nesterov {
			v = g + mu*v
		}
		params[i] = p - rate*v
	}
}

// adamw takes the step-th step, from 1, of Loshchilov and Hutter, ICLR 2019, with β1 = 0.9, β2 = 0.999, ε = 1e-8.
func adamw(params, first, second, grad []float32, lr, decay float64, step int) {
	const b1, b2, eps = 0.9, 0.999, 1e-8
	rate := float32(lr / (1 - math.Pow(b1, float64(step))))
	fix := float32(1 / math.Sqrt(1-math.Pow(b2, float64(step))))
	keep := float32(1 - lr*decay)
	for i, g := range grad {
		m := b1*first[i] + (1-b1)*g
		v := b2*second[i] + (1-b2)*g*g
		first[i], second[i] = m, v
		params[i] = keep*params[i] - rate*m/(float32(math.Sqrt(float64(v)))*fix+eps)
	}
}

// schedule is the course of a training, as its settings, with their defaults, say.
type schedule struct {
	Settings
	method
	t0 int // epochs before the late phase; 0 if there is none
}

func (s Settings) schedule() schedule {
	s = s.WithDefaults()
	c := schedule{Settings: s, method: findMethod(s.Loss)}
	if t0 := *c.Switch; c.late != nil && t0 < 1 {
		c.t0 = int(math.Round(t0 * float64(c.Epochs)))
	} else if c.late != nil {
		c.t0 = int(t0)
	}
	return c
}

// phase is that of an epoch, counted from 0.
func (c schedule) phase(epoch int) Phase {
	switch {
	case c.late == nil:
		return PhaseTrain
	case epoch < c.t0:
		return PhaseMLA
	}
	return PhaseCLA
}

// rate is the learning rate at a time in epochs: linear warm-up, then a cosine to 0, which a two-phase loss begins
// anew at T0 unless Restart is 0.
func (c schedule) rate(time float64) float64 {
	begin, end, peak := 0.0, float64(c.Epochs), c.LR
	if t0 := float64(c.t0); c.late != nil && *c.Restart > 0 {
		if time < t0 {
			end = t0
		} else {
			begin, peak = t0, c.LR**c.Restart
		}
	}
	warm := float64(c.Warmup)
	if time < warm {
		return peak * time / warm
	}
	begin = max(begin, warm)
	return peak * (1 + math.Cos(math.Pi*(time-begin)/max(end-begin, 1))) / 2
}

// Random numbers need no state: what is drawn once, or for an epoch, has a PCG stream of its own beside the seed. The
// order of an epoch's samples has the epoch's number.
const (
	startStream    = math.MaxUint64
	foldStream     = 1 << 60
	noiseStream    = 2 << 60
	viewStream     = 3 << 60
	subspaceStream = 4 << 60
)

// order returns an epoch's rows in their order: every sample once, at random or as [Shuffle] has it, or as many samples
// with each class as often as any other; one view each.
func (l Loop) order(epoch int, balanced bool) []int {
	rng := rand.New(rand.NewPCG(l.Settings.Seed, uint64(epoch)))
	var order []int
	switch together := int(l.Settings.Shuffle); {
	case balanced:
		order = l.balanced(rng)
	case together > 0:
		order = windows(rng, len(l.Labels), together)
	default:
		order = rng.Perm(len(l.Labels))
	}
	if l.Views > 1 {
		rng := rand.New(rand.NewPCG(l.Settings.Seed, viewStream|uint64(epoch)))
		for i, sample := range order {
			order[i] = sample*l.Views + rng.IntN(l.Views)
		}
	}
	return order
}

// balanced draws the classes that have samples in turn, and from each its samples in turn, shuffled anew each time they
// are through (the class-aware sampling of Kang et al., ICLR 2020).
func (l Loop) balanced(rng *rand.Rand) []int {
	var classes deck
	samples := make([]deck, l.Classes)
	for y, all := range byClass(l.Labels, l.Classes) {
		samples[y].all = all
		if len(all) > 0 {
			classes.all = append(classes.all, y)
		}
	}
	order := make([]int, len(l.Labels))
	for i := range order {
		order[i] = samples[classes.next(rng)].next(rng)
	}
	return order
}

// deck is numbers that are drawn in turn.
type deck struct{ all, left []int }

func (d *deck) next(rng *rand.Rand) int {
	if len(d.left) == 0 {
		d.left = append(d.left, d.all...)
		shuffle(rng, d.left)
	}
	n := d.left[0]
	d.left = d.left[1:]
	return n
}

func shuffle(rng *rand.Rand, s []int) {
	rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// byClass lists the samples of each class.
func byClass(labels []int, classes int) [][]int {
	samples := make([][]int, classes)
	for i, y := range labels {
		samples[y] = append(samples[y], i)
	}
	return samples
}
