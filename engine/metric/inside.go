package metric

// Inside says what was trained inside the backbone, and what a head alone does without.
type Inside struct {
	Adapt             string  `json:"adapt"`
	AdaptBlocks       int     `json:"adapt_blocks"`
	TrainedParameters int     `json:"trained_parameters"` // those of the head among them
	Frozen            *Frozen `json:"frozen,omitempty"`   // nil where there was no such head
}

// Frozen is how a head does that learnt on the features of the backbone as it was: with the same loss and settings, but
// for epochs, batch and learning rate, which are those that heads have by default, without warm-up.
type Frozen struct {
	BalancedAccuracy Number   `json:"balanced_accuracy"`
	Groups           Groups   `json:"groups"`
	Accuracy         []Number `json:"accuracy"` // [C], in the order of Metrics.PerClass
}

// OfFrozen takes from the metrics of a head what there is to compare with.
func OfFrozen(m Metrics) *Frozen {
	f := &Frozen{BalancedAccuracy: m.BalancedAccuracy, Groups: m.Groups}
	for _, c := range m.PerClass {
		f.Accuracy = append(f.Accuracy, c.Accuracy)
	}
	return f
}
