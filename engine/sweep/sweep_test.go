package sweep

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
)

var (
	baseKeys = []string{"train", "test", "loss", "epochs", "lr", "tau", "head", "seed"}
	gridKeys = []string{"loss", "epochs", "lr", "tau", "head", "kappa", "seed"}
)

// fill is a Resolve whose learning rate depends on the head, as real ones do.
func fill(point map[string]any) (Settings, error) {
	s := Settings{"loss": "cvs", "epochs": 30, "tau": 1.0, "head": "cosine", "kappa": "slope", "seed": uint64(0)}
	for key, v := range point {
		switch want := s[key].(type) {
		case float64:
			if n, ok := v.(int); ok {
				v = float64(n)
			}
		case uint64:
			v = uint64(v.(int))
		case nil:
		default:
			if fmt.Sprintf("%T", v) != fmt.Sprintf("%T", want) {
				return nil, fmt.Errorf("%s: %v is no %T", key, v, want)
			}
		}
		s[key] = v
	}
	if s["lr"] == nil {
		s["lr"] = map[any]float64{"cosine": 0.02, "linear": 0.01}[s["head"]]
	}
	return s, nil
}

func parse(t testing.TB, text string) Experiment {
	t.Helper()
	x, _, err := Parse([]byte(text), baseKeys, gridKeys)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func plan(t testing.TB, text string) *Plan {
	t.Helper()
	p, err := parse(t, text).Plan(fill)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Plan) names() []string {
	var names []string
	for _, c := range p.Configurations {
		names = append(names, c.Name)
	}
	return names
}

func TestParse(t *testing.T) {
	x, base, err := Parse([]byte(`
name: all of it
train: t.csv
epochs: 5
seeds: [2, 0, 1, 0]
grid:
  - {loss: [ce, la], tau: &taus [0.5, 1]}
  - loss: cvs
    tau: *taus
    kappa:
      - slope
      - slope:by=label,bins=10
baseline: {loss: la, tau: 1}
selection: cv
select-by: [loss]
`), baseKeys, gridKeys)
	if err != nil {
		t.Fatal(err)
	}
	want := Experiment{
		Name: "all of it", Seeds: []uint64{0, 1, 2}, Selection: SelectCV, SelectBy: []string{"loss"},
		Baseline: map[string]any{"loss": "la", "tau": 1},
		Grid: []Block{
			{{"loss", []any{"ce", "la"}}, {"tau", []any{0.5, 1}}},
			{{"loss", []any{"cvs"}}, {"tau", []any{0.5, 1}}, {"kappa", []any{"slope", "slope:by=label,bins=10"}}},
		},
	}
	if !reflect.DeepEqual(x, want) {
		t.Errorf("parsed %+v, want %+v", x, want)
	}
	if want := map[string]any{"train": "t.csv", "epochs": 5}; !reflect.DeepEqual(base, want) {
		t.Errorf("shared settings %v, want %v", base, want)
	}
}

// Every fault names the key, the block where there is one, and what would do.
func TestParseFaults(t *testing.T) {
	for text, wants := range map[string][]string{
		``:                                  {"no grid"},
		`- a`:                               {"not a YAML map"},
		`{`:                                 {"not YAML"},
		`name: x`:                           {"no grid"},
		`grid: {loss: ce}`:                  {"line 1", "list of blocks"},
		`grid: []`:                          {"list of blocks"},
		`grid: [7]`:                         {"block 1", "map from settings"},
		`grid: [{loss: ce}, {gama: 1}]`:     {"line 1", "block 2", `"gama"`, "known keys: loss, epochs"},
		`grid: [{train: x}]`:                {"block 1", `"train"`},
		`grid: [{loss: []}]`:                {"block 1: loss has no value"},
		`grid: [{loss: [[ce]]}]`:            {"block 1: loss: a list of lists"},
		`grid: [{loss: }]`:                  {"block 1: loss: it has no value"},
		`grid: [{loss: {a: b}}]`:            {"block 1: loss: a map"},
		`grid: [{loss: ce, loss: la}]`:      {`"loss" is there twice`},
		"grid: [{loss: ce}]\nepohcs: 3":     {"line 2", `"epohcs"`, "did you mean epochs?"},
		"grid: [{loss: ce}]\nseeds: x":      {"seeds"},
		"grid: [{loss: ce}]\nseeds: [-1]":   {"seeds"},
		"grid: [{seed: [0, 1]}]\nseeds: 3":  {"line 2: seeds: 3 is no list"},
		"grid: [{loss: ce}]\nseeds: [1.5]":  {"line 2: seeds: 1.5 is no whole number (between 0 and"},
		"grid: [{seed: 1}]\nseeds: [0]":     {"block 1", "seeds"},
		"grid: [{loss: ce}]\nselection: t":  {"none, val, cv"},
		"grid: [{loss: ce}]\nselect-by: [x": {"not YAML"},
		"grid: [{loss: ce}]\nselect-by: [test]\nbaseline: {loss: [ce, la]}": {"select-by",
			`"test"`, "baseline: loss has 2 values"},
		"grid: [{loss: ce}]\nbaseline: ce": {"baseline"},
		"grid: [{lr: &a [1,2,3,4,5,6,7,8,9,0], tau: *a, epochs: *a, loss: *a, head: *a, kappa: [1,2]}]": {"more than " +
			"100000 heads"},
	} {
		_, _, err := Parse([]byte(text), baseKeys, gridKeys)
		if err == nil || fault.Of(err) != fault.Config {
			t.Errorf("%q: %v is of no kind config", text, err)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error does not say %q: %v", text, want, err)
			}
		}
	}
}

