package setting_test

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
)

type phase string

// options has a setting of every kind.
type options struct {
	Loss   string
	Phase  phase
	Train  string
	Epochs int
	Seed   uint64
	Bytes  int64
	LR     float64
	Tau    *float64
	Delay  *time.Duration
	Flag   bool
	Models []string
	Size   *size
}

type size struct{ w, h int }

func (s *size) String() string { return fmt.Sprintf("%dx%d", s.w, s.h) }

func parseSize(text string) (*size, error) {
	var s size
	if _, err := fmt.Sscanf(text, "%dx%d", &s.w, &s.h); err != nil {
		return nil, fmt.Errorf("%q is no WxH", text)
	}
	return &s, nil
}

func (o *options) fields() []setting.Field {
	lr := 0.02
	if o.Loss == "ldam" {
		lr = 0.006
	}
	return []setting.Field{
		setting.OneOf("loss", &o.Loss, "cvs", []string{"ce", "cvs", "ldam"}, "loss"),
		setting.OneOf("phase", &o.Phase, "early", []phase{"early", "late"}, "phase"),
		setting.Path("train", &o.Train, "", "images"),
		setting.Number("epochs", &o.Epochs, 30, setting.Between(1, 1000), "epochs"),
		setting.Number("seed", &o.Seed, 0, setting.Seeds, "seed"),
		setting.Number("bytes", &o.Bytes, 1<<20, setting.Between(1, 1<<50), "bytes").Here(),
		setting.Number("lr", &o.LR, lr, setting.Positive(1000), "rate"),
		setting.Optional("tau", &o.Tau, 1, setting.Between(0, 1000), "τ"),
		setting.Optional("delay", &o.Delay, 2*time.Millisecond, setting.Between(0, time.Hour), "wait"),
		setting.Flag("flag", &o.Flag, "flag"),
		setting.List("model", &o.Models, "models"),
		setting.Parsed("size", &o.Size, &size{224, 224}, parseSize, "size"),
	}
}

