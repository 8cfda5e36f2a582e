package head

import "math"

// optimizer updates parameters in place from their gradient. first and second are its moments, as long as params;
// sgd leaves second empty.
type optimizer struct {
	decay, momentum float64
	nesterov, adam  bool
}

// update takes one step, the step-th counted from 1; only some parameters decay.
func (o *optimizer) update(params, first, second, grad []float32, lr float64, step int, decays bool) {
	decay := 0.0
	if decays {
		decay = o.decay
	}
	if o.adam {
		adamw(params, first, second, grad, lr, decay, step)
		return
	}
	rate, mu, wd := float32(lr), float32(o.momentum), float32(decay)
	first, grad = first[:len(params)], grad[:len(params)]
	for i, p := range params {
		g := grad[i] + wd*p
		v := mu*first[i] + g
		first[i] = v
		if o.nesterov {
			v = g + mu*v
		}
		params[i] = p - rate*v
	}
}

// adamw is Loshchilov and Hutter, ICLR 2019, with β1 = 0.9, β2 = 0.999, ε = 1e-8.
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
