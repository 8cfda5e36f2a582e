package testkit_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

var (
	link    = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	other   = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// What documents link to in the repository is there, with the heading that is named.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	root, links := testkit.Root(), 0
	var documents []string
	for _, pattern := range []string{"*.md", "docs/*.md", "models/*.md", "models/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	for _, document := range documents {
		for _, m := range link.FindAllStringSubmatch(string(testkit.ReadFile(t, document)), -1) {
			path, anchor, _ := strings.Cut(m[2], "#")
			target := document
			if path != "" {
				target = filepath.Join(filepath.Dir(document), path)
			}
			switch _, err := os.Stat(target); {
			case strings.Contains(m[2], "://"):
			case err != nil:
				t.Errorf("%s links to %s: %v", document, m[2], err)
			case anchor != "" && filepath.Ext(target) == ".md" && !anchors(t, target)[anchor]:
				t.Errorf("%s links to %s: there is no such heading", document, m[2])
			default:
				links++
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links in %d documents", links, len(documents))
	}
}

// anchors are the headings of a document as GitHub names them in links.
func anchors(t *testing.T, document string) map[string]bool {
	found := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(string(testkit.ReadFile(t, document)), -1) {
		text := strings.ToLower(link.ReplaceAllString(h[1], "$1"))
		found[strings.ReplaceAll(other.ReplaceAllString(text, ""), " ", "-")] = true
	}
	return found
}
