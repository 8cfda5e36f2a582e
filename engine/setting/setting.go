// Package setting declares a setting once: its key, help, default, check and where its value is kept.
//
// # Basics
//
// A struct of settings lists its fields with a method:
//
//	func (o *Options) Fields() []setting.Field {
//		return []setting.Field{
//			setting.Number("epochs", &o.Epochs, 30, setting.Between(1, 1000), "epochs"),
//			setting.OneOf("optimizer", &o.Optimizer, "sgd", []string{"sgd", "adamw"}, "optimizer"),
//		}
//	}
//
// Flags, environment, configuration files, axes of a sweep, the comparison of a run that is resumed and the table in
// the documentation are made from that list. [Field.Set] takes a value exactly as it is written or refuses it by its
// key; [Fill] writes the defaults out; [Check] finds everything that is wrong.
//
// # Caveats
//
// The zero value of a variable means that it is not set; where 0 is a setting that differs from the default the
// variable is a pointer, see [Optional]. So an explicit 0 is never another value: where it is none that the setting
// takes, [Field.Set] refuses it. A default may depend on other settings (the learning rate on the optimiser): list the
// fields anew after those are set.
package setting

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/fault"
)

// Field is one setting, bound to the variable that holds it.
type Field struct {
	Key    string
	Help   string
	Type   string   // of the value: string, bool, int, uint, float, duration or list
	Values []string // the only ones it takes, if not nil
	Takes  string   // which numbers it takes
	Bare   string   // what a flag that stands alone means; "" where it needs a value
	Local  bool     // belongs to this call or machine: no part of what reproduces a run
	Room   string   // what it belongs to, such as "training"; a heading in the help

	// Default is what Fill writes, as text; "" where it is empty.
	Default string

	set   func(value any) error
	get   func() any
	given func() bool
	usual func() bool // it is the default, or not set
	fill  func()
	check func() error
}

// In says which room fields belong to. One that has a room already keeps it.
func In(room string, fields ...Field) []Field {
	for i := range fields {
		fields[i].Room = cmp.Or(fields[i].Room, room)
	}
	return fields
}

// Set sets the variable to a value that was written by hand or by [Field.Value]: text, or what YAML and JSON make of
// it.
func (f Field) Set(value any) error {
	if err := f.set(value); err != nil {
		return fault.Config.Errorf("%s: %w", f.Key, err)
	}
	return nil
}

// Value is what the variable holds, as a string, bool, int, uint64, float64 or a list; nil for a pointer that is.
func (f Field) Value() any { return f.get() }

// IsSet says whether the variable has another value than its zero value.
func (f Field) IsSet() bool { return f.given() }

// IsUsual says whether the variable is not set, or set to the default.
func (f Field) IsUsual() bool { return f.usual() }

// Text is Value as Set reads it; "" for nil.
func (f Field) Text() string {
	switch v := f.get().(type) {
	case nil:
		return ""
	case []string:
		return strings.Join(v, ",")
	default:
		return fmt.Sprint(v)
	}
}

// Alone lets a flag stand without a value, and says which it then means.
func (f Field) Alone(value string) Field { f.Bare = value; return f }

// Here marks the field as Local.
func (f Field) Here() Field { f.Local = true; return f }

// Fill writes the default into every variable that is not set.
func Fill(fields []Field) {
	for _, f := range fields {
		f.fill()
	}
}

// Check reports everything that is wrong with the values, each by its key.
func Check(fields []Field) error {
	var faults []error
	for _, f := range fields {
		if err := f.check(); err != nil {
			faults = append(faults, fault.Config.Errorf("%s: %w", f.Key, err))
		}
	}
	return errors.Join(faults...)
}

// Complete fills in the defaults and reports everything that is wrong.
func Complete(fields []Field) error {
	Fill(fields)
	return Check(fields)
}

// Keys lists the fields' keys.
func Keys(fields []Field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.Key
	}
	return keys
}

// Find returns the field with a key.
func Find(fields []Field, key string) (Field, bool) {
	i := slices.IndexFunc(fields, func(f Field) bool { return f.Key == key })
	if i < 0 {
		return Field{}, false
	}
	return fields[i], true
}

