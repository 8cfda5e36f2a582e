package dataset

import (
	"slices"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

func TestSharedPhotos(t *testing.T) {
	for _, c := range []struct {
		train, test                string
		trainItems, testItems      int
		classes, largest, smallest int
		imbalance                  string
	}{
		{"cifar100/train_ir100.csv", "cifar100/test", 10847, 10000, 100, 500, 5, "exp:100"},
		{"cifar100/train_ir50.csv", "cifar100/test", 12608, 10000, 100, 500, 10, "exp:50"},
		{"cifar100/train_ir10.csv", "cifar100/test", 19573, 10000, 100, 500, 50, "exp:10"},
		{"caltech101/train", "caltech101/test", 5784, 2893, 101, 534, 21, ""},
	} {
		t.Run(c.train, func(t *testing.T) {
			train, findings := mustOpen(t, testkit.Unpacked(t, c.train), Options{})
			wantFindings(t, findings)
			counts := train.Counts()
			if len(train.Items) != c.trainItems || len(counts) != c.classes || slices.Max(counts) != c.largest ||
				slices.Min(counts) != c.smallest {
				t.Errorf("%d images, %d classes of %d…%d", len(train.Items), len(counts), slices.Max(counts),
					slices.Min(counts))
			}
			if c.imbalance != "" {
				im, err := ParseImbalance(c.imbalance)
				if err != nil {
					t.Fatal(err)
				}
				if want := im.Counts(500, 100); !slices.Equal(counts, want) {
					t.Errorf("counts %v, want %v", counts, want)
				}
			}
			test, findings := mustOpen(t, testkit.Unpacked(t, c.test), Options{Classes: train.Classes})
			wantFindings(t, findings)
			if len(test.Items) != c.testItems {
				t.Errorf("%d test images", len(test.Items))
			}
		})
	}
}
