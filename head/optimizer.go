package head

import "math"

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

// schedule is the course of a training: its phases and its learning rate.
type schedule struct {
	epochs, warmup, t0 int
	twoPhase           bool
	peak, restart      float64
}

// schedule is that of settings with their defaults.
func (s Settings) schedule() schedule {
	m, _ := findMethod(s.Loss)
	c := schedule{epochs: s.Epochs, warmup: s.Warmup, twoPhase: m.late != nil, peak: s.LR, restart: *s.Restart}
	switch {
	case !c.twoPhase:
	case *s.Switch < 1:
		c.t0 = int(math.Round(*s.Switch * float64(s.Epochs)))
	default:
		c.t0 = int(*s.Switch)
	}
	return c
}

// phase is that of an epoch, counted from 0.
func (c schedule) phase(epoch int) Phase {
	switch {
	case !c.twoPhase:
		return PhaseTrain
	case epoch < c.t0:
		return PhaseMLA
	}
	return PhaseCLA
}

// rate is the learning rate at a time in epochs: linear warm-up, then a cosine to 0, which a two-phase loss begins
// anew at T0 unless restart is 0.
func (c schedule) rate(time float64) float64 {
	begin, end, peak := 0.0, float64(c.epochs), c.peak
	if t0 := float64(c.t0); c.twoPhase && c.restart > 0 {
		if time < t0 {
			end = t0
		} else {
			begin, peak = t0, c.peak*c.restart
		}
	}
	if warm := float64(c.warmup); time < warm {
		return peak * time / warm
	} else if begin < warm {
		begin = warm
	}
	return peak * (1 + math.Cos(math.Pi*(time-begin)/max(end-begin, 1))) / 2
}
