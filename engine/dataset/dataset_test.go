package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/testkit"
)

// tree makes files under a new folder; a name that ends in / is a folder. The content of a file is its name unless
// given after a |.
func tree(t testing.TB, names ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "set")
	for _, name := range append(names, "") {
		name, content, ok := strings.Cut(name, "|")
		if !ok {
			content = name
		}
		path := filepath.Join(root, name)
		dir := filepath.Dir(path)
		if name == "" || strings.HasSuffix(name, "/") {
			dir = path
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if dir == path {
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// items lists a data set as "class path", paths relative to root.
func items(t testing.TB, root string, d *Dataset) []string {
	t.Helper()
	var out []string
	for _, it := range d.Items {
		rel, err := filepath.Rel(root, it.Path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d.Classes[it.Class]+" "+filepath.ToSlash(rel))
	}
	return out
}

func mustOpen(t testing.TB, source string, o Options) (*Dataset, []Finding) {
	t.Helper()
	d, findings, err := Open(source, o)
	if err != nil {
		t.Fatal(err)
	}
	return d, findings
}

func wantFindings(t testing.TB, got []Finding, kinds ...Kind) {
	t.Helper()
	var found []Kind
	for _, f := range got {
		found = append(found, f.Kind)
		if f.Message == "" || len(f.Items) == 0 {
			t.Errorf("finding without message or items: %+v", f)
		}
	}
	if !slices.Equal(found, kinds) {
		t.Errorf("findings %v, want %v: %+v", found, kinds, got)
	}
}

func TestFolder(t *testing.T) {
	root := tree(t, "dog/b.JPG", "dog/a.png", "dog/deep/x/c.webp", "cat/z.jpeg", "cat/.hidden.png", ".git/x.png",
		"cat/notes.txt", "stray.png", "empty/")
	d, findings := mustOpen(t, root, Options{})
	if want := []string{"cat", "dog"}; !slices.Equal(d.Classes, want) {
		t.Errorf("classes %v, want %v", d.Classes, want)
	}
	want := []string{"cat cat/z.jpeg", "dog dog/a.png", "dog dog/b.JPG", "dog dog/deep/x/c.webp"}
	if got := items(t, root, d); !slices.Equal(got, want) {
		t.Errorf("items %v, want %v", got, want)
	}
	wantFindings(t, findings, IgnoredFiles, SystemFiles, EmptyClass)
	if got := findings[2].Items; !slices.Equal(got, []string{"empty"}) {
		t.Errorf("empty classes %v", got)
	}
	if got := findings[0].Items; len(got) != 2 || !strings.HasSuffix(got[0], "stray.png") ||
		!strings.HasSuffix(got[1], "notes.txt") {
		t.Errorf("ignored %v", got)
	}
	if got := d.Counts(); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("counts %v", got)
	}
	if b, err := d.Items[1].Bytes(); err != nil || string(b) != "dog/a.png" {
		t.Errorf("bytes %q, %v", b, err)
	}
	if d.Name != "set" {
		t.Errorf("name %q", d.Name)
	}
}

func TestFolderLinks(t *testing.T) {
	root := tree(t, "cat/a.png", "dog/b.png")
	elsewhere := tree(t, "photos/c.png", "photos/d.png")
	for to, from := range map[string]string{
		"bird":        filepath.Join(elsewhere, "photos"),             // a class that is a link
		"cat/more":    filepath.Join(elsewhere, "photos"),             // a folder in a class
		"cat/one.png": filepath.Join(elsewhere, "photos", "c.png"),    // a file
		"dog/loop":    filepath.Join(root, "dog"),                     // back up
		"dog/no.png":  filepath.Join(elsewhere, "photos", "gone.png"), // to nowhere
	} {
		if err := os.Symlink(from, filepath.Join(root, to)); err != nil {
			t.Skip("no symbolic links here: ", err)
		}
	}
	d, findings := mustOpen(t, root, Options{})
	want := []string{"bird bird/c.png", "bird bird/d.png", "cat cat/a.png", "cat cat/one.png", "cat cat/more/c.png",
		"cat cat/more/d.png", "dog dog/b.png", "dog dog/no.png"}
	if got := items(t, root, d); !slices.Equal(got, want) {
		t.Errorf("items %v, want %v", got, want)
	}
	wantFindings(t, findings, SkippedLink)
}

func TestClassOrder(t *testing.T) {
	for _, c := range []struct{ labels, want []string }{
		{[]string{"10", "9", "0"}, []string{"0", "9", "10"}},
		{[]string{"10", "9", "x"}, []string{"10", "9", "x"}},
		{[]string{"02", "2", "1"}, []string{"1", "02", "2"}},
		{[]string{"b", "B", "é", "a"}, []string{"B", "a", "b", "é"}},
		{[]string{"-1", "2", "10"}, []string{"-1", "10", "2"}},
	} {
		var names []string
		for _, l := range c.labels {
			names = append(names, l+"/a.png")
		}
		d, _ := mustOpen(t, tree(t, names...), Options{})
		if !slices.Equal(d.Classes, c.want) {
			t.Errorf("classes %v, want %v", d.Classes, c.want)
		}
	}
}

func TestTestSet(t *testing.T) {
	classes := []string{"dog", "cat", "emu"} // any order
	d, findings := mustOpen(t, tree(t, "cat/1.png", "dog/2.png", "newt/"), Options{Classes: classes})
	if !slices.Equal(d.Classes, classes) || d.Items[0].Class != 1 || d.Items[1].Class != 0 {
		t.Errorf("%+v", d)
	}
	wantFindings(t, findings, UntestedClass)
	if !slices.Equal(findings[0].Items, []string{"emu"}) {
		t.Errorf("untested %v", findings[0].Items)
	}
	// One class is enough for a test set.
	mustOpen(t, tree(t, "cat/1.png"), Options{Classes: classes})
	// It is that class, whatever list lies beside it.
	d, _ = mustOpen(t, tree(t, "cat/1.png", "list.csv|path,label\na.png,dog\n"), Options{Classes: classes})
	if len(d.Items) != 1 || d.Items[0].Class != 1 {
		t.Errorf("%+v", d)
	}

	_, _, err := Open(tree(t, "cat/1.png", "yak/1.png", "yak/2.png", "elk/1.png"), Options{Classes: classes})
	var unknown *UnknownLabelError
	if !errors.As(err, &unknown) || fault.Of(err) != fault.Data {
		t.Fatalf("error %v", err)
	}
	if want := []LabelCount{{"elk", 1}, {"yak", 2}}; !reflect.DeepEqual(unknown.Labels, want) {
		t.Errorf("unknown labels %v, want %v", unknown.Labels, want)
	}
	if !strings.Contains(err.Error(), `"elk" (1), "yak" (2)`) {
		t.Errorf("message %q", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	csv := func(text string) string { return filepath.Join(tree(t, "m.csv|"+text), "m.csv") }
	jsonl := func(text string) string { return filepath.Join(tree(t, "m.jsonl|"+text), "m.jsonl") }
	for _, c := range []struct{ name, source, want string }{
		{"nothing there", filepath.Join(t.TempDir(), "none"), "no such file or folder"},
		{"empty folder", tree(t), "no class folders"},
		{"images without classes", tree(t, "a.png", "b.png"), "no class folders in it (2 files: 2 .png)"},
		{"no images", tree(t, "a/x.txt", "b/"), "no images"},
		{"one class", tree(t, "a/x.png", "b/"), `only one class with images, "a"`},
		{"control character", tree(t, "a\nb/x.png", "c/x.png"), "control characters"},
		{"invalid UTF-8", tree(t, "a\xff/x.png", "c/x.png"), "not UTF-8"},
		{"unknown kind", filepath.Join(tree(t, "x.rar"), "x.rar"), "not a data source"},

		{"empty csv", csv(""), "first line must be path,label"},
		{"no header", csv("a.png,cat\nb.png,dog\n"), "m.csv:1: the columns in the header must name path"},
		{"other columns", csv("photo;size\na.png;3\n"), `they are ["photo" "size"]`},
		{"header only", csv("path,label\n"), "no images"},
		{"column twice", csv("path,label,Label\n"), "twice"},
		{"empty label", csv("path,label\na.png,cat\nb.png, \n"), "m.csv:3: empty label for "},
		{"empty path", csv("path,label\na.png,cat\n,dog\n"), "m.csv:3: empty path"},
		{"zero byte", csv("path,label\na\x00.png,cat\n"), "m.csv:2: path holds a zero byte"},
		{"ragged", csv("path,label\na.png,cat,x\n"), "m.csv:2: not as many fields"},
		{"bare quote", csv("path,label\na.png,\"cat\nb.png,dog\n"), "m.csv:"},
		{"newline in label", csv("path,label\na.png,\"c\nat\"\nb.png,dog\n"), "control characters"},
		{"two labels", csv("path,label\na.png,cat\nb.png,dog\nx/../a.png,dog\n"), `m.csv:4`},
		{"not JSON", jsonl("{\"path\":\"a\",\"label\":\"x\"}\noops\n"), "m.jsonl:2: not a JSON object"},
		{"two values", jsonl(`{"path":"a","label":"x"} {}`), "m.jsonl:1: more than one"},
		{"no label", jsonl(`{"path":"a"}`), `m.jsonl:1: the keys of an object must name path`},
		{"no path", jsonl(`{"label":"a"}`), `they are ["label"]`},
		{"odd label", jsonl(`{"path":"a","label":1.5}`), "neither text nor a whole number"},
		{"list label", jsonl(`{"path":"a","label":["x"]}`), "neither text nor a whole number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Open(c.source, Options{})
			if fault.Of(err) != fault.Data || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v, want one of data with %q", err, c.want)
			}
			if missing := c.name == "nothing there"; missing != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("wraps fs.ErrNotExist: %v", !missing)
			}
		})
	}
}

func TestManifest(t *testing.T) {
	abs := filepath.Join(t.TempDir(), "abs.png")
	for name, text := range map[string]string{
		"m.csv": "\ufeff id , Label,path\r\n1,\"big, cat\",a.png\r\n2,dog ,sub/../b.png\r\n" +
			"\r\n3,dog,b.png\r\n4,dog," + abs + "\r\n",
		"M.JSONL": "\ufeff{\"path\":\"a.png\",\"label\":\"big, cat\",\"id\":1}\n\n" +
			"{\"label\":\"dog\",\"path\":\"sub/../b.png\"}\r\n" +
			"{\"path\":\"b.png\",\"label\":\"dog\"}\n{\"path\":" + fmt.Sprintf("%q", abs) + ",\"label\":\"dog\"}",
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, name+"|"+text, "a.png")
			d, findings := mustOpen(t, filepath.Join(root, name), Options{})
			want := []Item{{Path: filepath.Join(root, "a.png")}, {Path: filepath.Join(root, "b.png"), Class: 1},
				{Path: abs, Class: 1}}
			if !reflect.DeepEqual(d.Items, want) || !slices.Equal(d.Classes, []string{"big, cat", "dog"}) {
				t.Errorf("%+v", d)
			}
			wantFindings(t, findings, IgnoredColumns, DuplicatePath)
			if !slices.Equal(findings[1].Items, []string{filepath.Join(root, "b.png")}) {
				t.Errorf("duplicates %v", findings[0].Items)
			}
		})
	}
	root := tree(t, `m.jsonl|{"path":"a","label":10}`+"\n"+`{"path":"b","label":9}`)
	if d, _ := mustOpen(t, filepath.Join(root, "m.jsonl"), Options{}); !slices.Equal(d.Classes, []string{"9", "10"}) {
		t.Errorf("classes %v", d.Classes)
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"path,label\na,b\n", "\ufefflabel,path,x\r\n\"a\",\"b\nc\",\n", "path\n", "\"", ",,\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { fuzzManifest(t, "m.csv", data) })
}

