package sweep

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/engine/metric"
)

// ReadCSV reads the configurations that CSV has written, settings as texts. A metric that has no column is NaN.
func ReadCSV(text []byte) (*Summary, error) {
	s := &Summary{}
	names, columns := map[string]bool{}, metric.Columns()
	needed := []string{"configuration", "seeds", "failed", "baseline", "selected", "seconds",
		"difference", "difference_low", "difference_high", "difference_seed_std"}
	err := csvtable.Read(text, needed, func(header []string) error {
		if header[0] != needed[0] {
			return errors.New("its header does not begin with configuration")
		}
		s.Keys = header[1:slices.Index(header, "seeds")]
		return nil
	}, func(r *csvtable.Row) {
		l := Line{
			Configuration: r.Text("configuration"), Settings: Settings{}, Metrics: map[string]Spread{},
			Seeds: r.Whole("seeds"), Failed: r.Whole("failed"),
			Baseline: r.Text("baseline") == yes(true), Selected: r.Text("selected") == yes(true),
			Selection: spreadOf(r, "selection"), Seconds: number(r, "seconds"),
		}
		if names[l.Configuration] {
			r.Fault("configuration %q is there twice", l.Configuration)
		}
		names[l.Configuration] = true
		for _, key := range s.Keys {
			l.Settings[key] = r.Text(key)
		}
		if d := number(r, "difference"); !math.IsNaN(d) {
			low, high := number(r, "difference_low"), number(r, "difference_high")
			l.Difference = &Comparison{d, low, high, number(r, "difference_seed_std"), 0}
		}
		for _, c := range columns {
			l.Metrics[c.Key] = spreadOf(r, c.Key)
		}
		s.Configurations = append(s.Configurations, l)
	})
	if err == nil && len(s.Configurations) == 0 {
		err = errors.New("it has no configurations")
	}
	return s, err
}

// ReadHeads reads the heads that HeadsCSV has written, as far as they are in it: without predictions and settings.
func ReadHeads(text []byte) ([]HeadRow, error) {
	var heads []HeadRow
	columns := metric.Columns()
	err := csvtable.Read(text, []string{"id", "configuration", "seed", "status", "error"}, nil, func(r *csvtable.Row) {
		seed, err := strconv.ParseUint(r.Text("seed"), 10, 64)
		if err != nil {
			r.Fault("seed %q is no whole number from 0", r.Text("seed"))
		}
		h := HeadRow{Head: Head{ID: r.Text("id"), Seed: seed}, Configuration: r.Text("configuration"),
			Scores: map[string]float64{}, Warnings: r.Text("warnings")}
		if r.Text("status") == failed {
			h.Error = cmp.Or(r.Text("error"), failed)
		}
		if v := number(r, "selection"); !math.IsNaN(v) {
			h.Selection = &v
		}
		for _, c := range columns {
			h.Scores[c.Key] = number(r, c.Key)
		}
		heads = append(heads, h)
	})
	return heads, err
}

// number is a cell; NaN if it is empty, not finite, or beyond any metric.
func number(r *csvtable.Row, column string) float64 {
	if v := r.Number(column); math.Abs(v) < 1e9 {
		return v
	}
	return math.NaN()
}

func spreadOf(r *csvtable.Row, column string) Spread {
	return Spread{number(r, column), number(r, column+"_std")}
}
