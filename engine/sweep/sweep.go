// Package sweep runs experiments on features: it reads an experiment file, expands its grid into configurations, trains
// their heads, and turns these into tables and comparisons. It knows no images, backbones and files.
//
// # Basics
//
// [Parse] reads an [Experiment]; its [Experiment.Plan] lists the distinct configurations with their seeds, whose
// settings [Resolver] completes. A [Trainer] trains a [Head] for each pair of configuration and seed that the caller
// has not kept yet (one JSON file each); [Summarize] makes of all heads a [Summary], which prints itself as text,
// Markdown and CSV; [ReadCSV] and [ReadHeads] read that back.
//
// # Statistics
//
// Spreads over seeds are means with the standard deviation of n − 1. [Compare] compares two configurations on the same
// test images, image by image, with a confidence interval; see there. What is marked as selected was chosen by its
// score on validation data or by cross-validation, of the test set nothing is ever chosen.
package sweep

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/yamlmap"
)

// Experiment is what a file says beyond the settings that all heads share.
type Experiment struct {
	Name      string         `yaml:"name,omitempty"`
	Grid      []Block        `yaml:"grid"`
	Seeds     []uint64       `yaml:"seeds,omitempty,flow"`    // of every configuration; empty: as the settings say
	Baseline  map[string]any `yaml:"baseline,omitempty,flow"` // of the one that others are compared with; nil: none
	Selection Selection      `yaml:"selection"`
	SelectBy  []string       `yaml:"select-by,omitempty,flow"` // of the configurations that agree in them one is selected
}

// Block is a cartesian product.
type Block []Axis

// Axis is one key of a block with its values, one at least.
type Axis struct {
	Key    string
	Values []any // as setting.Field.Set takes them
}

// Selection says on what data the best configuration is chosen.
type Selection string

// The ways to select.
const (
	SelectNone Selection = "none"
	SelectVal  Selection = "val" // the validation set
	SelectCV   Selection = "cv"  // out-of-fold predictions on the training set
)

// ExperimentKeys are the keys of a file that are an Experiment's.
var ExperimentKeys = []string{"name", "grid", "seeds", "baseline", "selection", "select-by"}

// maxHeads bounds the size of a grid: more is a slip of the pen.
const maxHeads = 100_000

// Parse reads an experiment file. It returns the experiment and the settings that all heads share, whose keys must be
// among base. A block of the grid has keys among grid only. All faults are reported at once.
func Parse(text []byte, base, grid []string) (Experiment, map[string]any, error) {
	x, shared := Experiment{Selection: SelectNone}, map[string]any{}
	entries, err := yamlmap.Read(text)
	if err != nil {
		return x, nil, fault.Config.Errorf("%w", err)
	}
	p := parser{grid: grid}
	for _, e := range entries {
		key, value := e.Key, e.Value
		switch key {
		case "name":
			p.set(e, setting.Text(key, &x.Name, "", nil, ""))
		case "grid":
			x.Grid = p.blocks(value)
		case "seeds":
			var all []string
			p.set(e, setting.List(key, &all, ""))
			for _, text := range all {
				x.Seeds = append(x.Seeds, 0)
				p.check(e, setting.Number(key, &x.Seeds[len(x.Seeds)-1], 0, setting.Seeds, "").Set(text))
			}
			slices.Sort(x.Seeds)
			x.Seeds = slices.Compact(x.Seeds)
		case "baseline":
			x.Baseline = map[string]any{}
			for _, axis := range p.block(value, "baseline") {
				if len(axis.Values) > 1 {
					p.fault(value, "baseline: %s has %d values; it is one configuration", axis.Key, len(axis.Values))
				}
				x.Baseline[axis.Key] = axis.Values[0]
			}
		case "selection":
			all := []Selection{SelectNone, SelectVal, SelectCV}
			p.set(e, setting.OneOf(key, &x.Selection, SelectNone, all, ""))
		case "select-by":
			p.set(e, setting.List(key, &x.SelectBy, ""))
			for _, k := range x.SelectBy {
				if !slices.Contains(grid, k) {
					p.fault(value, "select-by: %s", unknown(k, grid))
				}
			}
		default:
			if !slices.Contains(base, key) {
				p.fault(value, "%s", unknown(key, slices.Concat(ExperimentKeys, base)))
			} else if v, err := yamlmap.Value(value); err != nil {
				p.fault(value, "%s: %v", key, err)
			} else {
				shared[key] = v
			}
		}
	}
	if x.Grid == nil && p.faults == nil {
		p.add("there is no grid: give grid: a list of blocks, such as [{loss: [ce, la, cvs]}]")
	}
	if n := x.heads(); n > maxHeads {
		p.add("the grid has more than %d heads; make it smaller", maxHeads)
	}
	for i, b := range x.Grid {
		if len(x.Seeds) > 0 && slices.ContainsFunc(b, func(a Axis) bool { return a.Key == "seed" }) {
			p.add("grid, block %d: it has seed, and the experiment has seeds; give one of them", i+1)
		}
	}
	return x, shared, errors.Join(p.faults...)
}