func TestPlan(t *testing.T) {
	p := plan(t, `
seeds: [0, 1]
grid:
  - loss: [ce, la]
  - {loss: la, tau: [0.5, 1, 1]}
  - {loss: cvs, head: [cosine, linear], kappa: [slope, ddc]}
baseline: {loss: la, tau: 1}
select-by: [loss]
`)
	want := []string{"ce", "la", "la tau=0.5", "cvs", "cvs kappa=ddc", "cvs head=linear", "cvs head=linear kappa=ddc"}
	if got := p.names(); !slices.Equal(got, want) {
		t.Errorf("configurations %q, want %q: duplicates once, in the order of the grid, named by what is not the "+
			"default", got, want)
	}
	if want := []string{"loss", "tau", "head", "kappa"}; !slices.Equal(p.Keys, want) {
		t.Errorf("setting columns %v, want %v", p.Keys, want)
	}
	groups := map[string]bool{}
	for _, c := range p.Configurations {
		groups[c.Group] = true
		if c.Baseline != (c.Name == "la") {
			t.Errorf("%s: baseline %v", c.Name, c.Baseline)
		}
		if !slices.Equal(c.Seeds, []uint64{0, 1}) || c.Settings["seed"] != nil {
			t.Errorf("%s: seeds %v, settings %v", c.Name, c.Seeds, c.Settings)
		}
	}
	if len(groups) != 3 {
		t.Errorf("%d groups, want one for each of three losses", len(groups))
	}
	if got := p.Configurations[5].Settings["lr"]; got != 0.01 {
		t.Errorf("a linear head's learning rate is %v, want the default of linear heads", got)
	}
}

// Seeds may be an axis of a block instead, and defaults to the shared one.
func TestPlanSeeds(t *testing.T) {
	p := plan(t, `{grid: [{loss: ce, seed: [3, 4, 3]}, {loss: [ce, la]}]}`)
	if len(p.Configurations) != 2 || !slices.Equal(p.Configurations[0].Seeds, []uint64{3, 4, 0}) ||
		!slices.Equal(p.Configurations[1].Seeds, []uint64{0}) {
		t.Errorf("%+v", p.Configurations)
	}
}