// Set sets several fields by key. A key that is none is refused.
func Set(fields []Field, values map[string]any) error {
	var faults []error
	for key, value := range values {
		f, ok := Find(fields, key)
		if !ok {
			faults = append(faults,
				fault.Config.Errorf("%s is no setting here; %s", key, Known(key, Keys(fields))))
		} else if err := f.Set(value); err != nil {
			faults = append(faults, err)
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// Given are the keys of the fields that are set, in their order.
func Given(fields []Field) []string {
	var keys []string
	for _, f := range fields {
		if f.given() {
			keys = append(keys, f.Key)
		}
	}
	return keys
}

// Unusual are those of the keys whose fields are set to another value than the default.
func Unusual(fields []Field, keys []string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		f, ok := Find(fields, key)
		return !ok || f.IsUsual()
	})
}

// Differences says for which of the keys two lists of the same fields have other values.
func Differences(keys []string, now, before []Field) []string {
	var texts []string
	for _, key := range keys {
		a, ok := Find(now, key)
		b, known := Find(before, key)
		if ok && known && a.Text() != b.Text() {
			texts = append(texts, fmt.Sprintf("%s is %s, was %s", key, a.Text(), b.Text()))
		}
	}
	return texts
}

// Text is a string; check may be nil.
func Text[T ~string](key string, p *T, standard T, check func(string) error, help string) Field {
	f := variable(key, "string", help, p, standard, nonEmpty(text[T], standard), func(v T) error {
		if check == nil || v == "" {
			return nil
		}
		return check(string(v))
	})
	f.get = func() any { return string(*p) }
	return f
}

// Path is the path of a file or folder; Fill makes it absolute, so that it means the same from any folder.
func Path(key string, p *string, standard, help string) Field {
	return PathOr(key, p, standard, func(string) (bool, error) { return false, nil }, help)
}

// PathOr is a path, or text that other knows as something else (a name, a number); with what is wrong with it. A
// file:// URL is the path in it; another URL stays as it is.
func PathOr(key string, p *string, standard string, other func(string) (bool, error), help string) Field {
	f := Text(key, p, standard, func(s string) error { _, err := other(s); return err }, help)
	fill := f.fill
	f.fill = func() {
		fill()
		if is, _ := other(*p); is || *p == "" {
			return
		}
		if u, err := url.Parse(*p); err == nil && strings.Contains(*p, "://") {
			if u.Scheme != "file" {
				return
			}
			*p = filepath.FromSlash(u.Path)
		}
		if abs, err := filepath.Abs(*p); err == nil {
			*p = abs
		}
	}
	return f
}

// LocalPath is Path of what is on this machine.
func LocalPath(key string, p *string, standard, help string) Field {
	return PathOr(key, p, standard, func(s string) (bool, error) {
		return false, Local(strings.TrimPrefix(s, "file://"))
	}, help)
}

// Local refuses a URL where a path of this machine must stand. It does not repeat what may be a secret.
func Local(path string) error {
	scheme, rest, found := strings.Cut(path, "://")
	if !found || strings.ContainsAny(scheme, `/\`) {
		return nil
	}
	rest, _, _ = strings.Cut(rest, "?")
	if _, after, user := strings.Cut(rest, "@"); user {
		rest = after
	}
	return fault.Config.Errorf("%s://%s must be a local path: a file or folder of this machine", scheme, rest)
}

// OneOf is one of a few strings.
func OneOf[T ~string](key string, p *T, standard T, values []T, help string) Field {
	var names []string
	for _, v := range values {
		names = append(names, string(v))
	}
	f := Text(key, p, standard, func(v string) error {
		if !slices.Contains(names, v) {
			return fmt.Errorf("%q is none of %s", v, strings.Join(names, ", "))
		}
		return nil
	}, help)
	f.Values = names
	return f
}

// Flag is true or false; false is the default.
func Flag(key string, p *bool, help string) Field {
	return variable(key, "bool", help, p, false, boolean, func(bool) error { return nil }).Alone("true")
}

// Parsed is a value with a text form of its own, which fmt.Sprint writes.
func Parsed[T comparable](key string, p *T, standard T, parse func(string) (T, error), help string) Field {
	f := variable(key, "string", help, p, standard, nonEmpty(func(value any) (T, error) {
		s, err := text[string](value)
		if err != nil {
			return *new(T), err
		}
		return parse(s)
	}, standard), func(T) error { return nil })
	f.get = func() any {
		if *p == *new(T) {
			return ""
		}
		return fmt.Sprint(*p)
	}
	return f
}

// nonEmpty refuses the empty text where it would silently become another, the default.
func nonEmpty[T comparable](decode func(any) (T, error), standard T) func(any) (T, error) {
	return func(value any) (T, error) {
		if value == "" && standard != *new(T) {
			return *new(T), fmt.Errorf(`"" is no value; leave it out for the default, %v`, standard)
		}
		return decode(value)
	}
}

// List is several strings, in a file a list of them, as a flag repeated.
func List(key string, p *[]string, help string) Field {
	return Field{Key: key, Help: help, Type: "list",
		set: func(value any) error {
			switch value := value.(type) {
			case []string:
				*p = slices.Clone(value)
			case []any:
				var list []string
				for _, v := range value {
					s, err := text[string](v)
					if err != nil {
						return err
					}
					list = append(list, s)
				}
				*p = list
			default:
				s, err := text[string](value)
				if err != nil {
					return err
				}
				*p = append(*p, s)
			}
			return nil
		},
		get:   func() any { return *p },
		given: func() bool { return len(*p) > 0 },
		usual: func() bool { return len(*p) == 0 },
		fill:  func() {},
		check: func() error { return nil },
	}
}

// variable binds a variable whose zero value means that it is not set.
func variable[T comparable](key, kind, help string, p *T, standard T, decode func(any) (T, error),
	check func(T) error) Field {
	var zero T
	f := Field{Key: key, Help: help, Type: kind,
		set: func(value any) error {
			v, err := decode(value)
			if err == nil {
				err = check(v)
			}
			if err == nil {
				*p = v
			}
			return err
		},
		get:   func() any { return plain(*p) },
		given: func() bool { return *p != zero },
		usual: func() bool { return *p == zero || *p == standard },
		fill: func() {
			if *p == zero {
				*p = standard
			}
		},
		check: func() error { return check(*p) },
	}
	if standard != zero {
		f.Default = fmt.Sprint(plain(standard))
	}
	return f
}
