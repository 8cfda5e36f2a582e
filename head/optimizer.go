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
