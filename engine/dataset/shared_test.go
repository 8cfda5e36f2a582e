package dataset

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// photos is the folder that holds cifar100 and caltech101: where they are unpacked (VITFT_DATA), else one with only the
// manifests, taken from the archive in the shared folder.
func photos(t *testing.T) (dir string, unpacked bool) {
	t.Helper()
	if dir := os.Getenv("VITFT_DATA"); dir != "" {
		return dir, true
	}
	shared := os.Getenv("VITFT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	archive := filepath.Join(shared, "data", "cifar100_lt.tar.zst")
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("no %s: set VITFT_SHARED, or VITFT_DATA to where it is unpacked", archive)
	}
	dir = t.TempDir()
	cmd := exec.Command("tar", "--zstd", "-xf", archive, "-C", dir, "--wildcards", "cifar100/*.csv")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("tar cannot read %s: %v: %s", archive, err, out)
	}
	return dir, false
}

func TestSharedPhotos(t *testing.T) {
	dir, unpacked := photos(t)
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
			if !unpacked && c.imbalance == "" {
				t.Skip("photos are not unpacked: set VITFT_DATA")
			}
			train, findings := mustOpen(t, filepath.Join(dir, c.train), Options{})
			wantFindings(t, findings)
			counts := train.Counts()
			if len(train.Items) != c.trainItems || len(counts) != c.classes || slices.Max(counts) != c.largest ||
				slices.Min(counts) != c.smallest {
				t.Errorf("%d images, %d classes of %d…%d", len(train.Items), len(counts), slices.Max(counts), slices.Min(counts))
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
			if !unpacked {
				t.Log("photos are not unpacked, so the test folder is not looked at: set VITFT_DATA")
				return
			}
			test, findings := mustOpen(t, filepath.Join(dir, c.test), Options{Classes: train.Classes})
			wantFindings(t, findings)
			if len(test.Items) != c.testItems {
				t.Errorf("%d test images", len(test.Items))
			}
		})
	}
}
