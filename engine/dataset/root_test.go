package dataset

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/internal/imagepath"
)

// Folders that may be parts, or classes that hold the same folders, are worth a look.
func TestSameFoldersInAllClasses(t *testing.T) {
	fold := []string{"fold1/cat/1.jpg", "fold1/dog/2.jpg", "fold2/cat/3.jpg", "fold2/dog/4.jpg"}
	_, found := mustOpen(t, tree(t, fold...), Options{})
	wantFindings(t, found, NotAPart)
	_, found = mustOpen(t, tree(t, append(fold, "fold2/yak/5.jpg")...), Options{})
	wantFindings(t, found)
}

// Whether folders named train, val and test are parts or classes is decided by what is in them.
func TestRoots(t *testing.T) {
	set := func(names ...string) (files []string) {
		for _, name := range names {
			files = append(files, name+"/cat/1.jpg", name+"/dog/2.jpg")
		}
		return files
	}
	const list = "|path,label\n1.jpg,cat\n2.jpg,dog\n"
	for _, c := range []struct {
		name  string
		files []string
		want  string // train, val, test; or the classes of what is no root; or an error
	}{
		{"all", set("train", "val", "test"), "train val test"},
		{"words of names", append(set("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/1.jpg"),
			"seg_train/seg_train - seg_test/seg_test"},
		{"numbered", set("01_train", "02_val", "03_test"), "01_train 02_val 03_test"},
		{"trainval", set("trainval", "test"), "trainval - test"},
		{"words of classes", []string{"steam train/1.jpg", "test tube/2.jpg"}, "steam train 1, test tube 1"},
		{"words of classes that hold the same folders", set("steam train", "test tube", "cat"),
			"cat 2, steam train 2, test tube 2"},
		{"eval", set("train", "eval"), "train - eval"},
		{"eval beside a test", set("train", "eval", "test"), "train - test"},
		{"a folder in each", set("train/images", "valid/images"), "train/images valid/images -"},
		{"twice the folder", set("training_set/training_set", "test_set/test_set"),
			"training_set/training_set - test_set/test_set"},
		{"a folder around", append(set("ds/train", "ds/test"), "README.md|x"), "ds/train - ds/test"},
		{"other names", set("Training", "VALID", "Testing"), "Training VALID Testing"},
		{"dev", set("train", "dev"), "train dev -"},
		{"sets", set("training_set", "test_set"), "training_set - test_set"},
		{"train alone", set("train"), "train - -"},
		{"files beside", append(set("train", "test"), "README.md|x", "data.yaml|x", "docs/a.txt"), "train - test"},
		{"folders beside", append(set("train", "test"), "extra/3.jpg"), "train - test"},
		{"same classes beside", set("train", "test", "holdout"), "train - test"},
		{"system folders", append(set("train", "test"), "@eaDir/1.jpg", "__MACOSX/train/1.jpg"), "train - test"},
		{"deep", []string{"train/cat/a/b/1.jpg", "train/dog/c/2.jpg", "test/cat/x/3.jpg"}, "train - test"},
		{"an empty part", append(set("train", "test"), "val/"), "train - test"},
		{"unlabelled test", append(set("train"), "test/1.jpg", "test/2.jpg"), "train - -"},
		{"test in one folder", append(set("train"), "test/images/1.jpg"), "train - -"},
		{"stray image", append(set("train", "test"), "train/preview.png", "test/preview.png"), "train - test"},
		{"root in a root", append(set("train/train", "train/val"), set("test")...), "train/train train/val test"},
		{"metadata", []string{"train/metadata.csv|file_name,label\n1.jpg,cat\n2.jpg,dog\n", "train/1.jpg",
			"test/metadata.jsonl|{\"file_name\":\"1.jpg\",\"label\":\"cat\"}", "test/1.jpg"}, "train - test"},
		{"a list in each", []string{"train/labels.csv" + list, "train/1.jpg", "val/labels.csv" + list, "val/1.jpg"},
			"train val -"},
		{"lists", []string{"train.csv" + list, "val.csv" + list, "images/1.jpg"}, "train.csv val.csv -"},
		{"named lists", []string{"My_LT_train.txt|1.jpg 0\n2.jpg 1\n", "My_LT_test.txt|1.jpg 0\n", "images/a/1.jpg",
			"images/b/2.jpg"},
			"My_LT_train.txt - My_LT_test.txt"},
		{"the exact list", []string{"train.csv" + list, "train_long.csv" + list, "1.jpg"}, "train.csv - -"},
		{"Kaggle", []string{"train.csv|id,label\n1,cat\n2,dog\n", "test.csv|id\n3\n", "train/1.jpg", "train/2.jpg",
			"test/3.jpg"},
			"train.csv - -"},
		{"Kaggle's folders", []string{"train.csv|image_id,label\n1.jpg,0\n2.jpg,1\n", "train_images/1.jpg",
			"train_images/2.jpg", "test_images/3.jpg"}, "train.csv - -"},
		{"a class train and a list", []string{"train/1.jpg", "plane/2.jpg", "train.csv" + list}, "plane 1, train 1"},
		{"folders before lists", append(set("train", "test"), "train.csv"+list, "test.csv"+list), "train - test"},
		{"a list with parts", []string{"all.csv|path,label,split\n1.jpg,cat,train\n2.jpg,dog,train\n1.jpg,cat,val\n",
			"1.jpg"},
			". . -"},
		{"containers", []string{"train/a.parquet|x", "test/a.parquet|x"}, "train - test"},

		{"classes", []string{"test/1.jpg", "train/2.jpg", "plane/3.jpg"}, "plane 1, test 1, train 1"},
		{"a class train", []string{"train/1.jpg", "truck/2.jpg", "car/2.jpg"}, "car 1, train 1, truck 1"},
		{"a deep class train", []string{"train/steam/1.jpg", "train/diesel/1.jpg", "truck/2.jpg"}, "train 2, truck 1"},
		{"a class test", []string{"test/1.jpg", "plane/a/1.jpg", "plane/b/2.jpg"}, "plane 2, test 1"},
		{"classes and lists", []string{"cat/1.jpg", "dog/1.jpg", "train.csv" + list}, "cat 1, dog 1"},
		{"parts in classes", []string{"cat/train/1.jpg", "cat/test/2.jpg", "dog/train/1.jpg"}, "cat 2, dog 1"},
		{"metadata that cannot be read", []string{"cat/1.jpg", "dog/1.jpg", "metadata.csv|"}, "cat 1, dog 1"},
		{"metadata without labels", []string{"cat/1.jpg", "dog/1.jpg", "metadata.csv|file_name,text\ncat/1.jpg,x\n"},
			"cat 1, dog 1"},
		{"metadata with labels", []string{"0/1.jpg", "1/2.jpg",
			"metadata.csv|file_name,label\n0/1.jpg,x\n1/2.jpg,y\n"}, "x 1, y 1"},

		{"images without labels", []string{"train/1.jpg", "val/2.jpg", "test/3.jpg"},
			"! test, train, val are names of the parts"},
		{"either", []string{"train/steam/1.jpg", "train/diesel/1.jpg", "test/a/1.jpg", "test/b/1.jpg", "plane/1.jpg"},
			"! test, train may be the parts of a data set or classes like plane beside them"},
		{"metadata of another kind", []string{"train/metadata.csv|file_name,text\n1.jpg,x\n", "train/1.jpg",
			"test/2.jpg"},
			`! metadata.csv:1: the columns in the header must name path`},
		{"twice", set("train", "val", "validation"), "! name one with --val"},
		{"several lists", []string{"train_a.csv" + list, "train_b.csv" + list, "1.jpg"},
			"! several lists for train (train_a.csv, train_b.csv)"},
		{"no training part", set("val", "test"), "! it has no part for train, but for val ("},
		{"below", set("ds"), "! if the classes are the folders in it, name "},
		{"a list beside", []string{"1.jpg", "labels.csv|path,class of it\n1.jpg,cat\n"},
			"! name a list of them, such as "},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := tree(t, c.files...)
			s := Sources{Train: root}
			var notes []string
			ev := event.Events{Note: func(_ event.Level, m string, _ ...any) { notes = append(notes, m) }}
			err := s.Resolve(t.Context(), ev)
			once, said := s, len(notes)
			if err == nil {
				err = s.Resolve(t.Context(), ev)
			}
			if s != once || len(notes) != said {
				t.Errorf("a second time: %+v, %+v", once, s)
			}
			if want, refused := strings.CutPrefix(c.want, "! "); refused {
				if err == nil {
					_, _, err = Open(s.Train, Options{})
				}
				if fault.Of(err) != fault.Data || !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("error %v, want one of data with %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, source := range []string{s.Train, s.Val, s.Test} {
				rel, err := filepath.Rel(root, source)
				if err != nil {
					rel = "-"
				}
				got = append(got, filepath.ToSlash(rel))
			}
			if s.Train != root || s.Val != "" {
				if strings.Join(got, " ") != c.want {
					t.Errorf("parts %q, want %s", got, c.want)
				}
				if len(notes) == 0 {
					t.Error("nothing was said")
				}
				if c.name == "containers" { // which another package reads
					return
				}
				sets, err := s.Open(context.Background(), 0, nil, event.Events{})
				if err != nil || len(sets.Parts()) != 3-strings.Count(c.want, "-") {
					t.Errorf("%+v, %v", sets, err)
				}
				// Opened by itself, the root is its part.
				if d, _, err := Open(root, Options{Part: "train"}); err != nil || !slices.Equal(d.Counts(),
					sets.Train.Counts()) {
					t.Errorf("%+v, %v", d, err)
				}
				return
			}
			d, _ := mustOpen(t, root, Options{})
			var classes []string
			for i, n := range d.Counts() {
				classes = append(classes, fmt.Sprintf("%s %d", d.Classes[i], n))
			}
			if strings.Join(classes, ", ") != c.want {
				t.Errorf("classes %q, want %s", classes, c.want)
			}
		})
	}
}

