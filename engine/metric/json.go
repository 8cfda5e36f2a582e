package metric

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/vitft/vitft/calib"
)

// Number is a value; NaN stands for "nothing to compute it from" and is null in JSON.
type Number float64

// MarshalJSON writes NaN and infinities as null.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.known() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads null as NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = nan
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// Text writes a value with so many decimals, and – for none.
func (n Number) Text(decimals int) string {
	if !n.known() {
		return "–"
	}
	return strconv.FormatFloat(float64(n), 'f', decimals, 64)
}

func (n Number) known() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// Text writes a value of a format for readers.
func (f Format) Text(n Number) string {
	if f == Share && n.known() {
		return fmt.Sprintf("%.1f %%", 100*float64(n))
	}
	return n.Text(3)
}

// MarshalJSON writes the content of metrics.json.
func (m Metrics) MarshalJSON() ([]byte, error) {
	type plain Metrics
	return m.Scores.insert(plain(m), func(Row) bool { return true })
}

// UnmarshalJSON reads metrics.json. A row that is missing there is NaN. Intervals follow from the rest, in files that
// have none, too.
func (m *Metrics) UnmarshalJSON(b []byte) error {
	type plain Metrics
	err := errors.Join(json.Unmarshal(b, (*plain)(m)), m.Scores.read(b))
	m.addIntervals()
	return err
}

// MarshalJSON writes the rows that calibration changes.
func (u Uncalibrated) MarshalJSON() ([]byte, error) {
	type plain Uncalibrated
	return u.Scores.insert(plain(u), func(r Row) bool { return r.Calibrated })
}

// UnmarshalJSON reads those rows. One that is missing is NaN.
func (u *Uncalibrated) UnmarshalJSON(b []byte) error {
	type plain Uncalibrated
	return errors.Join(json.Unmarshal(b, (*plain)(u)), u.Scores.read(b))
}

// insert puts rows before the groups of a JSON object. Within its texts quotation marks are escaped.
func (s Scores) insert(plain any, has func(Row) bool) ([]byte, error) {
	object, err := json.Marshal(plain)
	var rows []byte
	for _, r := range Rows {
		if has(r) {
			value, _ := json.Marshal(r.In(s)) // a number or null
			rows = fmt.Appendf(rows, "%q:%s,", r.Key, value)
		}
	}
	return slices.Insert(object, max(0, bytes.Index(object, []byte(`"groups":`))), rows...), err
}

func (s *Scores) read(object []byte) error {
	var values map[string]json.RawMessage
	err := json.Unmarshal(object, &values)
	for _, r := range Rows {
		*r.Field(s) = nan
		if text, ok := values[r.Key]; ok {
			if fault := json.Unmarshal(text, r.Field(s)); fault != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", r.Key, fault))
			}
		}
	}
	return err
}

// MarshalJSON writes the groups by name, most frequent first.
func (g Groups) MarshalJSON() ([]byte, error) {
	text := []byte("{")
	for _, shot := range calib.Shots() {
		value, _ := json.Marshal(g[shot]) // numbers
		text = fmt.Appendf(text, "%q:%s,", shot.String(), value)
	}
	text[len(text)-1] = '}'
	return text, nil
}

// UnmarshalJSON reads the groups by name. A value that is missing is NaN.
func (g *Groups) UnmarshalJSON(b []byte) error {
	var named map[string]json.RawMessage
	err := json.Unmarshal(b, &named)
	for _, shot := range calib.Shots() {
		g[shot] = GroupMetrics{Accuracy: nan, ECE: nan}
		if text, ok := named[shot.String()]; ok {
			err = errors.Join(err, json.Unmarshal(text, &g[shot]))
		}
	}
	return err
}
