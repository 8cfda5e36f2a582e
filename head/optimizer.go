package head

import "math"

// optimizer updates parameters in place from their gradient. first and second are its moments, as long as params;
// sgd leaves second empty.
type optimizer struct {
	params, first, second []float32
	decayed               int // weight decay applies to params[:decayed]
	decay, momentum       float64
	nesterov, adam        bool
}

// update takes one step, the step-th counted from 1.
func (o *optimizer) update(grad []float32, lr float64, step int) {
	if o.adam {
		o.adamw(grad, lr, step)
		return
	}
	rate, mu, wd := float32(lr), float32(o.momentum), float32(o.decay)
	for i, g := range grad {
		if i < o.decayed {
			g += wd * o.params[i]
		}
		v := mu*o.first[i] + g
		o.first[i] = v
		if o.nesterov {
			v = g + mu*v
		}
		o.params[i] -= rate * v
	}
}

// adamw is Loshchilov and Hutter, ICLR 2019, with β1 = 0.9, β2 = 0.999, ε = 1e-8.
func (o *optimizer) adamw(grad []float32, lr float64, step int) {
	const b1, b2, eps = 0.9, 0.999, 1e-8
	rate := float32(lr / (1 - math.Pow(b1, float64(step))))
	fix := float32(1 / math.Sqrt(1-math.Pow(b2, float64(step))))
	keep := float32(1 - lr*o.decay)
	for i, g := range grad {
		if i < o.decayed {
			o.params[i] *= keep
		}
		m := b1*o.first[i] + (1-b1)*g
		v := b2*o.second[i] + (1-b2)*g*g
		o.first[i], o.second[i] = m, v
		o.params[i] -= rate * m / (float32(math.Sqrt(float64(v)))*fix + eps)
	}
}
