package sweep

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/metric"
)

// Summary is the outcome of a sweep.
type Summary struct {
	Name           string    `json:"name"`
	Keys           []string  `json:"keys"` // the settings in which configurations differ
	Selection      Selection `json:"selection"`
	Heads          []HeadRow `json:"-"`
	Configurations []Line    `json:"configurations"` // in the order of the grid
}

// Line is what the heads of one configuration did on the test set.
type Line struct {
	Configuration string            `json:"configuration"`
	Settings      Settings          `json:"settings"`
	Seeds         int               `json:"seeds"`
	Failed        int               `json:"failed"` // of them
	Baseline      bool              `json:"baseline"`
	Selected      bool              `json:"selected"`
	Metrics       map[string]Spread `json:"metrics"`
	Selection     Spread            `json:"selection"`
	Difference    *Comparison       `json:"difference"` // from the baseline; nil for itself and where there is none
	Seconds       float64           `json:"seconds"`    // of all seeds
	Warnings      []string          `json:"warnings,omitempty"`
}

// Compared is Difference, all of NaN where there is none.
func (l Line) Compared() Comparison {
	nan := math.NaN()
	return *cmp.Or(l.Difference, &Comparison{Difference: nan, Low: nan, High: nan, SeedStd: nan})
}

// Marks are what tables add to the name of a selected configuration and the baseline.
func (l Line) Marks() (marks string) {
	if l.Selected {
		marks += " *"
	}
	if l.Baseline {
		marks += " (baseline)"
	}
	return marks
}

// HeadRow is one head in heads.csv.
type HeadRow struct {
	Head
	Configuration string
	Scores        map[string]float64
	Warnings      string // of its metrics
}

// Summarize makes the tables of a plan. head gives the head of a configuration and seed. Labels are the classes of the
// test images, out of so many classes.
//
// Of each group of configurations the one with the best mean selection score is selected, the first of equals; one that
// failed with any seed cannot be.
func Summarize(x Experiment, p *Plan, head func(configuration int, seed uint64) Head,
	labels []int, classes int) *Summary {
	s := &Summary{Name: x.Name, Keys: p.Keys, Selection: x.Selection}
	columns := metric.Columns()
	predicted := make([]map[uint64][]int, len(p.Configurations))
	baseline := slices.IndexFunc(p.Configurations, func(c Configuration) bool { return c.Baseline })
	for i, c := range p.Configurations {
		predicted[i] = map[uint64][]int{}
		line := Line{Configuration: c.Name, Settings: c.Settings, Seeds: len(c.Seeds), Baseline: c.Baseline}
		line.Metrics = map[string]Spread{}
		values := map[string][]float64{}
		for _, seed := range c.Seeds {
			h := HeadRow{Head: head(i, seed), Configuration: c.Name, Scores: map[string]float64{}}
			if h.Metrics != nil && h.Metrics.Warnings != nil {
				h.Warnings = strings.Join(h.Metrics.Warnings, "; ")
				line.Warnings = append(line.Warnings, fmt.Sprintf("seed %d: %s", seed, h.Warnings))
			}
			for _, c := range columns {
				v := math.NaN()
				if h.Metrics != nil {
					v = c.Of(h.Metrics)
				}
				if h.Scores[c.Key] = v; !math.IsNaN(v) {
					values[c.Key] = append(values[c.Key], v)
				}
			}
			s.Heads = append(s.Heads, h)
			line.Seconds += h.Seconds.total()
			if h.Error != "" {
				line.Failed++
				continue
			}
			predicted[i][seed] = h.Predicted
			if h.Selection != nil {
				values["selection"] = append(values["selection"], *h.Selection)
			}
		}
		for _, c := range columns {
			line.Metrics[c.Key] = spread(values[c.Key])
		}
		line.Selection = spread(values["selection"])
		s.Configurations = append(s.Configurations, line)
	}
	for i, c := range p.Configurations {
		if baseline >= 0 && i != baseline {
			difference := compareCommon(c.Seeds, predicted[i], predicted[baseline], labels, classes)
			s.Configurations[i].Difference = difference
		}
	}
	s.markSelected(p)
	return s
}

// compareCommon compares over the seeds that both have; nil if there is none.
func compareCommon(seeds []uint64, a, b map[uint64][]int, labels []int, classes int) *Comparison {
	var ofA, ofB [][]int
	for _, seed := range seeds {
		if a[seed] != nil && b[seed] != nil {
			ofA, ofB = append(ofA, a[seed]), append(ofB, b[seed])
		}
	}
	if ofA == nil {
		return nil
	}
	c := Compare(ofA, ofB, labels, classes)
	return &c
}

func (s *Summary) markSelected(p *Plan) {
	best := map[string]int{}
	for i, line := range s.Configurations {
		if line.Failed > 0 || math.IsNaN(line.Selection.Mean) {
			continue
		}
		group := p.Configurations[i].Group
		if j, ok := best[group]; !ok || line.Selection.Mean > s.Configurations[j].Selection.Mean {
			best[group] = i
		}
	}
	for _, i := range best {
		s.Configurations[i].Selected = true
	}
}

// Failed counts the heads that could not be trained.
func (s *Summary) Failed() int {
	n := 0
	for _, line := range s.Configurations {
		n += line.Failed
	}
	return n
}