func TestSetTakesValuesExactlyOrRefusesThem(t *testing.T) {
	for _, c := range []struct {
		key   string
		value any
		want  string // the text afterwards; "!" and what the refusal must say
	}{
		{"loss", "ce", "ce"},
		{"loss", "foo", `!loss: "foo" is none of ce, cvs, ldam`},
		{"phase", "late", "late"},
		{"phase", true, "!phase: true is no text"},
		{"train", 0.1, "0.1"},
		{"epochs", "7", "7"},
		{"epochs", 7, "7"},
		{"epochs", 7.0, "7"}, // JSON knows no others
		{"epochs", 3.5, "!epochs: 3.5 is no whole number"},
		{"epochs", "3.5", "!epochs: 3.5 is no whole number"},
		{"epochs", true, "!epochs: true is no whole number"},
		{"epochs", 0, "!epochs: 0 is not between 1 and 1000"},
		{"epochs", "99999999999999999999", "!epochs: 99999999999999999999 is not between 1 and 1000"},
		{"epochs", uint64(1 << 63), "!epochs: 9223372036854775808 is not between 1 and 1000"},
		{"seed", -1, "!seed: -1 is no whole number (between 0 and 18446744073709551615)"},
		{"seed", "-1", "!seed: -1 is no whole number (between 0 and 18446744073709551615)"},
		{"seed", uint64(math.MaxUint64), "18446744073709551615"},
		{"seed", "18446744073709551615", "18446744073709551615"},
		{"seed", "18446744073709551616", "!seed: 18446744073709551616 is not between 0 and 18446744073709551615"},
		{"seed", math.Ldexp(1, 64), "!seed: 18446744073709552000 is not between"},
		{"bytes", 1 << 40, "1099511627776"},
		{"lr", "1e-3", "0.001"},
		{"lr", 1, "1"},
		{"lr", 0, "!lr: 0 is not above 0 and at most 1000"},
		{"lr", math.NaN(), "!lr: NaN is not above 0"},
		{"lr", 1e30, "!lr: 1000000000000000000000000000000 is not above 0 and at most 1000"},
		{"lr", "1e400", "!lr: 1e400 is not above 0"},
		{"lr", "1e-400", "!lr: 1e-400 is not above 0"},
		{"lr", "0x10", "!lr: 0x10 is no number (above 0 and at most 1000)"},
		{"epochs", "010", "!epochs: 010 may be meant as octal"},
		{"lr", "010", "!lr: 010 may be meant as octal"},
		{"lr", "00.5", "0.5"},
		{"epochs", "1_000", "!epochs: 1_000 is no whole number"},
		{"epochs", "", `!epochs: "" is no whole number (between 1 and 1000)`},
		{"epochs", nil, "!epochs: null is no whole number"},
		{"epochs", []any{1, "a"}, `!epochs: [1,"a"] is no whole number`},
		{"epochs", map[string]any{"a": 1}, `!epochs: {"a":1} is no whole number`},
		{"loss", "", `!loss: "" is no value; leave it out for the default, cvs`},
		{"size", "", `!size: "" is no value; leave it out for the default, 224x224`},
		{"lr", "inf", "!lr: inf is not above 0"},
		{"tau", 0, "0"},
		{"tau", "0", "0"},
		{"tau", -1.0, "!tau: -1 is not between 0 and 1000"},
		{"delay", "0s", "0s"},
		{"delay", "90s", "1m30s"},
		{"delay", 5, "!delay: 5 is no time with its unit"},
		{"flag", "true", "true"},
		{"flag", true, "true"},
		{"flag", "yes", "!flag: yes is neither true nor false"},
		{"flag", 1, "!flag: 1 is neither true nor false"},
		{"model", []any{"a", "b"}, "a,b"},
		{"model", []any{"a", false}, "!model: false is no text"},
		{"model", 3, "3"},
		{"model", nil, "!model: null is no text"},
		{"size", "3x4", "3x4"},
		{"size", "big", `!size: "big" is no WxH`},
	} {
		var o options
		f, ok := setting.Find(o.fields(), c.key)
		if !ok {
			t.Fatalf("no field %s", c.key)
		}
		err := f.Set(c.value)
		if refusal, refused := strings.CutPrefix(c.want, "!"); refused {
			if err == nil || !strings.HasPrefix(err.Error(), refusal) || fault.Of(err) != fault.Config {
				t.Errorf("%s = %#v: %v, want %s", c.key, c.value, err, refusal)
			}
			if f.IsSet() {
				t.Errorf("%s = %#v was refused, but left %v", c.key, c.value, f.Value())
			}
		} else if err != nil || f.Text() != c.want {
			t.Errorf("%s = %#v: %q, %v; want %q", c.key, c.value, f.Text(), err, c.want)
		}
	}
}

