package engine

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/sweep"
)

// ParseSweep reads an experiment file: the experiment, and the settings outside
// it, by the keys of Config.
func ParseSweep(text []byte) (sweep.Experiment, map[string]any, error) {
	return sweep.Parse(text, ConfigKeys(), trainingKeys())
}

// trainingKeys lists the keys of Training: what a grid can vary.
func trainingKeys() []string { return keysOf(reflect.TypeFor[Training]()) }

// resolve is a sweep.Resolve: t with some keys set, and the defaults.
func (t Training) resolve(point map[string]any) (sweep.Settings, error) {
	for key, value := range point {
		if err := t.set(key, value); err != nil {
			return nil, err
		}
	}
	t.ensureDefaults()
	if err := t.validate(); err != nil {
		return nil, err
	}
	if kappa, err := calib.New(t.Kappa); err == nil {
		t.Kappa = fmt.Sprint(kappa) // one spelling for each estimator
	}
	s := sweep.Settings{}
	v := reflect.ValueOf(t)
	for _, f := range reflect.VisibleFields(v.Type()) {
		value := v.FieldByIndex(f.Index)
		if value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
		s[settingKey(f)] = value.Interface()
	}
	return s, nil
}

// trainingOf is the inverse of resolve.
func trainingOf(s sweep.Settings, seed uint64) (Training, error) {
	t := Training{Seed: seed}
	for key, value := range s {
		if err := t.set(key, value); err != nil {
			return t, err
		}
	}
	return t, nil
}

// set sets the field with that key to a value of YAML.
func (t *Training) set(key string, value any) error {
	v := reflect.ValueOf(t).Elem()
	for _, f := range reflect.VisibleFields(v.Type()) {
		if settingKey(f) != key {
			continue
		}
		field := reflect.New(f.Type) // of its own: a copy of t shares its pointers
		var node yaml.Node
		if err := node.Encode(value); err != nil || node.Decode(field.Interface()) != nil {
			return configError("%s: %v is no %s", key, value, kindOf(f.Type))
		}
		v.FieldByIndex(f.Index).Set(field.Elem())
		return nil
	}
	return configError("%s is no setting of a head", key)
}

// kindOf says what values a setting of that type takes.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "number"
	case reflect.Int:
		return "whole number"
	case reflect.Uint64:
		return "whole number from 0"
	}
	return fmt.Sprint(t)
}

// unset lists the keys of t that have their zero value.
func (t Training) unset() []string {
	var keys []string
	v := reflect.ValueOf(t)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if v.FieldByIndex(f.Index).IsZero() {
			keys = append(keys, settingKey(f))
		}
	}
	return keys
}

// withoutEffect lists the keys that t sets, but every block of the grid too.
func (t Training) withoutEffect(x sweep.Experiment) []string {
	blocks := map[string]int{}
	for _, b := range x.Grid {
		for _, axis := range b {
			blocks[axis.Key]++
		}
	}
	for _, key := range t.unset() {
		delete(blocks, key)
	}
	var keys []string
	for _, key := range trainingKeys() {
		if blocks[key] == len(x.Grid) && key != "seed" { // that of the settings holds out --val
			keys = append(keys, key)
		}
	}
	return keys
}
