package dataset

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/internal/imagepath"
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

// Each example of the table of sources in docs/data.md is what the table says.
func TestDocumentedSources(t *testing.T) {
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
			var s Sources
			given := strings.Fields(exampleCode.FindStringSubmatch(cells[2])[1])
			for i := 0; i+1 < len(given); i += 2 {
				at := map[string]*string{"--train": &s.Train, "--val": &s.Val, "--test": &s.Test}[given[i]]
				*at = filepath.Join(dir, given[i+1])
			}
			sets, err := s.Open(context.Background(), 0, nil, event.Events{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range sets.Parts() {
				var classes []string
				for i, n := range p.Data.Counts() {
					classes = append(classes, fmt.Sprintf("%s %d", p.Data.Classes[i], n))
				}
				text := strings.Join(classes, ", ")
				if p.Name != "train" {
					text = p.Name + ": " + text
				}
				got = append(got, text)
			}
			if got, want := strings.Join(got, "; "), strings.TrimSpace(cells[3]); got != want {
				t.Errorf("it is read as %s, not as %s", got, want)
			}
		})
	}
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
