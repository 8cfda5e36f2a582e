package sweep

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// Head is one trained head: what its file heads/ID.json holds.
type Head struct {
	ID       string   `json:"id"`
	Version  string   `json:"vitft"` // the program that trained it
	Settings Settings `json:"settings"`
	Seed     uint64   `json:"seed"`

	// Error says why there is no head; what follows is then empty.
	Error string `json:"error,omitempty"`

	Metrics   json.RawMessage `json:"metrics,omitempty"`   // on the test set, in the form of metrics.json
	Predicted Classes         `json:"predicted,omitempty"` // for each test image in order
	// Selection is balanced accuracy on the data that selection looks at.
	Selection *float64 `json:"selection,omitempty"`

	Seconds Seconds `json:"seconds"`
}

// Seconds says where a head's time went; heads are trained side by side.
type Seconds struct {
	Train    float64 `json:"train"`
	Select   float64 `json:"select"` // scoring and calibration, with the heads of folds
	Evaluate float64 `json:"evaluate"`
}

func (s Seconds) total() float64 { return s.Train + s.Select + s.Evaluate }

// Classes are predicted classes. In JSON they are the base64 of their varints:
// a byte or two an image.
type Classes []int

// MarshalJSON writes the compact form.
func (c Classes) MarshalJSON() ([]byte, error) {
	var b []byte
	for _, k := range c {
		b = binary.AppendUvarint(b, uint64(k))
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

// UnmarshalJSON reads the compact form.
func (c *Classes) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return err
	}
	*c = nil
	for len(b) > 0 {
		k, n := binary.Uvarint(b)
		if n <= 0 || k > math.MaxInt32 {
			return fmt.Errorf("predicted classes are damaged after %d", len(*c))
		}
		*c, b = append(*c, int(k)), b[n:]
	}
	return nil
}

// Metrics are the columns of the tables, in order. Those before calibration are
// empty unless the probabilities were calibrated.
var Metrics = []string{
	"top1", "balanced_accuracy", "many", "medium", "few", "worst_class",
	"ece", "ece_many", "ece_medium", "ece_few", "nll",
	"ece_before", "ece_before_many", "ece_before_medium", "ece_before_few", "nll_before",
}

// scores reads the tables' metrics off those of a head; NaN for what it lacks.
func (h Head) scores() (map[string]float64, error) {
	scores := map[string]float64{}
	for _, name := range Metrics {
		scores[name] = math.NaN()
	}
	if h.Error != "" {
		return scores, nil
	}
	type groups struct {
		Many, Medium, Few struct{ Accuracy, ECE *float64 }
	}
	var m struct {
		Top1        *float64
		Balanced    *float64 `json:"balanced_accuracy"`
		WorstClass  *float64 `json:"worst_class"`
		ECE, NLL    *float64
		Groups      groups
		Calibration struct {
			Before struct {
				ECE, NLL *float64
				Groups   groups
			}
		}
	}
	if err := json.Unmarshal(h.Metrics, &m); err != nil {
		return nil, fmt.Errorf("metrics of head %s: %w", h.ID, err)
	}
	before := m.Calibration.Before
	for i, v := range []*float64{
		m.Top1, m.Balanced, m.Groups.Many.Accuracy, m.Groups.Medium.Accuracy, m.Groups.Few.Accuracy, m.WorstClass,
		m.ECE, m.Groups.Many.ECE, m.Groups.Medium.ECE, m.Groups.Few.ECE, m.NLL,
		before.ECE, before.Groups.Many.ECE, before.Groups.Medium.ECE, before.Groups.Few.ECE, before.NLL,
	} {
		if v != nil {
			scores[Metrics[i]] = *v
		}
	}
	return scores, nil
}
