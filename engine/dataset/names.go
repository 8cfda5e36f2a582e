package dataset

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/internal/imagepath"
)

// counted says how many names there are of each kind, the most first: "3 .txt, 1 .xml".
func counted(names []string, kind func(string) string) string {
	counts := map[string]int{}
	for _, name := range names {
		counts[kind(name)]++
	}
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%d %s", counts[k], k)
	}
	return some(kinds)
}

// extension is that of a file, in lower case, as a message says it.
func extension(name string) string {
	return cmp.Or(strings.ToLower(filepath.Ext(name)), "without extension")
}

// ofSystem is the kind of what IsSystem finds: its name, or of a hidden file its extension.
func ofSystem(name string) string {
	name = filepath.Base(name)
	if strings.HasPrefix(name, ".") && imagepath.Is(name) {
		return "hidden " + extension(name)
	}
	return name
}
