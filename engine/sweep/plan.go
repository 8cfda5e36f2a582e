package sweep

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/fault"
)

// Settings are all settings of a head by key, defaults filled in, but for those that mean nothing to it.
type Settings map[string]any

// Plan is an experiment's grid, expanded: every configuration once.
type Plan struct {
	Keys           []string // loss, then the keys of the grid in which configurations differ
	Configurations []Configuration
}

// Configuration is a point of the grid, up to the seed.
type Configuration struct {
	Name     string   // the loss and what the grid sets other than its default: unique in a plan
	Settings Settings // without the seed
	Seeds    []uint64
	Baseline bool
	Group    string // equal for the configurations of which one is selected
}

// Resolve completes the settings of a point of the grid: those all heads share, and the defaults, which may depend on
// any of them. The result has a uint64 "seed".
type Resolve func(point map[string]any) (Settings, error)

// Plan expands the grid. Points that resolve to the same settings are one configuration.
func (x Experiment) Plan(resolve Resolve) (*Plan, error) {
	p := &Plan{}
	index := map[string]int{}
	var faults []error
	for i, block := range x.Grid {
		for _, point := range block.points() {
			if err := x.add(p, index, point, resolve); err != nil {
				faults = append(faults, fault.Config.Errorf("grid, block %d: %s: %v", i+1, describe(point), err))
				break // of its block: the others are likely to fail alike
			}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	p.Keys = x.varying(p.Configurations)
	for i := range p.Configurations {
		c := &p.Configurations[i]
		c.Group = c.Settings.text(x.SelectBy)
		var err error
		if c.Name, err = x.name(c.Settings, resolve); err != nil {
			return nil, err
		}
	}
	return p, x.markBaseline(p, resolve)
}

func (x Experiment) add(p *Plan, index map[string]int, point map[string]any, resolve Resolve) error {
	s, err := resolve(point)
	if err != nil {
		return err
	}
	seeds := x.Seeds
	if len(seeds) == 0 {
		seeds = []uint64{s["seed"].(uint64)}
	}
	delete(s, "seed")
	id := s.text(slices.Sorted(maps.Keys(s)))
	at, known := index[id]
	if !known {
		at = len(p.Configurations)
		index[id] = at
		p.Configurations = append(p.Configurations, Configuration{Settings: s})
	}
	c := &p.Configurations[at]
	for _, seed := range seeds {
		if !slices.Contains(c.Seeds, seed) {
			c.Seeds = append(c.Seeds, seed)
		}
	}
	return nil
}

// varying lists the loss and the grid's keys that have several values.
func (x Experiment) varying(all []Configuration) []string {
	constant := func(key string) bool {
		other := func(c Configuration) bool { return Format(c.Settings[key]) != Format(all[0].Settings[key]) }
		return !slices.ContainsFunc(all, other)
	}
	return append([]string{"loss"}, slices.DeleteFunc(x.keys(), constant)...)
}

// keys lists the grid's keys other than loss and seed, in their order.
func (x Experiment) keys() []string {
	var keys []string
	for _, block := range x.Grid {
		for _, axis := range block {
			if axis.Key != "loss" && axis.Key != "seed" && !slices.Contains(keys, axis.Key) {
				keys = append(keys, axis.Key)
			}
		}
	}
	return keys
}

// name is the loss and what else is not as usual with it: first what is below the head, which makes other things usual.
func (x Experiment) name(s Settings, resolve Resolve) (string, error) {
	point := map[string]any{}
	name := Format(s["loss"])
	var usual Settings
	for _, key := range []string{"loss", "adapt"} {
		v, has := s[key]
		if !has {
			continue
		}
		if usual != nil && Format(v) != Format(usual[key]) {
			name += fmt.Sprintf(" %s=%s", key, Format(v))
		}
		point[key] = v
		var err error
		if usual, err = resolve(maps.Clone(point)); err != nil {
			return "", err
		}
	}
	for _, key := range x.keys() {
		if v, has := s[key]; has && Format(v) != Format(usual[key]) {
			name += fmt.Sprintf(" %s=%s", key, Format(v))
		}
	}
	return name, nil
}

func (x Experiment) markBaseline(p *Plan, resolve Resolve) error {
	if x.Baseline == nil {
		return nil
	}
	want, err := resolve(x.Baseline)
	if err != nil {
		return fault.Config.Errorf("baseline: %v", err)
	}
	keys := slices.Sorted(maps.Keys(x.Baseline))
	var names []string
	found := -1
	for i, c := range p.Configurations {
		if c.Settings.text(keys) == want.text(keys) {
			found, names = i, append(names, c.Name)
		}
	}
	switch len(names) {
	case 0:
		return fault.Config.Errorf("baseline: no configuration has %s; add it to the grid", describe(x.Baseline))
	case 1:
		p.Configurations[found].Baseline = true
		return nil
	}
	return fault.Config.Errorf("baseline: %s is said of %d configurations (%s); name more of its settings",
		describe(x.Baseline), len(names), strings.Join(names, "; "))
}

// text prints the settings of some keys, unambiguously.
func (s Settings) text(keys []string) string {
	var b strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&b, "%s=%q\n", key, Format(s[key]))
	}
	return b.String()
}

func describe(point map[string]any) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(point)) {
		parts = append(parts, key+": "+Format(point[key]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
