package dataset

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/userfile"
)

// fuzzContainer tries bytes as a file of that name: whatever they are, it is refused or what it lists can be found by
// name, and is read within bounds or refused.
func fuzzContainer(f *testing.F, name string, seeds ...string) {
	for _, seed := range seeds {
		f.Add(testkit.ReadFile(f, fixtures, seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), name)
		testkit.WriteFile(t, path, content)
		before := allocated()
		d, _, err := Open(path, Options{})
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v does not name the file", err)
			}
			return
		}
		for i, it := range d.Items {
			if it.in == nil { // the path of a file elsewhere
				continue
			}
			name := it.Path[len(path)+1:]
			if k, found := it.in.find(name); !found || k != it.index && i == it.index {
				t.Fatalf("image %d, %s, is found as %d, %v", it.index, name, k, found)
			}
			image, err := it.Bytes()
			again, fault := it.Bytes()
			if (err == nil) != (fault == nil) || !bytes.Equal(image, again) || len(image) > userfile.Image {
				t.Fatalf("%d bytes (%v), then %d (%v)", len(image), err, len(again), fault)
			}
		}
		if used, most := allocated()-before, uint64(64<<20+4096*len(content)); used > most {
			t.Fatalf("%d bytes took %d", len(content), used)
		}
	})
}

func FuzzZip(f *testing.F) { fuzzContainer(f, "x.zip", "folders.zip") }

func FuzzTar(f *testing.F) { fuzzContainer(f, "x.tar", "pairs-000.tar", "pairs-001.tar") }

func FuzzParquet(f *testing.F) {
	fuzzContainer(f, "x.parquet", "train-00000-of-00001.parquet", "two_labels.parquet", "none.parquet",
		"snappy.parquet", "gzip.parquet", "zstd.parquet", "brotli.parquet", "lz4.parquet")
}

func FuzzCIFAR(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1}, 2*3074))
	fuzzContainer(f, "train.bin")
}

// However braces are set, what they stand for is bounded, and differs from one another only between them.
func FuzzExpand(f *testing.F) {
	for _, name := range []string{"x-{000..012}.tar", "{a,b}{1..3}", "{", "}{", "{..}", "{0..99999999}"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		names, err := expand(name)
		before, _, _ := strings.Cut(name, "{")
		for _, n := range names {
			if err != nil || len(names) > mostShards || !strings.HasPrefix(n, before) {
				t.Fatalf("%q among %d, %v", n, len(names), err)
			}
		}
	})
}
