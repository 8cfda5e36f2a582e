package dataset

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vitft/vitft/engine/fault"
)

func sum(v []int) (s int) {
	for _, n := range v {
		s += n
	}
	return s
}

// synthetic has counts[i] items of class i, interleaved.
func synthetic(counts ...int) *Dataset {
	d := &Dataset{Name: "synthetic"}
	for class := range counts {
		d.Classes = append(d.Classes, fmt.Sprintf("c%03d", class))
	}
	for k := range slices.Max(counts) {
		for class, n := range counts {
			if k < n {
				d.Items = append(d.Items, Item{Path: fmt.Sprintf("%d/%d", class, k), Class: class})
			}
		}
	}
	return d
}

// hashed are ids of d's items, as if each path were the content.
func hashed(d *Dataset) (ids []ID) {
	for _, it := range d.Items {
		ids = append(ids, sha256.Sum256([]byte(it.Path)))
	}
	return ids
}

func balanced(classes, n int) *Dataset { return synthetic(slices.Repeat([]int{n}, classes)...) }

// The totals of long-tailed CIFAR that the literature reports.
func TestCIFARCounts(t *testing.T) {
	for _, c := range []struct {
		text          string
		classes, most int
		want          int
		smallest      int
	}{
		{"exp:100", 100, 500, 10847, 5},
		{"exp:50", 100, 500, 12608, 10},
		{"exp:10", 100, 500, 19573, 50},
		{"exp:1", 100, 500, 50000, 500},
		{"exp:100", 10, 5000, 12406, 50},
		{"step:10", 100, 500, 50*500 + 50*50, 50},
		{"step:100", 5, 1000, 3*1000 + 2*10, 10},
		{"exp:1000", 3, 100, 100 + 3 + 1, 1}, // never none
		{"exp:10", 1, 7, 7, 7},
		{"", 4, 9, 36, 9},
	} {
		im, err := ParseImbalance(c.text)
		if err != nil {
			t.Fatal(err)
		}
		counts := im.Counts(c.most, c.classes)
		if got := sum(counts); got != c.want || counts[0] != c.most || counts[c.classes-1] != c.smallest {
			t.Errorf("%s of %d×%d: %d images, %d…%d; want %d, …%d", c.text, c.classes, c.most,
				got, counts[0], counts[c.classes-1], c.want, c.smallest)
		}
		if !slices.IsSortedFunc(counts, func(a, b int) int { return b - a }) {
			t.Errorf("%s: counts %v rise", c.text, counts)
		}
		if im.String() != c.text {
			t.Errorf("%q prints as %q", c.text, im)
		}
	}
}

func TestParseImbalanceRefuses(t *testing.T) {
	for _, text := range []string{"exp", "exp:", ":10", "exp:0.5", "exp:-1", "exp:NaN", "exp:Inf", "exp:1e999",
		"linear:10", "exp:10:2", "EXP:10", "10"} {
		if im, err := ParseImbalance(text); fault.Of(err) != fault.Config {
			t.Errorf("%q: %v, error %v, want one of config", text, im, err)
		}
	}
}

func TestApply(t *testing.T) {
	d := balanced(10, 200)
	exp := func(ratio float64, seed uint64) *Dataset {
		out, ids, findings := Imbalance{"exp", ratio}.Apply(d, hashed(d), seed)
		wantFindings(t, findings)
		if !slices.Equal(ids, hashed(out)) {
			t.Error("the ids are not those of what is kept")
		}
		return out
	}
	paths := func(d *Dataset) (out []string) {
		for _, it := range d.Items {
			out = append(out, it.Path)
		}
		return out
	}
	a := exp(20, 1)
	if want := (Imbalance{"exp", 20}).Counts(200, 10); !slices.Equal(a.Counts(), want) {
		t.Errorf("counts %v, want %v", a.Counts(), want)
	}
	if !slices.Equal(paths(a), paths(exp(20, 1))) {
		t.Error("one seed gives two choices")
	}
	if slices.Equal(paths(a), paths(exp(20, 2))) {
		t.Error("two seeds give one choice")
	}
	// Nested: the smaller set is part of the larger.
	larger := map[string]bool{}
	for _, p := range paths(exp(5, 1)) {
		larger[p] = true
	}
	for _, p := range paths(a) {
		if !larger[p] {
			t.Fatalf("%s is in the set of ratio 20 but not of ratio 5", p)
		}
	}
	// Order is kept.
	at := map[string]int{}
	for i, it := range d.Items {
		at[it.Path] = i
	}
	if !slices.IsSortedFunc(a.Items, func(x, y Item) int { return at[x.Path] - at[y.Path] }) {
		t.Error("items changed their order")
	}
	if out, _, _ := (Imbalance{}).Apply(d, hashed(d), 1); !slices.Equal(paths(out), paths(d)) {
		t.Error("no imbalance changed the set")
	}
}

