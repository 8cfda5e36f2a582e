// Package yamlmap reads a YAML file of settings as it is written: YAML's own readers bend 010 to 8 and 2^64 to 2^63,
// lose the second of two documents, and give a key without a value the zero value.
package yamlmap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Entry is a key of the map, in the order of the file.
type Entry struct {
	Key   string
	Line  int
	Value *yaml.Node // without aliases
}

// maxNodes bounds what aliases make of a file.
const maxNodes = 1_000_000

// Read reads a file that is one map; nil for one that says nothing. Aliases in it are resolved; a key that is there
// twice, anywhere, is refused.
func Read(text []byte) ([]Entry, error) {
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	if err := documents.Decode(&doc); err != nil && err != io.EOF {
		return nil, said(err)
	}
	if err := documents.Decode(&next); err == nil {
		return nil, fmt.Errorf("line %d: more than one YAML document; the second would be lost", next.Line)
	} else if err != io.EOF {
		return nil, said(err)
	}
	if doc.Kind == 0 {
		return nil, nil
	}
	root := doc.Content[0]
	nodes := 0
	if err := resolve(root, nil, &nodes); err != nil {
		return nil, err
	}
	if root.ShortTag() == "!!null" {
		return nil, nil
	} else if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: not a YAML map of keys and values", root.Line)
	}
	return Entries(root), nil
}

// Entries are the keys of a map that Read has looked at.
func Entries(n *yaml.Node) []Entry {
	all := []Entry{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, Entry{n.Content[i].Value, n.Content[i].Line, n.Content[i+1]})
	}
	return all
}

// said is an error of the YAML library on one line.
func said(err error) error {
	return fmt.Errorf("not YAML: %s", strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "yaml: "))
}

// resolve puts what aliases stand for in their place and looks for keys that are twice in a map.
func resolve(n *yaml.Node, above []*yaml.Node, nodes *int) error {
	if *nodes++; *nodes > maxNodes {
		return fmt.Errorf("its aliases make it larger than %d values", maxNodes)
	}
	n.Anchor = ""
	above = append(above, n)
	seen := map[string]bool{}
	for i, child := range n.Content {
		if child.Kind == yaml.AliasNode {
			if slices.Contains(above, child.Alias) {
				return fmt.Errorf("line %d: %q contains itself", child.Line, child.Value)
			}
			child = child.Alias
			n.Content[i] = child
		}
		if n.Kind == yaml.MappingNode && i%2 == 0 { // a key
			switch {
			case child.ShortTag() == "!!merge":
				return fmt.Errorf("line %d: merge keys (<<) are not taken; write the keys out", child.Line)
			case child.Kind != yaml.ScalarNode:
				return fmt.Errorf("line %d: a key is no text", child.Line)
			case seen[child.Value]:
				return fmt.Errorf("line %d: key %q is there twice", child.Line, child.Value)
			}
			seen[child.Value] = true
		}
		if err := resolve(child, above, nodes); err != nil {
			return err
		}
	}
	return nil
}

// Value is what setting.Field.Set takes of a value: a text, true or false, a number that Go writes as it is written
// here and any other as its text, or a list of those.
func Value(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return scalar(n)
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, errors.New("a list of lists or maps is no value of a setting")
			}
			v, err := scalar(item)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	return nil, errors.New("a map is no value of a setting")
}

func scalar(n *yaml.Node) (any, error) {
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp":
		return n.Value, nil
	case "!!bool", "!!binary":
		var v any
		err := n.Decode(&v)
		return v, err
	case "!!int", "!!float":
		if v, err := strconv.Atoi(n.Value); err == nil && strconv.Itoa(v) == n.Value {
			return v, nil
		}
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil && fmt.Sprint(v) == n.Value && v != 0 { // -0 is text
			return v, nil
		}
		return n.Value, nil
	case "!!null":
		return nil, errors.New("it has no value; leave the key out for its default")
	default:
		return nil, fmt.Errorf("the tag %s is not known", tag)
	}
}
