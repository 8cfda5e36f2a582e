package testkit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/vitft/vitft/internal/testkit"
)

// width is how long a line of Go may be, in columns, a tab counting four.
const width = 120

// Code and comments keep to one width. Lines of raw strings and the output of examples are somebody else's text.
func TestLinesKeepToTheWidth(t *testing.T) {
	root := testkit.Root()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || strings.HasSuffix(d.Name(), "pb")):
			return fs.SkipDir // the checkout's own folders, generated code
		case filepath.Ext(path) != ".go":
			return nil
		}
		text := string(testkit.ReadFile(t, path))
		raw := rawLines(t, path, text)
		for i, line := range strings.Split(text, "\n") {
			columns := utf8.RuneCountInString(line) + 3*strings.Count(line, "\t")
			if columns > width && !raw[i+1] {
				t.Errorf("%s:%d has %d columns", path, i+1, columns)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rawLines are the lines that a raw string or the output of an example is on.
func rawLines(t *testing.T, path, text string) map[int]bool {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[int]bool{}
	add := func(n ast.Node) {
		for l := files.Position(n.Pos()).Line; l <= files.Position(n.End()).Line; l++ {
			lines[l] = true
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(s.Value, "`") {
			add(n)
		}
		return true
	})
	for _, c := range parsed.Comments {
		if strings.HasPrefix(c.Text(), "Output:") {
			add(c)
		}
	}
	return lines
}
