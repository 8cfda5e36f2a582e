package run

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/yamlmap"
)

// Config is the settings of a run, or the experiment of a sweep, in the order of their file.
type Config []Entry

// Entry is one of them.
type Entry struct {
	Key   string
	Text  string // as it is shown; of a list of maps a line each
	Value any    // as setting.Field.Set takes it
	node  *yaml.Node
}

// ConfigOf are the settings that reproduce a run: all that are not empty, but for those of one call or machine.
func ConfigOf(fields []setting.Field) (Config, error) {
	var c Config
	for _, f := range fields {
		e := Entry{Key: f.Key, Text: f.Text(), Value: f.Value(), node: new(yaml.Node)}
		if e.Text == "" || f.Local {
			continue
		}
		if err := e.node.Encode(e.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Key, err)
		}
		c = append(c, e)
	}
	return c, nil
}

// With adds what v is in YAML, a map.
func (c Config) With(v any) (Config, error) {
	node := new(yaml.Node)
	if err := node.Encode(v); err != nil {
		return nil, err
	}
	if node.Kind != yaml.MappingNode {
		return nil, errors.New("it is no list of keys and values")
	}
	more, err := config(yamlmap.Entries(node))
	return slices.Concat(c, more), err
}

// Text is the value with a key as text; "" where it is not set.
func (c Config) Text(key string) string {
	if i := slices.IndexFunc(c, func(e Entry) bool { return e.Key == key }); i >= 0 {
		return c[i].Text
	}
	return ""
}

// Values are all values by key, as setting.Set takes them.
func (c Config) Values() map[string]any {
	values := map[string]any{}
	for _, e := range c {
		values[e.Key] = e.Value
	}
	return values
}

func (c Config) encode() ([]byte, error) {
	all := yaml.Node{Kind: yaml.MappingNode}
	for _, e := range c {
		key := new(yaml.Node)
		key.SetString(e.Key)
		all.Content = append(all.Content, key, e.node)
	}
	var b bytes.Buffer
	out := yaml.NewEncoder(&b)
	out.SetIndent(2)
	err := errors.Join(out.Encode(&all), out.Close())
	return b.Bytes(), err
}

func decodeConfig(text []byte) (Config, error) {
	all, err := yamlmap.Read(text)
	if err == nil && all == nil {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	return config(all)
}

func config(all []yamlmap.Entry) (c Config, err error) {
	for _, from := range all {
		e := Entry{Key: from.Key, node: from.Value}
		if e.Value, err = yamlmap.Value(e.node); err != nil {
			err = e.node.Decode(&e.Value) // a grid, which is no setting
		}
		if err == nil {
			e.Text, err = shown(e.node)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", from.Line, e.Key, err)
		}
		c = append(c, e)
	}
	return c, nil
}

// shown is a scalar's text. What is none is in YAML's flow style, a list's elements a line each.
func shown(value *yaml.Node) (string, error) {
	lines := []*yaml.Node{value}
	complex := func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode }
	if value.Kind == yaml.SequenceNode && slices.ContainsFunc(value.Content, complex) {
		lines = value.Content
	}
	var text []string
	for _, n := range lines {
		if n.Kind == yaml.ScalarNode {
			text = append(text, n.Value)
			continue
		}
		flow := *n
		flow.Style = yaml.FlowStyle
		line, err := yaml.Marshal(&flow)
		if err != nil {
			return "", err
		}
		text = append(text, strings.Join(strings.Fields(string(line)), " "))
	}
	return strings.Join(text, "\n"), nil
}
