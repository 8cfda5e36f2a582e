package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/testkit"
)

// The figure by which the memory of a list is told is held by lists of the shortest entries, and of long ones.
func TestMemoryOfLists(t *testing.T) {
	withoutDetector(t)
	const images = 300_000
	for name, format := range map[string]string{"short": "%d,%d\n",
		"long": "photos/of/the/class/%06d/image.png,class %d\n"} {
		var list bytes.Buffer
		list.WriteString("path,label\n")
		for i := range images {
			fmt.Fprintf(&list, format, i, i%2)
		}
		path := testkit.WriteFile(t, filepath.Join(t.TempDir(), "m.csv"), list.Bytes())
		list = bytes.Buffer{}
		holds(t, name, path, images, func(r *reading) int64 { return r.memory })
	}
}

// The same for archives of small members, whose names are short.
func TestMemoryOfArchives(t *testing.T) {
	withoutDetector(t)
	const images = 100_000
	members := make([]entry, images)
	for i := range members {
		members[i] = entry{fmt.Sprintf("%d/%d.png", i%2, i), ""}
	}
	for name, content := range map[string][]byte{"x.zip": zipOf(t, members...), "x.tar": tarOf(t, members...)} {
		path := testkit.WriteFile(t, filepath.Join(t.TempDir(), name), content)
		said := int64(0)
		if name == "x.zip" {
			said = perMember * int64(len(content)-bytes.Index(content, []byte("PK\x01\x02")))
		}
		content = nil
		holds(t, name, path, images, func(r *reading) int64 { return said + r.memory + 2*perSample*images })
	}
}

// holds compares what a list takes with what is said of it once it has been read.
func holds(t *testing.T, name, path string, images int64, of func(*reading) int64) {
	t.Helper()
	read := func() int64 {
		r := &reading{source: path}
		if _, err := r.dataset(nil); err != nil {
			t.Error(err)
		}
		return of(r)
	}
	said := read()
	took := testkit.PeakMemoryWithin(t, said, func() { read() })
	t.Logf("%s: %d bytes an image of %d", name, took/images, said/images)
	if took > said+8<<20 {
		t.Errorf("%s: a list takes %d bytes, said %d", name, took, said)
	}
}

// withoutDetector skips a test of memory in short runs: those are the race detector's, which takes memory of its own.
func withoutDetector(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the race detector takes memory, too")
	}
}

// A list that memory has no room for is refused, and so is an entry without an end.
func TestListsAreBounded(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64 << 20))
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, says string }{
		"many.csv": {"path,label\n" + strings.Repeat("a,b\n", 200_000),
			"images takes 0.0627 GiB of memory; there are 0.0625"},
		"many.jsonl": {strings.Repeat("{\"path\":\"a\",\"label\":1}\n", 200_000), "images takes 0.0"},
		"quote.csv":  {"path,label\na,b\n\"" + strings.Repeat("a,b\n", 1<<19), "quote.csv:2: the entry after this"},
		"line.jsonl": {"\n{\"path\":\"" + strings.Repeat("a", 1<<21), "line.jsonl:1: the entry after this one"},
		"deep.jsonl": {"{\"path\":\"a\",\"label\":" + strings.Repeat("[", 1<<19), "deep.jsonl:1: not a JSON object"},
	} {
		path := testkit.WriteFile(t, filepath.Join(dir, name), []byte(c.text))
		if _, _, err := Open(path, Options{}); err == nil || fault.Of(err) != fault.Data ||
			!strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %.200v, want %q", name, err, c.says)
		}
	}
	huge := testkit.WriteFile(t, filepath.Join(dir, "classes.txt"), nil)
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Skip("no sparse files here: ", err)
	}
	if _, err := classNames(dir); fault.Of(err) != fault.Data || !strings.Contains(err.Error(), "limit here is 16") {
		t.Error(err)
	}
}
