package dataset

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/engine/event"
	_ "github.com/vitft/vitft/engine/feature/bucket/cloud"
	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
)

// exampleFiles make the content of files of the examples that are no text, by what their name ends in.
var exampleFiles = map[string]func(testing.TB) []byte{
	"images-idx3-ubyte":    func(testing.TB) []byte { images, _ := idxPair(2); return images },
	"labels-idx1-ubyte":    func(testing.TB) []byte { _, labels := idxPair(2); return labels },
	"images-idx3-ubyte.gz": func(t testing.TB) []byte { images, _ := idxPair(2); return gz(t, images) },
	"labels-idx1-ubyte.gz": func(t testing.TB) []byte { _, labels := idxPair(2); return gz(t, labels) },
	"cats.parquet":         fixture("none.parquet"),
	".parquet":             fixture("train-00000-of-00001.parquet"),
	"list.parquet": func(t testing.TB) []byte {
		return parquetOf(t, []listRow{{"a.jpg", "cat"}, {"b.jpg", "dog"}})
	},
	"-000.tar":   fixture("pairs-000.tar"),
	"-001.tar":   fixture("pairs-000.tar"),
	"photos.tar": func(t testing.TB) []byte { return tarOf(t, entries("cat/1.jpg", "dog/2.jpg")...) },
	"photos.zip": fixture("folders.zip"),
	"whole.zip": func(t testing.TB) []byte {
		return zipOf(t, entries("ds/train/cat/1.jpg", "ds/train/dog/2.jpg", "ds/val/cat/3.jpg")...)
	},
	".bin": func(testing.TB) []byte {
		return slices.Concat([]byte{0}, make([]byte, 3072), []byte{1}, make([]byte, 3072))
	},
}

func fixture(name string) func(testing.TB) []byte {
	return func(t testing.TB) []byte { return testkit.ReadFile(t, fixtures, name) }
}

var (
	exampleCode = regexp.MustCompile("`([^`]+)`")
	exampleText = strings.NewReplacer(" ⏎ ", "\n", "⇥", "\t")
)

// Each example of the table of sources in docs/data.md is what the table says, and the same in an object store: the
// same images in the same order.
func TestDocumentedSources(t *testing.T) {
	stores := []string{"mem://documented"}
	t.Run("S3", func(t *testing.T) { testkit.S3(t, "documented") }) // which says aloud that it is missing
	if os.Getenv("VITFT_S3SERVER") != "" {
		stores = append(stores, "s3://documented?endpoint="+testkit.S3(t, "documented"))
	}
	_, table, ok := strings.Cut(string(testkit.ReadFile(t, testkit.Root(), "docs", "data.md")),
		"| source | for example | given as | read as |\n|---|---|---|---|\n")
	if !ok {
		t.Fatal("there is no table of sources")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), " | ")
		if len(cells) != 4 {
			t.Errorf("%d cells: %s", len(cells), row)
			continue
		}
		if strings.HasPrefix(cells[0], " embeddings ") { // which package embedding opens
			continue
		}
		t.Run(strings.TrimSpace(cells[0]), func(t *testing.T) {
			dir := t.TempDir()
			for _, code := range exampleCode.FindAllStringSubmatch(cells[1], -1) {
				writeExample(t, dir, code[1])
			}
			given := strings.Fields(exampleCode.FindStringSubmatch(cells[2])[1])
			got, items := documented(t, dir, given)
			if got, want := got, strings.TrimSpace(cells[3]); got != want {
				t.Errorf("it is read as %s, not as %s", got, want)
			}
			for _, store := range stores {
				root := upload(t, dir, store)
				if there, same := documented(t, root, given); there != got || !slices.Equal(same, items) {
					t.Errorf("in %s it is read as %s:\n%s\nand not:\n%s", store, there, strings.Join(same, "\n"),
						strings.Join(items, "\n"))
				}
			}
		})
	}
}

// documented reads an example that is in a folder, and says what its sets hold and which images they are.
func documented(t *testing.T, dir string, given []string) (sets string, items []string) {
	t.Helper()
	var s Sources
	for i := 0; i+1 < len(given); i += 2 {
		at := map[string]*string{"--train": &s.Train, "--val": &s.Val, "--test": &s.Test}[given[i]]
		*at = place.Join(dir, given[i+1])
	}
	open, err := s.Open(context.Background(), 0, nil, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, p := range open.Parts() {
		var classes []string
		for i, n := range p.Data.Counts() {
			classes = append(classes, fmt.Sprintf("%s %d", p.Data.Classes[i], n))
		}
		text := strings.Join(classes, ", ")
		if p.Name != "train" {
			text = p.Name + ": " + text
		}
		parts = append(parts, text)
		scan, err := p.Data.Scan(t.Context(), ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, it := range p.Data.Items {
			items = append(items, fmt.Sprintf("%s %s %x", p.Name, strings.TrimPrefix(it.Path, dir), scan.IDs[i]))
		}
	}
	return strings.Join(parts, "; "), items
}

var uploads atomic.Int64

// upload copies a folder into one of its own in an object store.
func upload(t *testing.T, dir, store string) string {
	t.Helper()
	root := place.Join(must(place.Named(store)), fmt.Sprint(uploads.Add(1)))
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return place.Put(root+filepath.ToSlash(strings.TrimPrefix(path, dir)), path)
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// writeExample makes a file of an example: NAME: CONTENT, an image, or what exampleFiles has.
func writeExample(t *testing.T, dir, example string) {
	t.Helper()
	name, text, _ := strings.Cut(example, ": ")
	content := []byte(exampleText.Replace(text))
	longest := ""
	for end, maker := range exampleFiles {
		if strings.HasSuffix(name, end) && len(end) > len(longest) {
			content, longest = maker(t), end
		}
	}
	if len(content) == 0 && !imagepath.Is(name) {
		t.Fatalf("%s has no content; exampleFiles must make it", name)
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	testkit.WriteFile(t, path, content)
}