func TestFillAndCheck(t *testing.T) {
	var o options
	if given := setting.Given(o.fields()); given != nil {
		t.Errorf("of nothing, %v are set", given)
	}
	defaults := map[string]string{"loss": "cvs", "train": "", "epochs": "30", "seed": "", "tau": "1", "delay": "2ms",
		"flag": "", "size": "224x224"}
	for key, want := range defaults {
		if f, _ := setting.Find(o.fields(), key); f.Default != want {
			t.Errorf("default of %s is %q, want %q", key, f.Default, want)
		}
	}
	o.Loss, o.Train, o.Tau = "ldam", "photos", new(0.0)
	setting.Fill(o.fields())
	abs, err := filepath.Abs("photos")
	if err != nil {
		t.Fatal(err)
	}
	want := options{Loss: "ldam", Phase: "early", Train: abs, Epochs: 30, Bytes: 1 << 20, LR: 0.006, Tau: o.Tau,
		Delay: o.Delay, Size: o.Size}
	if got := fmt.Sprint(o); got != fmt.Sprint(want) || *o.Tau != 0 || *o.Delay != 2*time.Millisecond ||
		*o.Size != (size{224, 224}) {
		t.Errorf("filled to %s", got)
	}
	if err := setting.Check(o.fields()); err != nil {
		t.Error(err)
	}
	o.Epochs, o.LR, o.Loss = -1, -2, "x"
	err = setting.Check(o.fields())
	for _, part := range []string{`loss: "x" is none`, "epochs: -1 is not between 1", "lr: -2 is not above 0"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestSetByKeyAndDifferences(t *testing.T) {
	var a, b options
	if err := setting.Set(a.fields(), map[string]any{"epochs": 5, "tau": 0, "loss": "ce"}); err != nil {
		t.Fatal(err)
	}
	given := setting.Given(a.fields())
	if !slices.Equal(given, []string{"loss", "epochs", "tau"}) {
		t.Errorf("given are %v", given)
	}
	setting.Fill(b.fields())
	if d := setting.Differences(given, a.fields(), b.fields()); !slices.Equal(d,
		[]string{"loss is ce, was cvs", "epochs is 5, was 30", "tau is 0, was 1"}) {
		t.Errorf("differences: %q", d)
	}
	err := setting.Set(a.fields(), map[string]any{"epoch": 5, "seed": -1})
	if err == nil || !strings.Contains(err.Error(), "epoch is no setting here; did you mean epochs?") ||
		!strings.Contains(err.Error(), "seed: -1") {
		t.Errorf("got %v", err)
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		r    setting.Range
		text string
		in   []float64
		out  []float64
	}{
		{setting.Between(2, 100), "between 2 and 100", []float64{2, 50, 100}, []float64{1, 101}},
		{setting.Between(1, 50_000_000), "between 1 and 50000000", []float64{1, 50e6}, []float64{0, 50e6 + 1}},
		{setting.Between(0, time.Minute), "between 0s and 1m0s", []float64{0, 60e9}, []float64{-1, 61e9}},
		{setting.Within(0, 1, true), "from 0 to below 1", []float64{0, 0.5}, []float64{-0.1, 1}},
		{setting.Within(0, 1, false), "above 0 and below 1", []float64{0.5}, []float64{0, 1}},
		{setting.Between(1, 9).Or(0, "all"), "0 (all) or between 1 and 9", []float64{0, 1, 9}, []float64{-1, 10}},
	} {
		for _, v := range append(c.in, c.out...) {
			var p *float64
			err := setting.Optional("x", &p, 0, c.r, "").Set(v)
			if in := slices.Contains(c.in, v); in != (err == nil) {
				t.Errorf("%v in %q: %v", v, c.text, err)
			} else if err != nil && !strings.HasSuffix(err.Error(), "is not "+c.text) {
				t.Errorf("%v does not say %q", err, c.text)
			}
		}
	}
}

func ExampleField_Set() {
	var o struct{ Epochs int }
	epochs := setting.Number("epochs", &o.Epochs, 30, setting.Between(1, 1000), "epochs")
	fmt.Println(epochs.Set(3.5))
	fmt.Println(epochs.Set("12"), o.Epochs)
	// Output:
	// epochs: 3.5 is no whole number (between 1 and 1000)
	// <nil> 12
}

func TestPathOr(t *testing.T) {
	number := func(s string) (bool, error) {
		n, err := strconv.Atoi(s)
		if err == nil && n > 9 {
			return true, errors.New("above 9")
		}
		return err == nil, nil
	}
	for text, want := range map[string]string{"": "", "7": "7", "x": filepath.Join(t.TempDir(), "x")} {
		if text == "x" {
			t.Chdir(filepath.Dir(want))
		}
		v := text
		f := []setting.Field{setting.PathOr("val", &v, "", number, "")}
		if setting.Fill(f); v != want || setting.Check(f) != nil {
			t.Errorf("%q became %q, want %q; %v", text, v, want, setting.Check(f))
		}
	}
	v := "12"
	if err := setting.Check([]setting.Field{setting.PathOr("val", &v, "", number, "")}); err == nil ||
		err.Error() != "val: above 9" {
		t.Errorf("error %v", err)
	}
}
