package classify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/vit"
)

// said is what a classifier says of photos, with the answers in one piece as Agreement takes them.
type said struct {
	photos        [][]byte
	labels        []int
	probabilities []float32
}

func say(t *testing.T, c *classify.Classifier, photos [][]byte) said {
	t.Helper()
	results, err := c.ClassifyBatch(t.Context(), photos)
	if err != nil {
		t.Fatal(err)
	}
	s := said{photos: photos}
	for _, r := range results {
		s.labels = append(s.labels, r.Class)
		s.probabilities = append(s.probabilities, r.Probabilities...)
	}
	return s
}

func (s said) image(i int) (string, []byte, error) { return fmt.Sprint("photo ", i), s.photos[i], nil }

func TestAgreement(t *testing.T) {
	c := open(t, classify.Options{})
	before := say(t, c, photos(20)) // 80: more than are in memory at a time
	n, classes := len(before.photos), len(labels)
	compare := func(s said) classify.Agreement {
		t.Helper()
		a, err := c.Agreement(t.Context(), labels, n, s.image, s.labels, s.probabilities)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := compare(before)
	if a.Images != n || a.Same != n || a.Margin != 0 || a.Largest > 1e-6 || a.Mean > a.Largest {
		t.Errorf("with itself it agrees as %+v", a)
	}
	if err := a.Within(0, 1e-6); err != nil {
		t.Error(err)
	}

	// The other was surer of another label of photo 70, by 0.25, and less so of that of photo 3, by 0.125.
	other := said{before.photos, slices.Clone(before.labels), slices.Clone(before.probabilities)}
	raise := func(i int, by float32) (difference float64) {
		row := other.probabilities[i*classes : (i+1)*classes]
		now := before.labels[i]
		other.labels[i] = (now + 1) % classes
		was := row[other.labels[i]]
		row[other.labels[i]] = row[now] + by
		return float64(row[now]+by) - float64(was)
	}
	small, large := raise(3, 0.125), raise(70, 0.25)
	a = compare(other)
	if a.Images != n || a.Same != n-2 || math.Abs(a.Margin-0.25) > 1e-6 ||
		math.Abs(a.Largest-max(small, large)) > 1e-6 || math.Abs(a.Mean-(small+large)/float64(n)) > 1e-6 {
		t.Errorf("two labels differ, by %g and %g: %+v", small, large, a)
	}
	if err := a.Within(0.26, 2); err != nil {
		t.Error(err)
	}
	from := "photo 70"
	if small > large {
		from = "photo 3"
	}
	for _, x := range []struct {
		margin, difference float64
		has                []string
	}{
		{0.24, 2, []string{"2 of 80 images get another label", "surer of its own by 0.2500, 0.24 is allowed",
			"of photo 70, which is now"}},
		{0.26, 0.1, []string{"a probability is off by", "more than 0.1", "on " + from}},
	} {
		err := a.Within(x.margin, x.difference)
		if err == nil || fault.Of(err) != fault.Data {
			t.Fatalf("within %g and %g: %v", x.margin, x.difference, err)
		}
		for _, want := range x.has {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v\nlacks %q", err, want)
			}
		}
	}

	// What is no number is no agreement, wherever it stands.
	for _, i := range []int{0, 40, n - 1} {
		odd := said{before.photos, before.labels, slices.Clone(before.probabilities)}
		odd.probabilities[i*classes+1] = float32(math.NaN())
		err := compare(odd).Within(1, 1)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint("NaN, more than 1, on photo ", i)) {
			t.Errorf("NaN for photo %d is let through: %v", i, err)
		}
	}
}

func TestAgreementOfOtherClasses(t *testing.T) {
	c := open(t, classify.Options{})
	s := say(t, c, photos(1))
	for _, classes := range [][]string{nil, labels[1:], append(slices.Clone(labels), "more"), reversed(labels)} {
		_, err := c.Agreement(t.Context(), classes, 4, s.image, s.labels, s.probabilities)
		if fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "another run") {
			t.Errorf("classes %q: %v", classes, err)
		}
	}
}

func reversed(names []string) []string {
	names = slices.Clone(names)
	slices.Reverse(names)
	return names
}

func TestAgreementEnds(t *testing.T) {
	c := open(t, classify.Options{})
	s := say(t, c, photos(1))
	missing := errors.New("it is gone")
	gone := func(int) (string, []byte, error) { return "", nil, missing }
	_, err := c.Agreement(t.Context(), labels, 4, gone, nil, nil)
	if !errors.Is(err, missing) {
		t.Errorf("a photo that is gone: %v", err)
	}
	s.photos[2] = []byte("no photo")
	_, err = c.Agreement(t.Context(), labels, 4, s.image, s.labels, s.probabilities)
	if _, is := errors.AsType[*vit.ImageError](err); !is || !strings.HasPrefix(err.Error(), "photo 2: ") {
		t.Errorf("no photo: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Agreement(ctx, labels, 4, s.image, s.labels, s.probabilities); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
