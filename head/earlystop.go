package head

import "slices"

// EarlyStop says after which epoch a training ended that might end early, and that of which is kept.
type EarlyStop struct {
	Epoch int `json:"epoch"`
	Best  int `json:"best_epoch"`
}

// EarlyStop says how a training that has come here would end, were it to end now; nil where it may not end early.
func (s *State) EarlyStop() *EarlyStop {
	if s.Best == nil {
		return nil
	}
	return &EarlyStop{s.Epoch, s.bestEpoch()}
}

// bestEpoch is the number of the epoch of the highest balanced accuracy on the set held out, the first of equals; 0
// before there is any.
func (s *State) bestEpoch() (best int) {
	highest := -1.0
	for _, e := range s.History {
		if e.Val != nil && e.Val.Balanced != nil && *e.Val.Balanced > highest {
			best, highest = e.Number, *e.Val.Balanced
		}
	}
	return max(best, min(1, len(s.History)))
}

// keepBest keeps the parameters of the epoch just done, if none before was as good.
func (r *run) keepBest() {
	if r.set.EarlyStop == 0 || r.state.bestEpoch() != r.state.Epoch {
		return
	}
	r.state.Best = nil
	for _, t := range r.state.Params {
		r.state.Best = append(r.state.Best, slices.Clone(t.Values))
	}
}

// stopped says whether nothing has been gained for long enough. The early phase has none of the late one's gains yet,
// and does not count.
func (r *run) stopped() bool {
	return r.set.EarlyStop > 0 && r.state.Epoch-max(r.state.bestEpoch(), r.set.t0) >= r.set.EarlyStop
}

// takeBest puts the best epoch's parameters in place of the last one's.
func (r *run) takeBest() {
	for i, best := range r.state.Best {
		copy(r.state.Params[i].Values, best)
	}
}
