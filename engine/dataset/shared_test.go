package dataset

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sharedDir is a folder that holds the photo sets cifar100 and caltech101 as far
// as these tests need them: as unpacked at VITFT_DATA, else made from the names
// and manifests in the archives of the shared folder, without pictures.
func sharedDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("VITFT_DATA"); dir != "" {
		return dir
	}
	shared := os.Getenv("VITFT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	dir := t.TempDir()
	tar := func(archive string, args ...string) string {
		path := filepath.Join(shared, "data", archive)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("no %s: set VITFT_SHARED, or VITFT_DATA to where it is unpacked", path)
		}
		out, err := exec.Command("tar", append([]string{"--zstd", "-f", path}, args...)...).Output()
		if err != nil {
			t.Skipf("tar cannot read %s: %v", path, err)
		}
		return string(out)
	}
	tar("cifar100_lt.tar.zst", "-x", "-C", dir, "cifar100/train_ir100.csv", "cifar100/train_ir50.csv", "cifar100/train_ir10.csv")
	for _, archive := range []string{"cifar100_lt.tar.zst", "caltech101.tar.zst"} {
		for name := range strings.Lines(tar(archive, "-t")) {
			name = filepath.Join(dir, strings.TrimSuffix(name, "\n"))
			if !isImage(name) || archive == "cifar100_lt.tar.zst" && !strings.Contains(name, "/test/") {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestSharedPhotos(t *testing.T) {
	dir := sharedDir(t)
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
			train, findings := mustOpen(t, filepath.Join(dir, c.train), Options{})
			wantFindings(t, findings)
			test, findings := mustOpen(t, filepath.Join(dir, c.test), Options{Classes: train.Classes})
			wantFindings(t, findings)
			counts := train.Counts()
			if len(train.Items) != c.trainItems || len(test.Items) != c.testItems || len(counts) != c.classes ||
				slices.Max(counts) != c.largest || slices.Min(counts) != c.smallest {
				t.Errorf("train %d, test %d, %d classes of %d…%d", len(train.Items), len(test.Items), len(counts), slices.Max(counts), slices.Min(counts))
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
		})
	}
}
