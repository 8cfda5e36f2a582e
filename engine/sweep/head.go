package sweep

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"github.com/vitft/vitft/engine/metric"
)

// Head is one trained head: what its file heads/ID.json holds.
type Head struct {
	ID       string   `json:"id"`
	Version  string   `json:"vitft"` // the program that trained it
	Settings Settings `json:"settings"`
	Seed     uint64   `json:"seed"`

	// Error says why there is no head; what follows is then empty.
	Error string `json:"error,omitempty"`

	Metrics   *metric.Metrics `json:"metrics,omitempty"`   // on the test set
	Predicted Classes         `json:"predicted,omitempty"` // for each test image in order
	Selection *float64        `json:"selection,omitempty"` // balanced accuracy on the data that selection looks at

	Seconds Seconds `json:"seconds"`

	Sum string `json:"sha256"` // of the file; whoever keeps it there writes and checks it
}

// Seconds says where a head's time went; heads are trained side by side.
type Seconds struct {
	Train    float64 `json:"train"`
	Select   float64 `json:"select"` // scoring and calibration, with the heads of folds
	Evaluate float64 `json:"evaluate"`
}

func (s Seconds) total() float64 { return s.Train + s.Select + s.Evaluate }

// Classes are predicted classes. In JSON they are the base64 of their varints: a byte or two an image.
type Classes []int

// MarshalJSON writes the compact form.
func (c Classes) MarshalJSON() ([]byte, error) {
	b := []byte{}
	for _, k := range c {
		b = binary.AppendUvarint(b, uint64(k))
	}
	return json.Marshal(b)
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
