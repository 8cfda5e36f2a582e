package calib

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Names lists the estimators that New knows, the default first.
func Names() []string { return []string{"slope", "vit", "ddc", "none"} }

// New returns the estimator that a specification names: a name of [Names], then, after a colon and with commas
// between, options, as in
//
//	slope
//	slope:by=label,bins=10,huber,shrink=auto,toward=global,crossfit=5
//	vit:min=0.05
//	ddc:max=5,ema=0
//
// "slope" is [Slope], with the options by=label|prediction|one-vs-rest, bins=N, equal-count, intercept, huber, pass,
// raw, min=X, max=X, ema=X, warmup=EPOCHS, shrink=auto|none|SAMPLES, toward=group|global, crossfit=FOLDS; "vit" is
// [ViT], with min=X; "ddc" is [DDC], with min=X, max=X, ema=X, warmup=EPOCHS; "none" is [One], κ ≡ 1. The String of an
// estimator is its specification, less what is default.
func New(spec string) (Estimator, error) {
	name, text, given := strings.Cut(spec, ":")
	var e Estimator
	var err error
	switch name {
	case "slope":
		var s Slope
		if err = parse(text, given, s.options()); err == nil {
			err = bounds(cmp.Or(s.Min, defaultMin), cmp.Or(s.Max, defaultMax))
		}
		e = s
	case "vit":
		var v ViT
		if err = parse(text, given, v.options()); err == nil {
			err = bounds(v.Min, 1)
		}
		e = v
	case "ddc":
		var d DDC
		if err = parse(text, given, d.options()); err == nil {
			err = bounds(cmp.Or(d.Min, 0.1), cmp.Or(d.Max, 1))
		}
		e = d
	case "none":
		err = parse(text, given, nil)
		e = One{}
	default:
		return nil, fmt.Errorf("unknown κ estimator %q: choose one of %s", name, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("κ estimator %q: %w", spec, err)
	}
	return e, nil
}

func (s Slope) String() string { return format("slope", s.options()) }
func (v ViT) String() string   { return format("vit", v.options()) }
func (d DDC) String() string   { return format("ddc", d.options()) }
func (One) String() string     { return "none" }

func (s *Slope) options() []option {
	return []option{
		choice("by", &s.Group, ByPrediction, ByLabel, OneVsRest),
		whole("bins", &s.Bins, 20, 1, 1000),
		flag("equal-count", &s.EqualCount),
		flag("intercept", &s.Intercept),
		flag("huber", &s.Huber),
		flag("pass", &s.FullPass),
		flag("raw", &s.Raw),
		positive("min", &s.Min, defaultMin),
		positive("max", &s.Max, defaultMax),
		share("ema", &s.Decay, 0),
		whole("warmup", &s.Warmup, 0, 0, math.MaxInt),
		shrinkage("shrink", &s.Shrink),
		choice("toward", &s.Toward, Group, Global),
		whole("crossfit", &s.CrossFit, 0, 2, 100),
	}
}

func (v *ViT) options() []option { return []option{positive("min", &v.Min, 0.1)} }

func (d *DDC) options() []option {
	return []option{
		positive("min", &d.Min, 0.1),
		positive("max", &d.Max, 1),
		share("ema", &d.Decay, 0.9),
		whole("warmup", &d.Warmup, 5, 0, math.MaxInt),
	}
}

func bounds(least, most float64) error {
	if least > most {
		return fmt.Errorf("min %g is above max %g", least, most)
	}
	return nil
}

// An option is one field of an estimator as text.
type option struct {
	name, allowed string             // allowed: what stands after "=", empty for a flag
	set           func(string) error // an error says what is allowed
	get           func() string      // empty: default
}

// parse sets options from text; given says that there was a colon before it.
func parse(text string, given bool, options []option) error {
	if !given {
		return nil
	}
	var usage, seen []string
	for _, o := range options {
		usage = append(usage, strings.TrimSuffix(o.name+"="+o.allowed, "="))
	}
	for item := range strings.SplitSeq(text, ",") {
		name, value, valued := strings.Cut(item, "=")
		i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
		switch {
		case i < 0 && len(options) == 0:
			return fmt.Errorf("it takes no options, but got %q", item)
		case i < 0:
			return fmt.Errorf("unknown option %q: choose from %s", item, strings.Join(usage, ", "))
		case slices.Contains(seen, name):
			return fmt.Errorf("option %q is given twice", name)
		case valued && options[i].allowed == "":
			return fmt.Errorf("option %q takes no value", name)
		case !valued && options[i].allowed != "":
			return fmt.Errorf("option %q needs a value: %s", name, usage[i])
		}
		seen = append(seen, name)
		if err := options[i].set(value); err != nil {
			return fmt.Errorf("option %q: %w", item, err)
		}
	}
	return nil
}

func format(name string, options []option) string {
	var items []string
	for _, o := range options {
		switch value := o.get(); {
		case value == "":
		case o.allowed == "":
			items = append(items, o.name)
		default:
			items = append(items, o.name+"="+value)
		}
	}
	if len(items) == 0 {
		return name
	}
	return name + ":" + strings.Join(items, ",")
}

func flag(name string, field *bool) option {
	return option{name, "",
		func(string) error { *field = true; return nil },
		func() string {
			if *field {
				return name
			}
			return ""
		}}
}

// choice takes one of the values, of which the first is the default.
func choice[T ~string](name string, field *T, values ...T) option {
	var texts []string
	for _, v := range values {
		texts = append(texts, string(v))
	}
	return option{name, strings.Join(texts, "|"),
		func(text string) error {
			if !slices.Contains(texts, text) {
				return fmt.Errorf("choose one of %s", strings.Join(texts, ", "))
			}
			if *field = T(text); *field == values[0] {
				*field = ""
			}
			return nil
		},
		func() string {
			if *field == values[0] {
				return ""
			}
			return string(*field)
		}}
}

// The numbers below keep a field at 0 where the text names the default, and where the default is not 0 write 0 as −1,
// as the fields have it.

func whole(name string, field *int, standard, least, most int) option {
	allowed := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == math.MaxInt {
		allowed = fmt.Sprintf("a whole number, at least %d", least)
	}
	return number(name+"=N", allowed, field, standard, strconv.Atoi, strconv.Itoa,
		func(n int) bool { return n >= least && n <= most || n == standard })
}

func positive(name string, field *float64, standard float64) option {
	return number(name+"=X", "a number above 0", field, standard, parseFloat, formatFloat,
		func(x float64) bool { return x > 0 && !math.IsInf(x, 0) })
}

func share(name string, field *float64, standard float64) option {
	return number(name+"=X", "a number from 0 to below 1", field, standard, parseFloat, formatFloat,
		func(x float64) bool { return x >= 0 && x < 1 })
}

func number[T int | float64](usage, allowed string, field *T, standard T,
	parse func(string) (T, error), text func(T) string, ok func(T) bool) option {
	name, value, _ := strings.Cut(usage, "=")
	return option{name, value,
		func(text string) error {
			x, err := parse(text)
			if err != nil || !ok(x) {
				return errors.New(allowed)
			}
			*field = encode(x, standard)
			return nil
		},
		func() string {
			if *field == 0 || *field == standard {
				return ""
			}
			return text(max(*field, 0))
		}}
}

func parseFloat(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

func formatFloat(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func encode[T int | float64](x, standard T) T {
	switch x {
	case standard:
		return 0
	case 0:
		return -1
	}
	return x
}

func shrinkage(name string, field *float64) option {
	return option{name, "auto|none|SAMPLES",
		func(text string) error {
			m, err := parseFloat(text)
			switch {
			case text == "auto":
				*field = 0
			case text == "none" || err == nil && m == 0:
				*field = -1
			case err == nil && m > 0 && !math.IsInf(m, 0):
				*field = m
			default:
				return errors.New("auto, none, or a number of samples")
			}
			return nil
		},
		func() string {
			switch {
			case *field == 0:
				return ""
			case *field < 0:
				return "none"
			}
			return formatFloat(*field)
		}}
}