func TestApplySmallClasses(t *testing.T) {
	d := synthetic(100, 3, 100, 2)
	out, _, findings := Imbalance{"exp", 10}.Apply(d, hashed(d), 0)
	if !slices.Equal(out.Counts(), []int{100, 3, 21, 2}) {
		t.Errorf("counts %v", out.Counts())
	}
	wantFindings(t, findings, FewerThanAsked)
	if !slices.Equal(findings[0].Items, []string{"c001", "c003"}) {
		t.Errorf("classes %v", findings[0].Items)
	}
}

// The choice is part of what a seed means: it must survive Go and vitft releases.
func TestChoiceIsStable(t *testing.T) {
	got := drawn([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, hashed(synthetic(10)), "imbalance", 42)
	if want := []int{6, 9, 1, 0, 4, 3, 5, 8, 2, 7}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

// What is drawn is a matter of contents: other lists and names of the same images give the same ones, and an image more
// or less takes or leaves one place. What cannot be read is drawn last.
func TestChoiceIsByContent(t *testing.T) {
	ids := hashed(synthetic(50))
	order := drawn(indices(50), ids, "split", 1)
	listed := slices.Clone(indices(50))
	slices.Reverse(listed)
	if got := drawn(listed, ids, "split", 1); !slices.Equal(got, order) {
		t.Errorf("from another list %v, want %v", got, order)
	}
	gone := order[7]
	want := slices.Delete(slices.Clone(order), 7, 8)
	if got := drawn(slices.Delete(indices(50), gone, gone+1), ids, "split", 1); !slices.Equal(got, want) {
		t.Errorf("without %d %v, want %v", gone, got, want)
	}
	ids[gone] = ID{}
	if got := drawn(indices(50), ids, "split", 1); !slices.Equal(got, append(want, gone)) {
		t.Errorf("with %d unreadable %v, want %v", gone, got, append(want, gone))
	}
}

func indices(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestDrawnIsUniform(t *testing.T) {
	const n, rounds = 5, 20000
	var seen [n][n]int
	ids := hashed(synthetic(n))
	for seed := range uint64(rounds) {
		for at, v := range drawn(indices(n), ids, "test", seed) {
			seen[at][v]++
		}
	}
	for at := range seen {
		for v, k := range seen[at] {
			// Five standard deviations of a binomial.
			if p := 1.0 / n; math.Abs(float64(k)-rounds*p) > 5*math.Sqrt(rounds*p*(1-p)) {
				t.Errorf("value %d lands at %d in %d of %d", v, at, k, rounds)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	d := synthetic(100, 10, 5, 4, 2, 1)
	train, held, findings, err := d.Split(0.1, hashed(d), 3)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(held.Counts(), []int{10, 1, 1, 0, 0, 0}) {
		t.Errorf("held out %v", held.Counts())
	}
	wantFindings(t, findings, NotHeldOut)
	seen := map[string]int{}
	for _, it := range append(slices.Clone(train.Items), held.Items...) {
		seen[it.Path]++
	}
	if len(seen) != len(d.Items) || len(train.Items)+len(held.Items) != len(d.Items) {
		t.Error("the parts are not a partition")
	}
	// However much is held out, each class keeps an image to train on.
	train, held, _, err = d.Split(0.99, hashed(d), 3)
	if err != nil || slices.Min(train.Counts()) != 1 || !slices.Equal(held.Counts(), []int{99, 9, 4, 3, 1, 0}) {
		t.Errorf("train %v, held out %v, %v", train.Counts(), held.Counts(), err)
	}
	for _, f := range []float64{0, 1, -1, 2, math.NaN()} {
		if _, _, _, err := d.Split(f, hashed(d), 0); fault.Of(err) != fault.Config {
			t.Errorf("fraction %v: error %v", f, err)
		}
	}
}
