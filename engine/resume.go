package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// continueWith replaces c by the configuration of the run in the folder; what c
// sets itself must agree with it. It returns the metrics of a run that is
// finished, else nil.
func (r runFolder) continueWith(c *Config) (*Metrics, error) {
	path := r.path(configFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, configError("resume: there is no run to go on with in %s (no %s)", r, configFile)
	} else if err != nil {
		return nil, err
	}
	saved := Config{Out: c.Out, Library: c.Library}
	if err := yaml.Unmarshal(text, &saved); err != nil {
		return nil, dataError("%s is damaged: %v", path, err)
	}
	saved.EnsureDefaults()
	if err := c.compatible(saved); err != nil {
		return nil, err
	}
	*c = saved
	if !r.has(metricsFile) {
		return nil, nil
	}
	m := new(Metrics)
	return m, r.readJSON(metricsFile, m)
}

// compatible reports every setting of c, other than a zero value, that is not
// as in the configuration of the run to resume.
func (c *Config) compatible(saved Config) error {
	full := *c
	full.EnsureDefaults()
	given, resolved, old := reflect.ValueOf(*c), reflect.ValueOf(full), reflect.ValueOf(saved)
	var faults []string
	for _, f := range reflect.VisibleFields(given.Type()) {
		key := settingKey(f)
		if key == "" || given.FieldByIndex(f.Index).IsZero() {
			continue
		}
		want, have := resolved.FieldByIndex(f.Index).Interface(), old.FieldByIndex(f.Index).Interface()
		if !reflect.DeepEqual(want, have) {
			faults = append(faults, fmt.Sprintf("%s is %v, was %v", key, show(want), show(have)))
		}
	}
	if faults != nil {
		return configError("resume: the run in %s has other settings (%s); leave them out, or start a run anew", saved.Out, strings.Join(faults, "; "))
	}
	return nil
}

// settingKey is the key of a Config field, or empty for one that has none.
func settingKey(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "-" || f.Anonymous {
		return ""
	}
	return key
}

// ConfigKeys lists the keys of Config, in the order of its fields: the flags,
// the keys of YAML files, and with VITFT_ before them the environment.
func ConfigKeys() []string { return keysOf(reflect.TypeFor[Config]()) }

func keysOf(t reflect.Type) []string {
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		if key := settingKey(f); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func show(v any) any {
	if p, ok := v.(*float64); ok && p != nil {
		return *p
	}
	return v
}
