package setting

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// number is what a numeric setting can be.
type number interface {
	~int | ~int64 | ~uint64 | ~float64
}

// Range says which numbers a setting takes.
type Range struct {
	text string
	has  func(v float64) bool
}

// AtLeast are the finite numbers from least on. It and its kin show their limits as those are given, times with units.
func AtLeast[T number](least T) Range {
	return Range{fmt.Sprintf("at least %v", least), func(v float64) bool { return v >= float64(least) }}
}

// Above are the finite numbers above a limit.
func Above[T number](limit T) Range {
	return Range{fmt.Sprintf("above %v", limit), func(v float64) bool { return v > float64(limit) }}
}

// Between are the numbers from least to most, both included.
func Between[T number](least, most T) Range {
	return Range{fmt.Sprintf("between %v and %v", least, most),
		func(v float64) bool { return v >= float64(least) && v <= float64(most) }}
}

// Within are the numbers above least (or from least on, if closed) and below most.
func Within(least, most float64, closed bool) Range {
	text := fmt.Sprintf("above %v and below %v", least, most)
	if closed {
		text = fmt.Sprintf("from %v to below %v", least, most)
	}
	return Range{text, func(v float64) bool { return (v > least || closed && v == least) && v < most }}
}

// Or widens a range by one number.
func (r Range) Or(v float64, meaning string) Range {
	return Range{fmt.Sprintf("%v (%s) or %s", v, meaning, r.text), func(w float64) bool { return w == v || r.has(w) }}
}

// check refuses what is outside. NaN and infinities are in no range.
func (r Range) check(v float64, shown string) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || r.has != nil && !r.has(v) {
		return fmt.Errorf("%s is not %s", shown, r.text)
	}
	return nil
}

// Number is a number of which 0 means the default, so r must not have 0 unless that is the default.
func Number[T number](key string, p *T, standard T, r Range, help string) Field {
	return variable(key, typeName[T](), help, p, standard, decode[T], within[T](r))
}

// Optional is a number of which nil means the default, so that 0 is a value like others.
func Optional[T number](key string, p **T, standard T, r Range, help string) Field {
	check := within[T](r)
	return Field{Key: key, Help: help, Type: typeName[T](), Default: fmt.Sprint(plain(standard)),
		set: func(value any) error {
			v, err := decode[T](value)
			if err == nil {
				err = check(v)
			}
			if err == nil {
				*p = &v
			}
			return err
		},
		get: func() any {
			if *p == nil {
				return nil
			}
			return plain(**p)
		},
		given: func() bool { return *p != nil },
		fill: func() {
			if *p == nil {
				*p = &standard
			}
		},
		check: func() error {
			if *p == nil {
				return nil
			}
			return check(**p)
		},
	}
}

func within[T number](r Range) func(T) error {
	return func(v T) error { return r.check(float64(v), fmt.Sprint(v)) }
}

func typeName[T number]() string {
	switch any(*new(T)).(type) {
	case time.Duration:
		return "duration"
	case float64:
		return "float"
	case uint64:
		return "uint"
	}
	return "int"
}

// plain is a value as files write it.
func plain(v any) any {
	if d, ok := v.(time.Duration); ok {
		return d.String()
	}
	return v
}

// decode takes a number exactly as it is written, or not at all; one of YAML or JSON by its shortest text.
func decode[T number](value any) (T, error) {
	s, err := text[string](value)
	if f, is := value.(float64); is {
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	var v any
	kind := typeName[T]()
	switch {
	case err != nil: // it is no text either
	case kind == "duration":
		v, err = time.ParseDuration(s)
	case kind == "float":
		v, err = strconv.ParseFloat(s, 64)
	case kind == "uint":
		v, err = strconv.ParseUint(s, 10, 64)
	default:
		var n int64
		n, err = strconv.ParseInt(s, 10, 64)
		v = n
		if _, is := any(*new(T)).(int); is {
			v = int(n)
		}
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%s is too large", s)
	case err != nil:
		return 0, fmt.Errorf("%v is no %s", value, words[kind])
	}
	return v.(T), nil
}

// words say what is written for a type.
var words = map[string]string{
	"duration": "time with its unit, as in 1m30s", "float": "number", "uint": "whole number from 0",
	"int": "whole number",
}

// text takes a string, or a number that stands for its own text; true and lists are no texts.
func text[T ~string](value any) (T, error) {
	switch v := value.(type) {
	case string:
		return T(v), nil
	case T:
		return v, nil
	case int, int64, uint64, float64:
		return T(fmt.Sprint(v)), nil
	}
	return "", fmt.Errorf("%v is no text; put it in quotes if it is meant as one", value)
}

func boolean(value any) (bool, error) {
	switch value {
	case true, "true":
		return true, nil
	case false, "false":
		return false, nil
	}
	return false, fmt.Errorf("%v is neither true nor false", value)
}
