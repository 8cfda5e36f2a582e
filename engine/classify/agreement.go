package classify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/engine/fault"
)

// Agreement compares what a classifier says of images with what another had said. Differences are of probabilities.
type Agreement struct {
	Images         int     // compared
	Same           int     // of them, given the same label
	Margin         float64 // where labels differ: how much surer the other was of its label than of this one's, at most
	Largest        float64 // difference of any class on any image
	Mean           float64 // over the images, of the largest on each
	marginOf, from string  // where Margin and Largest were found
}

// together bounds the images in memory while classifiers are compared.
const together = 64

// Agreement asks about n images, of which image gives the name and the encoded content, and compares the answers with
// labels [n] and probabilities [n, C] over these classes [C], which must be the classifier's own.
func (c *Classifier) Agreement(ctx context.Context, classes []string, n int,
	image func(i int) (name string, encoded []byte, err error), labels []int, probabilities []float32) (Agreement,
	error) {
	a := Agreement{Images: n}
	if err := c.tells(classes); err != nil {
		return a, err
	}
	width := len(classes)
	for at := 0; at < n; at += together {
		var names []string
		var encoded [][]byte
		for i := at; i < min(at+together, n); i++ {
			name, content, err := image(i)
			if err != nil {
				return a, err
			}
			names, encoded = append(names, name), append(encoded, content)
		}
		results, err := c.ClassifyBatch(ctx, encoded)
		if err != nil {
			return a, err
		}
		for j, r := range results {
			if r.Err != nil {
				return a, fmt.Errorf("%s: %w", names[j], r.Err)
			}
			a.add(names[j], labels[at+j], probabilities[(at+j)*width:(at+j+1)*width], r.Prediction)
		}
	}
	return a, nil
}

// AgreementOn is Agreement of a head alone, on embeddings [n, D] of these names.
func (c *Classifier) AgreementOn(ctx context.Context, classes, names []string, vectors []float32, labels []int,
	probabilities []float32) (Agreement, error) {
	a := Agreement{Images: len(names)}
	if err := c.tells(classes); err != nil {
		return a, err
	}
	said, err := c.ClassifyEmbeddings(ctx, vectors, len(names))
	for i, p := range said {
		a.add(names[i], labels[i], probabilities[i*len(classes):(i+1)*len(classes)], p)
	}
	return a, err
}

// tells refuses other classes than the classifier's.
func (c *Classifier) tells(classes []string) error {
	if slices.Equal(classes, c.says.Labels) {
		return nil
	}
	return fault.Data.Errorf("the model is of another run: it tells %s apart, where the run has %s",
		some(c.says.Labels), some(classes))
}

// some is a list, shortened.
func some(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%q and %d more", names[:5], len(names)-5)
	}
	return fmt.Sprintf("%q", names)
}

func (a *Agreement) add(name string, label int, probabilities []float32, p Prediction) {
	if p.Class == label {
		a.Same++
	} else if d := float64(probabilities[label] - probabilities[p.Class]); a.marginOf == "" || d > a.Margin {
		a.Margin, a.marginOf = d, fmt.Sprintf("%s, which is now %q with %.4f", name, p.Label, p.Confidence)
	}
	worst := 0.0
	for k, v := range probabilities {
		worst = max(worst, math.Abs(float64(v-p.Probabilities[k])))
	}
	if worst > a.Largest || math.IsNaN(worst) {
		a.from = name
	}
	a.Largest = max(a.Largest, worst) // NaN stays
	a.Mean += worst / float64(a.Images)
}

// Within refuses another label where the other was surer of its own by margin or more, and a probability that is off by
// more than difference.
func (a Agreement) Within(margin, difference float64) error {
	switch {
	case a.Same < a.Images && a.Margin >= margin:
		return fault.Data.Errorf("%d of %d images get another label than from the run, and not for a tie: "+
			"it was surer of its own by %.4f, %g is allowed, of %s",
			a.Images-a.Same, a.Images, a.Margin, margin, a.marginOf)
	case !(a.Largest <= difference):
		return fault.Data.Errorf("a probability is off by %.2g, more than %g, on %s", a.Largest, difference, a.from)
	}
	return nil
}