func FuzzJSONL(f *testing.F) {
	for _, s := range []string{`{"path":"a","label":"b"}`, "{\"path\":\"a\",\"label\":1}\n\n{}", "[]", "null", "{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { fuzzManifest(t, "m.jsonl", data) })
}

// fuzzManifest reads any bytes as a manifest: an error, or a data set that holds together.
func fuzzManifest(t *testing.T, name string, data []byte) {
	d, _, err := Open(put(t, t.TempDir(), name, data), Options{})
	if err != nil {
		if fault.Of(err) != fault.Data {
			t.Fatalf("error %v is not one of data", err)
		}
		return
	}
	seen := map[string]bool{}
	for _, it := range d.Items {
		if seen[it.Path] {
			t.Fatalf("%q twice", it.Path)
		}
		seen[it.Path] = true
	}
	for class, n := range d.Counts() {
		if n == 0 || d.Classes[class] == "" {
			t.Fatalf("class %q with %d items", d.Classes[class], n)
		}
	}
}

// Predictions of a run, in which what spreadsheets would compute stands behind an apostrophe, are a manifest too; in
// other files an apostrophe is one.
func TestManifestOfPredictions(t *testing.T) {
	dir := t.TempDir()
	for header, want := range map[string]string{
		"path,label,predicted,confidence":                   "-rare",
		"path,label,predicted,confidence,confidence_before": "-rare",
		"path,label,predicted":                              "'-rare",
	} {
		rest := strings.Repeat(",0", strings.Count(header, ",")-1) + "\n"
		text := header + "\na.jpg,'-rare" + rest + "b.jpg,z" + rest
		path := testkit.WriteFile(t, filepath.Join(dir, "p.csv"), []byte(text))
		d, _, err := Open(path, Options{})
		if err != nil || !slices.Equal(d.Classes, []string{want, "z"}) {
			t.Errorf("%s: %v, %v; want the class %s", header, d, err, want)
		}
	}
}