// Links that lead back end.
func TestRootsWithLoops(t *testing.T) {
	root := tree(t, "test/1.jpg", "images/notes.txt", "all.csv|path,label\n1.jpg,a\n2.jpg,b\n")
	for i := range 8 {
		for _, dir := range []string{root, filepath.Join(root, "images")} {
			if err := os.Symlink(dir, filepath.Join(root, "images", fmt.Sprint(i, filepath.Base(dir)))); err != nil {
				t.Skip("no symbolic links here: ", err)
			}
		}
	}
	if err := os.Symlink(root, filepath.Join(root, "train")); err != nil {
		t.Fatal(err)
	}
	s := Sources{Train: root}
	if err := s.Resolve(t.Context(), event.Events{}); err != nil || s.Train != root {
		t.Errorf("%+v, %v", s, err)
	}
}

// What is given goes before what is in the root; each set takes its own part.
func TestRootAndOtherSets(t *testing.T) {
	root := tree(t, "train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "test/b/4.jpg")
	other := tree(t, "a/5.jpg", "b/6.jpg")
	in := func(name string) string { return filepath.Join(root, name) }
	for _, c := range []struct{ given, want Sources }{
		{Sources{Train: root}, Sources{Train: in("train"), Val: in("val"), Test: in("test")}},
		{Sources{Train: root, Val: "0.5"}, Sources{Train: in("train"), Val: "0.5", Test: in("test")}},
		{Sources{Train: root, Test: other}, Sources{Train: in("train"), Val: in("val"), Test: other}},
		{Sources{Train: other, Test: root}, Sources{Train: other, Test: in("test")}},
		{Sources{Train: other, Val: root}, Sources{Train: other, Val: in("val")}},
		{Sources{Train: in("train")}, Sources{Train: in("train")}},
		{Sources{Train: in("train"), Test: root}, Sources{Train: in("train"), Test: in("test")}},
		{Sources{Test: root}, Sources{Test: in("test")}},
		{Sources{Train: root + "x"}, Sources{Train: root + "x"}},
	} {
		s := c.given
		if err := s.Resolve(t.Context(), event.Events{}); err != nil || s != c.want {
			t.Errorf("%+v gives %+v, %v; want %+v", c.given, s, err, c.want)
		}
	}
	if err := os.RemoveAll(in("test")); err != nil {
		t.Fatal(err)
	}
	s := Sources{Train: other, Test: root}
	if err := s.Resolve(t.Context(), event.Events{}); fault.Of(err) != fault.Data || !strings.Contains(err.Error(),
		"no part for test") {
		t.Error(err)
	}
}

// Files and folders of systems are no classes and hold no images, in any depth, and are counted.
func TestSystemFiles(t *testing.T) {
	root := tree(t, "cat/1.jpg", "dog/2.jpg", "@eaDir/cat/1.jpg", "cat/@eaDir/1.jpg/T.jpg",
		"cat/deep/$RECYCLE.BIN/1.jpg",
		"System Volume Information/1.jpg", ".ipynb_checkpoints/1.jpg", "cat/.ipynb_checkpoints/1-checkpoint.jpg",
		"__MACOSX/cat/._1.jpg", "cat/._1.jpg", "lost+found/", ".git/x.png", "CVS/1.jpg", "dog/#recycle/1.jpg",
		"@Recycle/1.jpg",
		"dog/Thumbs.db", "dog/desktop.ini", ".Trash-1000/files/1.jpg", "cat/.DS_Store")
	d, findings := mustOpen(t, root, Options{})
	if got := items(t, root, d); !slices.Equal(got, []string{"cat cat/1.jpg", "dog dog/2.jpg"}) {
		t.Errorf("items %q", got)
	}
	wantFindings(t, findings, SystemFiles)
	for _, want := range []string{"17 hidden files", "(2 .ipynb_checkpoints, 2 @eaDir, 1 "} {
		if !strings.Contains(findings[0].Message, want) {
			t.Errorf("%s does not say %q", findings[0].Message, want)
		}
	}
	if len(findings[0].Items) != 17 {
		t.Errorf("items %q", findings[0].Items)
	}
}

// Images go by many extensions; where there is none, the message says what is there.
func TestExtensions(t *testing.T) {
	for _, ending := range []string{"jpg", "JFIF", "jpe", "jif", "avif", "heic", "HEIF", "pbm", "pam", "dib", "apng"} {
		if !imagepath.Is("a." + ending) {
			t.Errorf("%s is no image", ending)
		}
	}
	_, _, err := Open(tree(t, "a/1.xyz", "a/2.xyz", "b/3.raw", "b/4", "x.md"), Options{})
	for _, want := range []string{"no images: ", "in no class folder (1 .md)",
		"no images by their extension (2 .xyz, 1 .raw, " +
			"1 without extension)", "images end in .jpg .jpeg", "convert them"} {
		if fault.Of(err) != fault.Data || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Two normal forms of a name are one class; the message about a class that is unknown names one that is nearly it.
func TestNamesOfClasses(t *testing.T) {
	nfc, nfd := "café", norm.NFD.String("café")
	train, findings := mustOpen(t, tree(t, nfc+"/1.jpg", nfd+"/2.jpg", "dog/3.jpg"), Options{})
	if !slices.Equal(train.Classes, []string{nfc, "dog"}) || !slices.Equal(train.Counts(), []int{2, 1}) {
		t.Errorf("%q of %v", train.Classes, train.Counts())
	}
	wantFindings(t, findings, SameText)
	for _, form := range []string{nfc, nfd} { // the training set's form stays
		own, findings := mustOpen(t, tree(t, form+"/1.jpg", "dog/3.jpg"), Options{})
		if own.Classes[0] != form {
			t.Errorf("%+q became %+q", form, own.Classes[0])
		}
		wantFindings(t, findings)
		for _, other := range []string{nfc, nfd} {
			test, findings := mustOpen(t, tree(t, other+"/1.jpg", "dog/2.jpg"), Options{Classes: own.Classes})
			if test.Items[0].Class != 0 || !slices.Equal(test.Classes, own.Classes) {
				t.Errorf("%+q in place of %+q: %+v", other, form, test)
			}
			if said := len(findings) == 1 && findings[0].Kind == SameText; said != (other != form) {
				t.Errorf("findings %+v", findings)
			}
		}
	}
	root := tree(t, "l.csv|path,label\na.jpg,"+nfc+"\nb.jpg,"+nfd+"\nc.jpg,dog\na.jpg,"+nfd+"\n")
	list, findings := mustOpen(t, filepath.Join(root, "l.csv"), Options{})
	if !slices.Equal(list.Counts(), []int{2, 1}) {
		t.Errorf("%q of %v", list.Classes, list.Counts())
	}
	wantFindings(t, findings, SameText, DuplicatePath)
	// Of two classes of an older run that are one text, each keeps its own.
	old := []string{nfd, nfc}
	if d, _ := mustOpen(t, tree(t, nfc+"/1.jpg", nfd+"/2.jpg"), Options{Classes: old}); !slices.Equal(d.Counts(),
		[]int{1, 1}) {
		t.Errorf("%v", d.Counts())
	}

	_, _, err := Open(tree(t, "Sea_Lion/1.jpg", "yak/1.jpg"), Options{Classes: []string{"sea lion", "elk"}})
	if err == nil || !strings.Contains(err.Error(), `"Sea_Lion" (1), "yak" (1) ("Sea_Lion" is "sea lion" there)`) {
		t.Error(err)
	}
}

// Messages show names that are no text, and items keep them.
func TestNamesThatAreNoText(t *testing.T) {
	root := tree(t, "a/1.jpg", "b/2.jpg")
	if err := os.WriteFile(filepath.Join(root, "a", "caf\xe9.txt"), nil, 0o644); err != nil {
		t.Skip("names are texts here: ", err)
	}
	_, findings := mustOpen(t, root, Options{})
	wantFindings(t, findings, IgnoredFiles)
	if !strings.Contains(findings[0].Message, `caf\xe9.txt`) || filepath.Base(findings[0].Items[0]) != "caf\xe9.txt" {
		t.Errorf("%+v", findings)
	}
}