type parser struct {
	grid   []string
	faults []error
}

func (p *parser) add(format string, a ...any) {
	p.faults = append(p.faults, fault.Config.Errorf(format, a...))
}

func (p *parser) fault(at *yaml.Node, format string, a ...any) {
	p.add("line %d: %s", at.Line, fmt.Sprintf(format, a...))
}

// set sets a field of the experiment.
func (p *parser) set(e yamlmap.Entry, f setting.Field) {
	v, err := yamlmap.Value(e.Value)
	if err != nil {
		err = fmt.Errorf("%s: %w", e.Key, err)
	} else if _, list := v.([]any); f.Type == "list" && !list {
		err = fmt.Errorf("%s: %v is no list", e.Key, v)
	} else {
		err = f.Set(v)
	}
	p.check(e, err)
}

func (p *parser) check(e yamlmap.Entry, err error) {
	if err != nil {
		p.fault(e.Value, "%v", err)
	}
}

func (p *parser) blocks(n *yaml.Node) []Block {
	blocks := []Block{}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		p.fault(n, "grid: it is a list of blocks, such as [{loss: [ce, la, cvs]}]")
		return blocks
	}
	for i, item := range n.Content {
		blocks = append(blocks, p.block(item, fmt.Sprintf("grid, block %d", i+1)))
	}
	return blocks
}

func (p *parser) block(n *yaml.Node, where string) Block {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		p.fault(n, "%s: it is a map from settings to a value or a list of values", where)
		return nil
	}
	var b Block
	for _, e := range yamlmap.Entries(n) {
		if !slices.Contains(p.grid, e.Key) {
			p.fault(e.Value, "%s: %s", where, unknown(e.Key, p.grid))
			continue
		}
		v, err := yamlmap.Value(e.Value)
		axis := Axis{Key: e.Key, Values: []any{v}}
		if list, is := v.([]any); is {
			axis.Values = list
		}
		switch {
		case err != nil:
			p.fault(e.Value, "%s: %s: %v", where, e.Key, err)
		case len(axis.Values) == 0:
			p.fault(e.Value, "%s: %s has no value; leave the key out for its default", where, e.Key)
		default:
			b = append(b, axis)
		}
	}
	return b
}

func unknown(key string, known []string) string {
	return fmt.Sprintf("unknown key %q; %s", key, setting.Known(key, known))
}

// MarshalYAML gives the form that Parse reads.
func (b Block) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, axis := range b {
		var key, values yaml.Node
		if err := errors.Join(key.Encode(axis.Key), values.Encode(axis.Values)); err != nil {
			return nil, err
		}
		values.Style = yaml.FlowStyle
		node.Content = append(node.Content, &key, &values)
	}
	return node, nil
}

// heads counts the grid's points times seeds, up to just above maxHeads.
func (x Experiment) heads() int {
	total := 0
	for _, b := range x.Grid {
		n := max(1, len(x.Seeds))
		for _, a := range b {
			n = min(n*len(a.Values), maxHeads+1)
		}
		total = min(total+n, maxHeads+1)
	}
	return total
}

// points lists the value combinations of a block, the last key varying fastest.
func (b Block) points() []map[string]any {
	points := []map[string]any{{}}
	for _, axis := range b {
		var next []map[string]any
		for _, p := range points {
			for _, v := range axis.Values {
				q := maps.Clone(p)
				q[axis.Key] = v
				next = append(next, q)
			}
		}
		points = next
	}
	return points
}

// Format prints a value as tables show it: of a number the shortest text that reads back as it, nothing for NaN
// and for a setting that a configuration does not have.
func Format(v any) string {
	f, ok := v.(float64)
	switch {
	case v == nil || ok && math.IsNaN(f):
		return ""
	case ok:
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}
