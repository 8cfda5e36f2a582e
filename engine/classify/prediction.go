package classify

import (
	"cmp"
	"slices"
)

// Prediction is what a model says of one image.
type Prediction struct {
	Label         string    // of the class with the largest logit
	Class         int       // its index among the labels
	Confidence    float32   // its probability
	Probabilities []float32 // [C], calibrated if the run was
	Logits        []float32 // [C], raw; of an export for pipelines those that the probabilities are the softmax of
	Embedding     []float32 // [D], the backbone's feature; nil if the model does not give it
	labels        []string
}

// LabelOf is the name of class i.
func (p Prediction) LabelOf(i int) string { return p.labels[i] }

// Classified is the Prediction of one image of several, or why there is none.
type Classified struct {
	Prediction
	Err error
}

// Score is a class and how sure the model is of it.
type Score struct {
	Label      string  `json:"label"`
	Confidence float32 `json:"confidence"`
}

// Top returns the k classes with the largest logits, the largest first; all if there are no more.
func (p Prediction) Top(k int) []Score {
	order := make([]int, len(p.Logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.Logits[b], p.Logits[a]) })
	top := make([]Score, min(max(k, 0), len(order)))
	for i := range top {
		top[i] = Score{p.labels[order[i]], p.Probabilities[order[i]]}
	}
	return top
}
