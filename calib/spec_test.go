package calib_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
)

func ExampleNew() {
	e, err := calib.New("slope:by=label,bins=20,huber,shrink=50")
	if err != nil {
		panic(err)
	}
	fmt.Println(e) // 20 bins are the default
	_, err = calib.New("vit:max=1")
	fmt.Println(err)
	// Output:
	// slope:by=label,huber,shrink=50
	// κ estimator "vit:max=1": unknown option "max=1": choose from min=X
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		spec string
		want calib.Estimator
		text string // "": spec
	}{
		{"slope", calib.Slope{}, ""},
		{"slope:by=label,bins=10,huber,shrink=auto,toward=group,crossfit=5",
			calib.Slope{Group: calib.ByLabel, Bins: 10, Huber: true, CrossFit: 5},
			"slope:by=label,bins=10,huber,crossfit=5"},
		{"slope:toward=global", calib.Slope{Toward: calib.Global}, ""},
		{"slope:by=one-vs-rest,equal-count,intercept,pass,raw,min=0.2,max=5,ema=0.9,warmup=3,shrink=none",
			calib.Slope{Group: calib.OneVsRest, EqualCount: true, Intercept: true, FullPass: true, Raw: true, Min: 0.2,
				Max:   5,
				Decay: 0.9, Warmup: 3, Shrink: -1}, ""},
		{"slope:warmup=0,ema=0,crossfit=0,shrink=0,toward=group,by=prediction,bins=20,min=0.1,max=10",
			calib.Slope{Shrink: -1},
			"slope:shrink=none"},
		{"slope:shrink=2.5", calib.Slope{Shrink: 2.5}, ""},
		{"vit", calib.ViT{}, ""},
		{"vit:min=0.05", calib.ViT{Min: 0.05}, ""},
		{"ddc", calib.DDC{}, ""},
		{"ddc:min=0.05,max=0.2,ema=0,warmup=10", calib.DDC{Min: 0.05, Max: 0.2, Decay: -1, Warmup: 10}, ""},
		{"ddc:ema=0.9,warmup=0", calib.DDC{Warmup: -1}, "ddc:warmup=0"},
		{"none", calib.One{}, ""},
	} {
		got, err := calib.New(c.spec)
		if err != nil || got != c.want {
			t.Errorf("%s: %#v, %v, want %#v", c.spec, got, err, c.want)
			continue
		}
		if c.text == "" {
			c.text = c.spec
		}
		if text := fmt.Sprint(got); text != c.text {
			t.Errorf("%s prints as %s, want %s", c.spec, text, c.text)
		}
	}
	for spec, says := range map[string]string{
		"":                    "choose one of slope, vit, ddc, none",
		"slop":                "choose one of slope, vit, ddc, none",
		"slope:":              `unknown option ""`,
		"slope:bin=3":         "by=prediction|label|one-vs-rest, bins=N, equal-count",
		"slope:by":            ": write by=prediction|label|one-vs-rest",
		"slope:by=class":      "choose one of prediction, label, one-vs-rest",
		"slope:huber=yes":     "option \"huber=yes\": write huber",
		"slope:bins=3,bins=4": "given twice",
		"slope:bins=0":        "from 1 to 1000",
		"slope:bins=1001":     "from 1 to 1000", "slope:bins=many": "whole number",
		"slope:crossfit=1":                      "from 2 to 100",
		"slope:ema=1":                           "from 0 to below 1",
		"slope:min=0":                           "above 0",
		"slope:max=Inf":                         "above 0",
		"slope:shrink=-1":                       "auto, none, or a number of samples",
		"slope:shrink=NaN":                      "auto, none, or a number of samples",
		"slope:min=2,max=1":                     "min 2 is above max 1",
		"slope:min=20":                          "min 20 is above max 10",
		"ddc:min=2":                             "min 2 is above max 1",
		"vit:min=1.5":                           "min 1.5 is above max 1",
		"vit:huber":                             "choose from min=X",
		"none:huber":                            "takes no options",
		"none:":                                 "takes no options",
		"slope:toward=few":                      "choose one of group, global",
		"slope:warmup=-1":                       "a whole number from 0",
		"slope:equal-count,,huber":              `unknown option ""`,
		"slope:by=label, bins=2":                `unknown option " bins=2"`,
		"SLOPE":                                 "unknown κ estimator",
		"slope;by=label":                        "unknown κ estimator",
		"slope:crossfit=5000000000000000000000": "whole number",
	} {
		if e, err := calib.New(spec); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, error %v, want one with %q", spec, e, err, says)
		}
	}
}

// Whatever text New takes, what it made prints as text that makes the same.
func FuzzNew(f *testing.F) {
	for _, spec := range []string{"slope", "vit:min=0.3", "ddc:min=0.05,max=0.2,ema=0,warmup=10", "none",
		"slope:by=one-vs-rest,bins=7,equal-count,intercept,huber,pass,raw,min=0.2,max=5,ema=0.9,warmup=3," +
			"shrink=auto,toward=global,crossfit=5",
		"slope:shrink=1e9", "slope:bins=-0,min=0x1p-2"} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		e, err := calib.New(spec)
		if err != nil {
			return
		}
		again, err := calib.New(fmt.Sprint(e))
		if err != nil || again != e {
			t.Errorf("%q makes %#v, which prints as %v and makes %#v, %v", spec, e, e, again, err)
		}
		if e.Folds() < 0 {
			t.Errorf("%q has %d folds", spec, e.Folds())
		}
		kappa, err := e.Estimate(calib.Epoch{Counts: []int{0, 0}, Group: []int{0, 1}, Late: true, Number: 9,
			Pass: func(func([]float32, []int)) error { return nil }})
		for y, k := range kappa {
			if err != nil || k.Value != 1 || !k.Skipped {
				t.Errorf("%q gives class %d without data %+v, %v", spec, y, k, err)
			}
		}
	})
}
