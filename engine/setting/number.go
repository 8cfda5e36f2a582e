package setting

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/fault"
)

// number is what a numeric setting can be.
type number interface {
	~int | ~int64 | ~uint64 | ~float64
}

// Range says which numbers a setting takes. Each has two ends: what is far beyond any sense is a slip of the pen.
type Range struct {
	text string
	has  func(v float64) bool
}

// Seeds are all that a uint64 can be.
var Seeds = Between(0, uint64(math.MaxUint64))

// Between are the numbers from least to most, both included. It and its kin show their limits as those are given, times
// with units.
func Between[T number](least, most T) Range {
	return Range{fmt.Sprintf("between %v and %v", least, most),
		func(v float64) bool { return v >= float64(least) && v <= float64(most) }}
}

// Positive are the numbers above 0 up to most.
func Positive[T number](most T) Range {
	var zero T
	return Range{fmt.Sprintf("above %v and at most %v", zero, most),
		func(v float64) bool { return v > 0 && v <= float64(most) }}
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
	f := variable(key, typeName[T](), help, p, standard, decoder[T](r), within[T](r))
	f.Takes = r.text
	return f
}

// Optional is a number of which nil means the default, so that 0 is a value like others.
func Optional[T number](key string, p **T, standard T, r Range, help string) Field {
	check, decode := within[T](r), decoder[T](r)
	return Field{Key: key, Help: help, Type: typeName[T](), Takes: r.text, Default: fmt.Sprint(plain(standard)),
		set: func(value any) error {
			v, err := decode(value)
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
		usual: func() bool { return *p == nil || **p == standard },
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

// decoder takes a number exactly as it is written, or not at all; one that Go code gives by its shortest text.
func decoder[T number](r Range) func(value any) (T, error) {
	kind := typeName[T]()
	return func(value any) (T, error) {
		s, err := text[string](value)
		name := shown(value)
		if f, is := value.(float64); is {
			s = strconv.FormatFloat(f, 'f', -1, 64)
			name = s
		}
		var v any
		switch {
		case err != nil: // it is no text either
		case octal.MatchString(s):
			return 0, fmt.Errorf("%s may be meant as octal; write it without zeros before it", name)
		case kind == "duration":
			v, err = time.ParseDuration(s)
		case kind == "float":
			v, err = parseFloat(s)
		case kind == "uint":
			v, err = strconv.ParseUint(s, 10, 64)
		case typeIs[T, int]():
			v, err = strconv.Atoi(s)
		default:
			v, err = strconv.ParseInt(s, 10, 64)
		}
		switch {
		case errors.Is(err, strconv.ErrRange):
			return 0, fmt.Errorf("%s is not %s", name, r.text)
		case err != nil:
			return 0, fmt.Errorf("%s is no %s (%s)", name, words[kind], r.text)
		}
		n := v.(T)
		return n, r.check(float64(n), name)
	}
}

// octal is a number that C and YAML 1.1 read to the base of 8.
var octal = regexp.MustCompile(`^[+-]?0[0-9]+$`)

func typeIs[T, U any]() bool {
	_, is := any(*new(T)).(U)
	return is
}

// parseFloat refuses what is so small that it would be 0.
func parseFloat(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if mantissa, _, _ := strings.Cut(strings.ToLower(s), "e"); v == 0 && strings.ContainsAny(mantissa, "123456789") {
		err = cmp.Or(err, strconv.ErrRange)
	}
	return v, err
}

// words say what is written for a type.
var words = map[string]string{
	"duration": "time with its unit, as in 1m30s", "float": "number", "uint": "whole number",
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
	return "", fmt.Errorf("%s is no text; put it in quotes if it is meant as one", shown(value))
}

// shown is a value as its file has it, up to a length.
func shown(value any) string {
	s, is := value.(string)
	if !is || s == "" || strings.ContainsAny(s, " \t\r\n") {
		b, err := json.Marshal(value)
		if s = string(b); err != nil { // a NaN
			s = fmt.Sprint(value)
		}
	}
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100]) + "…"
	}
	return s
}

func boolean(value any) (bool, error) {
	switch text, _ := value.(string); {
	case value == true, strings.EqualFold(text, "true"):
		return true, nil
	case value == false, strings.EqualFold(text, "false"):
		return false, nil
	}
	return false, fmt.Errorf("%s is neither true nor false", shown(value))
}

// ParseBytes reads a number with kB, MB, GB or TB, or of bytes.
func ParseBytes(text string) (int64, error) {
	number, factor := strings.TrimSpace(strings.ToUpper(text)), 1.0
	number = strings.TrimSuffix(number, "B")
	for i, unit := range []string{"K", "M", "G", "T"} {
		if n, is := strings.CutSuffix(number, unit); is {
			number = n
			for range i + 1 {
				factor *= 1e3
			}
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n >= 0 && n*factor < 1e18) {
		return 0, fault.Config.Errorf("%q is no amount of bytes; write 20GB, 500MB or a number", text)
	}
	return int64(n * factor), nil
}
