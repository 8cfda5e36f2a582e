package head

import (
	"reflect"
	"slices"

	"github.com/vitft/vitft/engine/setting"
)

// WithoutEffect lists the settings that are set to something, but that the training reads nothing of, the others being
// as they are.
func (s Settings) WithoutEffect() []string {
	asked := s
	s = s.WithDefaults()
	m := findMethod(s.Loss)
	if m.name == "" {
		return nil
	}
	var unread []string
	add := func(is bool, keys ...string) {
		if is {
			unread = append(unread, keys...)
		}
	}
	for _, term := range []struct {
		key string
		in  **float64
	}{{"tau", &s.Tau}, {"gamma", &s.Gamma}, {"rho", &s.Rho}, {"focus", &s.Focus}, {"margin", &s.Margin}} {
		add(!s.draws(term.in), term.key)
	}
	add(!m.kappa, "kappa")
	add(m.late == nil, "switch", "restart")
	add(s.Head == "linear", "scale", "learn-scale")
	add(s.Features != "whiten", "shrinkage")
	add(s.Optimizer == "adamw", "momentum", "nesterov")
	add(s.Experts == 1, "subspace")
	if m.solve != nil {
		add(asked.Epochs > 1, "epochs") // a closed form is found in one
		add(asked.Experts > 1, "experts")
		add(m.name != "logreg", "weight-decay")
		add(true, "start", "head-batch", "optimizer", "lr", "momentum", "nesterov", "warmup", "average", "early-stop",
			"noise", "diversity")
	}
	slices.Sort(unread)
	return setting.Unusual(asked.Fields(), slices.Compact(unread))
}

// draws says whether the loss, in one of its phases or after training, is another with another value of a term of s.
func (s *Settings) draws(term **float64) bool {
	all := func() (of [2]Adjustment) {
		counts := []int{9, 3, 1} // of classes that any term tells apart
		for i, late := range []bool{false, true} {
			of[i] = s.schedule().adjustment(late, counts, nil)
		}
		return of
	}
	was, before := *term, all()
	defer func() { *term = was }()
	*term = new(*was + 0.5)
	return !reflect.DeepEqual(before, all()) || findMethod(s.Loss).after != nil && term == &s.Tau
}
