package calib

import (
	"cmp"
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
	var s Slope
	var v ViT
	var d DDC
	options, known := optionsOf(&s, &v, &d)[name]
	if !known {
		return nil, fmt.Errorf("unknown κ estimator %q: choose one of %s", name, strings.Join(Names(), ", "))
	}
	var err error
	if given {
		err = parse(text, options)
	}
	for _, b := range [][2]float64{{cmp.Or(s.Min, defaultMin), cmp.Or(s.Max, defaultMax)}, {v.Min, 1},
		{cmp.Or(d.Min, defaultMin), cmp.Or(d.Max, 1)}} {
		if err == nil && b[0] > b[1] {
			err = fmt.Errorf("min %g is above max %g", b[0], b[1])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("κ estimator %q: %w", spec, err)
	}
	return map[string]Estimator{"slope": s, "vit": v, "ddc": d, "none": One{}}[name], nil
}

func optionsOf(s *Slope, v *ViT, d *DDC) map[string][]option {
	return map[string][]option{"slope": s.options(), "vit": v.options(), "ddc": d.options(), "none": nil}
}

// Options lists those of an estimator as they begin in its specification: a flag, or a name with its equals sign, and
// of one that takes words each of these.
func Options(name string) (list []string) {
	for _, o := range optionsOf(new(Slope), new(ViT), new(DDC))[name] {
		values := strings.Split(o.usage, "|")
		for _, v := range values {
			switch {
			case o.usage == "":
				list = append(list, o.name)
			case v == strings.ToLower(v):
				list = append(list, o.name+"="+v)
			case len(values) == 1:
				list = append(list, o.name+"=")
			}
		}
	}
	return list
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
		whole("warmup", &s.Warmup, 0, 0, math.MaxInt32),
		number("shrink", "auto|none|SAMPLES", "auto, none, or a number of samples", &s.Shrink, math.NaN(), fromZero),
		choice("toward", &s.Toward, Group, Global),
		whole("crossfit", &s.CrossFit, 0, 2, 100),
	}
}

func (v *ViT) options() []option { return []option{positive("min", &v.Min, defaultMin)} }

func (d *DDC) options() []option {
	return []option{
		positive("min", &d.Min, defaultMin),
		positive("max", &d.Max, 1),
		share("ema", &d.Decay, 0.9),
		whole("warmup", &d.Warmup, 5, 0, math.MaxInt32),
	}
}

// An option is one field of an estimator as text.
type option struct {
	name, usage string // usage: what stands after "=", empty for a flag
	allowed     string // what to write instead of what set refuses
	set         func(string) bool
	get         func() string // empty: default
}

func parse(text string, options []option) error {
	var usage, seen []string
	for _, o := range options {
		usage = append(usage, strings.TrimSuffix(o.name+"="+o.usage, "="))
	}
	for item := range strings.SplitSeq(text, ",") {
		name, value, valued := strings.Cut(item, "=")
		i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
		switch {
		case len(options) == 0:
			return fmt.Errorf("it takes no options, but got %q", item)
		case i < 0:
			return fmt.Errorf("unknown option %q: choose from %s", item, strings.Join(usage, ", "))
		case slices.Contains(seen, name):
			return fmt.Errorf("option %q is given twice", name)
		case valued != (options[i].usage != ""):
			return fmt.Errorf("option %q: write %s", item, usage[i])
		case !options[i].set(value):
			return fmt.Errorf("option %q: %s", item, options[i].allowed)
		}
		seen = append(seen, name)
	}
	return nil
}

func format(name string, options []option) string {
	var items []string
	for _, o := range options {
		if value := o.get(); value != "" && o.usage != "" {
			items = append(items, o.name+"="+value)
		} else if value != "" {
			items = append(items, o.name)
		}
	}
	return strings.TrimSuffix(name+":"+strings.Join(items, ","), ":")
}

func flag(name string, field *bool) option {
	return option{name, "", "",
		func(string) bool { *field = true; return true },
		func() string { return strings.TrimPrefix(fmt.Sprint(*field), "false") }}
}

// choice takes one of the values, of which the first is the default.
func choice[T ~string](name string, field *T, values ...T) option {
	var texts []string
	for _, v := range values {
		texts = append(texts, string(v))
	}
	return option{name, strings.Join(texts, "|"), "choose one of " + strings.Join(texts, ", "),
		func(text string) bool {
			if *field = T(text); *field == values[0] {
				*field = ""
			}
			return slices.Contains(values, T(text))
		},
		func() string {
			if *field == values[0] {
				return ""
			}
			return string(*field)
		}}
}

func whole(name string, field *int, standard, least, most int) option {
	return number(name, "N", fmt.Sprintf("a whole number from %d to %d", least, most), field, standard,
		func(x float64) bool { return x == math.Trunc(x) && x >= float64(least) && x <= float64(most) })
}

func positive(name string, field *float64, standard float64) option {
	return number(name, "X", "a number above 0", field, standard, func(x float64) bool { return x > 0 && fromZero(x) })
}

func share(name string, field *float64, standard float64) option {
	return number(name, "X", "a number from 0 to below 1", field, standard,
		func(x float64) bool { return x >= 0 && x < 1 })
}

func fromZero(x float64) bool { return x >= 0 && !math.IsInf(x, 0) }

// number keeps a field at 0 where the text names the default, and where that is not 0 writes 0 as −1, as the fields
// have it. In usage the words for 0 and −1 may come before that for a number.
func number[T int | float64](name, usage, allowed string, field *T, standard T, ok func(x float64) bool) option {
	words := strings.Split(usage, "|")
	words = words[:len(words)-1]
	return option{name, usage, allowed,
		func(text string) bool {
			x, err := strconv.ParseFloat(text, 64)
			switch i := slices.Index(words, text); {
			case i >= 0:
				*field = T(-i)
			case err == nil && x == float64(standard):
				*field = 0
			case err != nil || !ok(x):
				return false
			case x == 0:
				*field = -1
			default:
				*field = T(x)
			}
			return true
		},
		func() string {
			switch {
			case *field == 0 || *field == standard:
				return ""
			case *field < 0 && len(words) > 1:
				return words[1]
			}
			return fmt.Sprint(max(*field, 0))
		}}
}