func TestPlanFaults(t *testing.T) {
	for text, wants := range map[string][]string{
		`grid: [{loss: ce}, {loss: la, epochs: many}]`: {"grid, block 2", "{epochs: many, loss: la}",
			"epochs: many"},
		`{grid: [{loss: ce}], baseline: {loss: la}}`:              {"baseline", "no configuration", "{loss: la}"},
		`{grid: [{loss: la, tau: [1, 2]}], baseline: {loss: la}}`: {"baseline", "2 configurations", "la; la tau=2"},
		`{grid: [{loss: ce}], baseline: {epochs: x}}`:             {"baseline", "epochs"},
	} {
		_, err := parse(t, text).Plan(fill)
		if err == nil || fault.Of(err) != fault.Config {
			t.Errorf("%q: %v is of no kind config", text, err)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error does not say %q: %v", text, want, err)
			}
		}
	}
}

// Whatever parses has a grid that can be expanded, and stays within its keys.
func FuzzParse(f *testing.F) {
	f.Add("grid: [{loss: [ce, la], tau: [0.5, 1]}]\nseeds: [0, 1]\nbaseline: {loss: la, tau: 1}")
	f.Add("name: x\ngrid:\n- loss: &l [ce]\n- {loss: *l, seed: 18446744073709551615}\nselection: cv\nselect-by: " +
		"[loss]\nepochs: 3")
	f.Add("grid: [{lr: .nan, tau: 0x1p-2, kappa: 'slope:by=label,bins=3', head: true}]\ntrain: {a: b}")
	f.Fuzz(func(t *testing.T, text string) {
		x, base, err := Parse([]byte(text), baseKeys, gridKeys)
		if err != nil {
			if fault.Of(err) != fault.Config {
				t.Fatalf("%v is of no kind config", err)
			}
			return
		}
		for key := range base {
			if !slices.Contains(baseKeys, key) {
				t.Fatalf("key %q got through", key)
			}
		}
		if x.heads() > 1000 {
			return
		}
		printed, err := yaml.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := Parse(printed, baseKeys, gridKeys)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(x) { // Sprint, because NaN is not NaN
			t.Fatalf("printed as\n%s\nwhich reads as %v (%v), not %v", printed, again, err, x)
		}
		p, err := x.Plan(func(point map[string]any) (Settings, error) {
			s := Settings{"loss": "cvs"}
			maps.Copy(s, point)
			s["seed"] = uint64(0)
			return s, nil
		})
		if err != nil {
			if fault.Of(err) != fault.Config {
				t.Fatalf("%v is of no kind config", err)
			}
			return
		}
		n := 0
		for _, c := range p.Configurations {
			n += len(c.Seeds)
		}
		if n == 0 || n > x.heads() {
			t.Fatalf("%d heads of a grid of %d", n, x.heads())
		}
	})
}

func TestClassesSurviveJSON(t *testing.T) {
	h := Head{ID: "a", Settings: Settings{"tau": 1.5}, Predicted: Classes{0, 1, 127, 128, 40000, 3}}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back Head
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, h) {
		t.Errorf("came back as %+v (%v)", back, err)
	}
	for _, bad := range []string{`"gA=="`, `"//////////////8="`, `{}`, `"*"`} {
		if err := json.Unmarshal([]byte(bad), new(Classes)); err == nil {
			t.Errorf("%s passes for predicted classes", bad)
		}
	}
}

// A key that no point of the grid reads is set in vain; one that some point reads, or that has its default, is not.
func TestIdle(t *testing.T) {
	for text, want := range map[string][]string{
		"grid: [{loss: [ce, cvs], gamma: [0.1, 0.3]}]":                  nil,
		"grid: [{loss: [ce, la], gamma: [0.15, 0.3]}]":                  {"gamma"},
		"grid: [{loss: ce, gamma: 0.15, adapt-rank: [4, 8]}]":           {"adapt-rank"},
		"grid: [{adapt: [none, adapter], adapt-rank: 4}]":               nil,
		"grid: [{loss: ncm, epochs: 9}, {loss: cvs, epochs: 9}]":        nil,
		"grid: [{loss: ncm, epochs: 9, lr: 0.5}, {loss: ldam, tau: 3}]": {"epochs", "lr", "tau"},
	} {
		x, _, err := Parse([]byte(text), nil, setting.Keys(new(Recipe).Fields()))
		if err != nil {
			t.Fatal(err)
		}
		got := x.Idle(Recipe{})
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
