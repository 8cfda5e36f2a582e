// Package sweep is the bookkeeping of experiments: it reads an experiment file, expands its grid into configurations,
// and turns the heads that were trained for them into tables and comparisons. It trains nothing and knows no backbone.
//
// # Basics
//
// [Parse] reads an [Experiment]; its [Experiment.Plan] lists the distinct configurations with their seeds, as the
// caller resolves them. For each pair of configuration and seed the caller trains a head and keeps it as a [Head] (one
// JSON file each); [Summarize] makes of all heads a [Summary], which prints itself as text, Markdown and CSV; [ReadCSV]
// and [ReadHeads] read that back.
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
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine/fault"
)

// Experiment is what a file says beyond the settings that all heads share.
type Experiment struct {
	Name      string
	Grid      []Block
	Seeds     []uint64       // of every configuration; empty: as the settings say
	Baseline  map[string]any // settings of the one configuration that others are compared with; nil: none
	Selection Selection
	SelectBy  []string // settings; of the configurations that agree in them one is selected
}

// Block is a cartesian product.
type Block []Axis

// Axis is one key of a block with its values, one at least.
type Axis struct {
	Key    string
	Values []any // string, bool, int, uint64 or float64
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
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return x, nil, fault.Config.Errorf("not YAML: %v", err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return x, nil, fault.Config.Errorf("not a YAML map; an experiment has at least the key grid")
	}
	p := parser{grid: grid}
	p.each(doc.Content[0], "", func(key string, value *yaml.Node) {
		switch key {
		case "name":
			p.decode(value, key, &x.Name)
		case "grid":
			x.Grid = p.blocks(value)
		case "seeds":
			p.decode(value, key, &x.Seeds)
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
			p.decode(value, key, &x.Selection)
			if !slices.Contains([]Selection{SelectNone, SelectVal, SelectCV}, x.Selection) {
				p.fault(value, "selection: %q is none of none, val, cv", x.Selection)
			}
		case "select-by":
			p.decode(value, key, &x.SelectBy)
			for _, k := range x.SelectBy {
				if !slices.Contains(grid, k) {
					p.fault(value, "select-by: %s", unknown(k, grid))
				}
			}
		default:
			if !slices.Contains(base, key) {
				p.fault(value, "%s", unknown(key, slices.Concat(ExperimentKeys, base)))
				return
			}
			var v any
			p.decode(value, key, &v)
			shared[key] = v
		}
	})
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

// parser collects faults.
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

func (p *parser) decode(n *yaml.Node, key string, into any) {
	if err := n.Decode(into); err != nil {
		text := strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "yaml: unmarshal errors: ")
		p.add("%s: %s", key, text)
	}
}

// each visits the keys of a map.
func (p *parser) each(n *yaml.Node, where string, visit func(key string, value *yaml.Node)) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if seen[key] {
			p.fault(n.Content[i], "%skey %q is there twice", where, key)
			continue
		}
		seen[key] = true
		visit(key, resolved(n.Content[i+1]))
	}
}

func (p *parser) blocks(n *yaml.Node) []Block {
	blocks := []Block{}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		p.fault(n, "grid: it is a list of blocks, such as [{loss: [ce, la, cvs]}]")
		return blocks
	}
	for i, item := range n.Content {
		blocks = append(blocks, p.block(resolved(item), fmt.Sprintf("grid, block %d", i+1)))
	}
	return blocks
}

func (p *parser) block(n *yaml.Node, where string) Block {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		p.fault(n, "%s: it is a map from settings to a value or a list of values", where)
		return nil
	}
	var b Block
	p.each(n, where+": ", func(key string, value *yaml.Node) {
		if !slices.Contains(p.grid, key) {
			p.fault(value, "%s: %s", where, unknown(key, p.grid))
			return
		}
		items := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			items = value.Content
		}
		axis := Axis{Key: key}
		for _, item := range items {
			item = resolved(item)
			var v any
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" || item.Decode(&v) != nil || !scalar(v) {
				p.fault(item, "%s: %s: each value is a text, a number, true or false", where, key)
				return
			}
			axis.Values = append(axis.Values, v)
		}
		if axis.Values == nil {
			p.fault(value, "%s: %s has no value; leave the key out for its default", where, key)
			return
		}
		b = append(b, axis)
	})
	return b
}

func scalar(v any) bool {
	switch v.(type) {
	case string, bool, int, uint64, float64:
		return true
	}
	return false
}

// resolved follows an alias.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func unknown(key string, known []string) string {
	return fmt.Sprintf("unknown key %q; known keys: %s", key, strings.Join(known, ", "))
}

// MarshalYAML gives the form that Parse reads.
func (x Experiment) MarshalYAML() (any, error) {
	grid := make([]yaml.Node, len(x.Grid))
	for i, b := range x.Grid {
		grid[i] = yaml.Node{Kind: yaml.MappingNode}
		for _, axis := range b {
			var key, values yaml.Node
			if err := errors.Join(key.Encode(axis.Key), values.Encode(axis.Values)); err != nil {
				return nil, err
			}
			values.Style = yaml.FlowStyle
			grid[i].Content = append(grid[i].Content, &key, &values)
		}
	}
	return struct {
		Name      string         `yaml:"name,omitempty"`
		Grid      []yaml.Node    `yaml:"grid"`
		Seeds     []uint64       `yaml:"seeds,omitempty,flow"`
		Baseline  map[string]any `yaml:"baseline,omitempty,flow"`
		Selection Selection      `yaml:"selection"`
		SelectBy  []string       `yaml:"select-by,omitempty,flow"`
	}{x.Name, grid, x.Seeds, x.Baseline, x.Selection, x.SelectBy}, nil
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

// Format prints a value as tables show it: of a number the shortest text that reads back as it, nothing for NaN.
func Format(v any) string {
	f, ok := v.(float64)
	switch {
	case ok && math.IsNaN(f):
		return ""
	case ok:
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}
