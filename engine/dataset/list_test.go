package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/unicode/norm"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
)

// utf16 is a text in UTF-16 with a byte order mark.
func utf16(t testing.TB, order unicode.Endianness, text string) string {
	t.Helper()
	out, err := unicode.UTF16(order, unicode.UseBOM).NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Lists as people and programs write them, beside images across/1.jpg and "down, wet/2 3.JPG": class a has the first,
// class b the second.
func TestListsAsTheyCome(t *testing.T) {
	const one, two = "across/1.jpg", "down, wet/2 3.JPG"
	plain := "path,label\n" + one + ",a\n\"" + two + "\",b\n"
	for _, c := range []struct {
		name, text string
		found      []Kind
	}{
		{"plain.csv", plain, nil},
		{"mark.csv", "\ufeff" + plain, nil},
		{"utf16le.csv", utf16(t, unicode.LittleEndian, plain), nil},
		{"utf16be.csv", utf16(t, unicode.BigEndian, plain), nil},
		{"windows.csv", strings.ReplaceAll(plain, "\n", "\r\n"), nil},
		{"oldmac.csv", strings.ReplaceAll(plain, "\n", "\r"), nil},
		{"oldmac.txt", one + " a\r" + two + " b\r", nil},
		{"noend.csv", strings.TrimSpace(plain), nil},
		{"semicolon.csv", "path;label\n" + one + ";a\n" + two + ";b\n", nil},
		{"sep.csv", "sep=;\r\npath;label\r\n" + one + ";a\r\n" + two + ";b\r\n", nil},
		{"tab.csv", "path\tlabel\n" + one + "\ta\n" + two + "\tb\n", []Kind{ListForm}},
		{"bar.csv", "path|label\n" + one + "|a\n" + two + "|b\n", []Kind{ListForm}},
		{"tab.tsv", "path\tlabel\n" + one + "\ta\n" + two + "\tb\n", nil},
		{"comma.tsv", plain, []Kind{ListForm}},
		{"excel.txt", utf16(t, unicode.LittleEndian, "path\tlabel\r\n"+one+"\ta\r\n"+two+"\tb\r\n"), nil},
		{"blank.csv", ",,\n\npath,label,\n,,\n" + one + ",a,\n\" \",,\n\"" + two + "\",b,\n,,\n,,\n", nil},
		{"wide.csv", "path,label\n" + one + ",a,,,\n\"" + two + "\",b,\n", nil},
		{"narrow.csv", "path,label,note,\n" + one + ",a\n\"" + two + "\",b,x\n", []Kind{IgnoredColumns}},
		{"quotes.csv", "\"path\",\"label\"\n\"" + one + "\",\"a\"\n\"" + two + "\",\"b\"\n", nil},
		{"names.csv", "File Name,CATEGORY\n" + one + ",a\n\"" + two + "\",b\n", nil},
		{"index.csv", ",image_path,target\n0," + one + ",a\n1,\"" + two + "\",b\n", nil},
		{"order.csv", "id,y,Filename,class name,width\n7,0," + one + ",a,3\n8,1,\"" + two + "\",b,3\n",
			[]Kind{IgnoredColumns}},
		{"ranks.csv", "path,kingdom,class,species\n" + one + ",Animalia,Aves,a\n\"" + two + "\",Animalia,Aves,b\n",
			[]Kind{IgnoredColumns}},
		{"split.csv", "path,label,Split\n" + one + ",a,train\n\"" + two + "\",b,train\n", []Kind{IgnoredColumns}},
		{"fold.csv", "path,label,fold\n" + one + ",a,0\n\"" + two + "\",b,1\n", []Kind{IgnoredColumns}},
		{"bare.csv", one + ",a\n\"" + two + "\",b\n", []Kind{ListForm}},
		{"turned.csv", "a," + one + "\nb,\"" + two + "\"\n", []Kind{ListForm}},
		{"backslash.csv", "path,label\n.\\across\\1.jpg,a\n\"down, wet\\2 3.JPG\",b\n", nil},
		{"noext.csv", "id,label\nacross/1,a\n\"down, wet/2 3\",b\n", nil},
		{"dots.csv", "path,label\n./across/../across/1.jpg,a\n\"./" + two + "\",b\n", nil},
		{"words.txt", one + " a\n\n" + two + " b\n", nil},
		{"words.csv", one + " a\n" + two + " b\n", nil},
		{"tabs.txt", one + "\ta\n" + two + "\tb\n", []Kind{ListForm}},
		{"first.txt", "a " + one + "\nb " + two + "\n", nil},
		{"quoted.txt", "\"" + one + "\" a\n\"" + two + "\" b\n", nil},
		{"header.txt", "path label\n" + one + " a\n\"" + two + "\" b\n", nil},
		{"commas.txt", one + ",a\n\"" + two + "\",b\n", []Kind{ListForm}},
		{"mxnet.lst", "0\ta\t" + one + "\n1\tb\t" + two + "\n", nil},
		{"lines.jsonl", `{"file_name":"across/1.jpg","label":"a","n":1}` + "\r\n\r\n" +
			`{"label":"b","file_name":"down, wet/2 3.JPG"}`, []Kind{IgnoredColumns}},
		{"lines.json", `{"image":"across/1.jpg","class":"a"}` + "\n" + `{"image":"down, wet/2 3.JPG","class":"b"}`,
			nil},
		{"array.json", `[ {"path":"across/1.jpg","label":"a"},` + "\n" + `{"path":"down, wet\\2 3.JPG","label":"b"}]`,
			nil},
		{"later.jsonl", `{"path":"across/1.jpg","label":"a"}` + "\n" +
			`{"label":"b","path":"down, wet/2 3.JPG","more":0}`, []Kind{IgnoredColumns}},
		{"mark.ndjson", "\ufeff" + `{"Image Path":"across/1.jpg","Label":"a"}` + "\n" +
			`{"Image Path":"down, wet/2 3.JPG","Label":"b"}`, nil},
		{"coco.json", `{"info":{"a":[{"b":1}]},"annotations":[{"image_id":"x","category_id":1,"bbox":[1,2]},
			{"image_id":"x","category_id":1},{"image_id":"y","category_id":2}],
			"images":[{"id":"x","file_name":"across\\1.jpg"},{"id":"y","file_name":"down, wet/2 3.JPG"}],
			"categories":[{"id":2,"name":"b"},{"id":1,"name":"a"}]}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := tree(t, one, two, c.name+"|"+c.text)
			if c.name == "mxnet.lst" { // whose labels are numbers
				put(t, root, c.name, []byte(strings.NewReplacer("\ta\t", "\t0.000000\t", "\tb\t",
					"\t1.0\t").Replace(c.text)))
			}
			d, findings := mustOpen(t, filepath.Join(root, c.name), Options{})
			want := []string{"a " + one, "b " + two}
			if c.name == "mxnet.lst" {
				want, c.found = []string{"0 " + one, "1 " + two}, []Kind{ListForm}
			}
			if got := items(t, root, d); !slices.Equal(got, want) {
				t.Errorf("items %q, want %q", got, want)
			}
			wantFindings(t, findings, c.found...)
		})
	}
}

// Files that lists mean are found in folders nearby; what is nowhere stays beside the list.
func TestPlacesOfLists(t *testing.T) {
	nfd := norm.NFD.String("é.jpg")
	for name, c := range map[string]struct {
		list, text string
		files      []string
		want       string // of the second row
	}{
		"beside":  {"l.csv", "1.jpg,a\n2.jpg,b\n", []string{"1.jpg", "2.jpg"}, "2.jpg"},
		"missing": {"l.csv", "1.jpg,a\n2.jpg,b\n", []string{"1.jpg", "images/2.jpg"}, "2.jpg"},
		"images":  {"l.csv", "1.jpg,a\n2.jpg,b\n", []string{"images/1.jpg", "images/2.jpg"}, "images/2.jpg"},
		"parent":  {"lists/l.csv", "p/1.jpg,a\np/2.jpg,b\n", []string{"p/1.jpg", "p/2.jpg"}, "p/2.jpg"},
		"beside parent": {"annotations/l.csv", "1.jpg,a\n2.jpg,b\n", []string{"train/1.jpg", "train/2.jpg"},
			"train/2.jpg"},
		"grandparent":      {"a/b/l.csv", "p/1.jpg,a\np/2.jpg,b\n", []string{"p/1.jpg", "p/2.jpg"}, "p/2.jpg"},
		"two folders":      {"l.csv", "1,a\n2,b\n", []string{"train/1.png", "test/2.jpeg"}, "test/2.jpeg"},
		"upper extension":  {"l.csv", "1,a\n2,b\n", []string{"1.JPG", "2.PNG"}, "2.PNG"},
		"a point in an id": {"l.csv", "x.1,a\nx.2,b\n", []string{"x.1.jpg", "x.2.jpg"}, "x.2.jpg"},
		"normal form":      {"l.csv", "1.jpg,a\né.jpg,b\n", []string{"1.jpg", nfd}, nfd},
		"backslash a name": {"l.csv", "1.jpg,a\nx\\2.jpg,b\n", []string{"1.jpg", `x\2.jpg`, "x/2.jpg"}, `x\2.jpg`},
		"nowhere":          {"l.csv", "1,a\n2.jpg,b\n", nil, "2.jpg"},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, append(c.files, c.list+"|path,label\n"+c.text)...)
			d, findings := mustOpen(t, filepath.Join(root, c.list), Options{})
			want := filepath.Join(root, c.want)
			if name == "nowhere" || name == "missing" {
				want = filepath.Join(filepath.Dir(filepath.Join(root, c.list)), c.want)
			}
			if d.Items[1].Path != want {
				t.Errorf("it is %s, not %s", d.Items[1].Path, want)
			}
			elsewhere := filepath.Dir(want) != filepath.Dir(filepath.Join(root, c.list)) && !strings.Contains(name,
				"nowhere")
			if said := len(findings) > 0; said != elsewhere {
				t.Errorf("findings %+v", findings)
			}
		})
	}
}

// Labels that are whole numbers are such however they are written; others stay what they are.
func TestWholeNumbers(t *testing.T) {
	root := tree(t, "train.csv|path,label\na.jpg,10.0\nb.jpg,2.0\n", "mixed.csv|path,label\na.jpg,1.0\nb.jpg,1.5\n",
		"test.csv|path,label\na.jpg,10\nb.jpg,2.00\n", "first.txt|7 a.jpg\n9 b.jpg\n", "a.jpg", "b.jpg", "7.jpg",
		`train.json|[{"path":"a.jpg","label":10.0},{"path":"b.jpg","label":2.0}]`)
	for _, c := range []struct {
		name    string
		classes []string // given
		want    string
		found   []Kind
	}{
		{"train.csv", nil, "2 10", []Kind{ListForm}},
		{"train.json", nil, "2 10", nil},
		{"mixed.csv", nil, "1.0 1.5", nil},
		{"test.csv", []string{"2", "10"}, "2 10", []Kind{ListForm}},
		{"mixed.csv", []string{"1.0", "1.5"}, "1.0 1.5", nil},
		{"first.txt", nil, "7 9", nil},
	} {
		d, found := mustOpen(t, filepath.Join(root, c.name), Options{Classes: c.classes})
		wantFindings(t, found, c.found...)
		if got := strings.Join(d.Classes, " "); got != c.want || !slices.Equal(d.Counts(), []int{1, 1}) {
			t.Errorf("%s: classes %s with %v images, want %s", c.name, got, d.Counts(), c.want)
		}
	}
}

// Images of one name in the folders of several parts are those of the list's part.
func TestPlacesOfParts(t *testing.T) {
	images := []string{"train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg"}
	const list = "|id,label\n1,a\n2,b\n"
	root := tree(t, append(images, "train.csv"+list, "test.csv"+list)...)
	ultralytics := tree(t, "images/train/1.jpg", "images/train/2.jpg", "images/test/1.jpg", "images/test/2.jpg",
		"trainLabels.csv"+list, "testLabels.csv"+list)
	split := tree(t, "images/1.jpg", "images/2.jpg", "images/3.jpg", "x.csv|id,label,split\n1,a,train\n2,b,train\n"+
		"3,b,test\n")
	for _, c := range []struct{ root, train, test string }{
		{root, "train/1.jpg", "test/1.jpg"},
		{ultralytics, "images/train/1.jpg", "images/test/1.jpg"},
		{split, "images/1.jpg", "images/3.jpg"},
	} {
		sets, err := (&Sources{Train: c.root}).Open(t.Context(), 0, nil, event.Events{})
		if err != nil {
			t.Error(err)
			continue
		}
		if got := sets.Train.Items[0].Path; got != filepath.Join(c.root, c.train) {
			t.Errorf("training image %s, not %s", got, c.train)
		}
		if got := sets.Test.Items[0].Path; got != filepath.Join(c.root, c.test) {
			t.Errorf("test image %s, not %s", got, c.test)
		}
	}
}

// What a file in the schema of COCO says twice, or of nothing, is said.
func TestOddCOCO(t *testing.T) {
	const images = `{"images":[{"id":1,"file_name":"a.jpg"},{"id":2,"file_name":"b.jpg"}],`
	const three = `"annotations":[{"image_id":1,"category_id":1},{"image_id":2,"category_id":2},
		{"image_id":9,"category_id":1}],`
	root := tree(t, "a.jpg", "b.jpg", "stray.json|"+images+three+
		`"categories":[{"id":1,"name":"cat"},{"id":2,"name":"dog"},{"id":3,"name":"dog"}]}`, "twice.json|"+images+three+
		`"categories":[{"id":1,"name":"cat"},{"id":2,"name":"dog"},{"id":2,"name":"yak"}]}`)
	_, found := mustOpen(t, filepath.Join(root, "stray.json"), Options{})
	wantFindings(t, found, SimilarClasses, Unpaired)
	_, _, err := Open(filepath.Join(root, "twice.json"), Options{})
	if fault.Of(err) != fault.Data || !strings.Contains(fmt.Sprint(err), `category 2 is there twice, as "dog" and as "yak"`) {
		t.Error(err)
	}
}

func TestSimilarClasses(t *testing.T) {
	root := tree(t, "Cat/1.jpg", "cat/2.jpg", "a/3.jpg", "A/4.jpg")
	d, found := mustOpen(t, root, Options{})
	wantFindings(t, found, SimilarClasses)
	if len(d.Classes) != 4 || !slices.Equal(found[0].Items, []string{`"Cat" and "cat"`}) {
		t.Errorf("%v, %v", d.Classes, found)
	}
}

// A label with several classes in it is said, and one with a comma is none.
func TestSeveralLabels(t *testing.T) {
	text := "path|label\na.jpg|cat; dog\nb.jpg|dog\nc.jpg|cat; dog; yak\nd.jpg|yak\ne.jpg|tench, Tinca tinca\n"
	_, found := mustOpen(t, filepath.Join(tree(t, "x.csv|"+text), "x.csv"), Options{})
	wantFindings(t, found, ListForm, SeveralLabels)
	if got := found[1].Items; !slices.Equal(got, []string{"cat; dog", "cat; dog; yak"}) {
		t.Errorf("%q", got)
	}
}

// Captions and numbers of images are no labels.
func TestClassForEachImage(t *testing.T) {
	text := "path,label\n"
	for i := range 12 {
		text += fmt.Sprintf("%d.jpg,photo %d\n", i, i)
	}
	_, found := mustOpen(t, filepath.Join(tree(t, "x.csv|"+text), "x.csv"), Options{})
	wantFindings(t, found, OneEach)
}

func TestListsRefuse(t *testing.T) {
	const images = `"images":[{"id":1,"file_name":"a.jpg"},{"id":2,"file_name":"b.jpg"}]`
	for _, c := range []struct{ name, text, want string }{
		{"url.csv", "path,label\na.jpg,a\nhttps://example.org/b.jpg,b\n",
			"url.csv:3: \"https://example.org/b.jpg\" is an address"},
		{"ftp.txt", "ftp://bucket/b.jpg b\n", "ftp.txt:1: \"ftp://bucket/b.jpg\" is an address"},
		{"data.jsonl", `{"path":"data:image/png;base64,AA","label":"a"}`, "download the images"},
		{"file.csv", "path,label\nfile:///tmp/a.jpg,a\n", "is an address"},
		{"drive.csv", "path,label\nC:\\photos\\a.jpg,a\n",
			`drive.csv:2: "C:\\photos\\a.jpg" is a path of a Windows machine`},
		{"share.csv", "path,label\n\\\\server\\a.jpg,a\n", "Windows machine"},
		{"absolute.csv", "path,label\n/nowhere/x/a.jpg,a\n/nowhere/x/b.jpg,b\n", "made on another machine"},
		{"columns.csv", "foo,bar\n1,2\n",
			`columns.csv:1: the columns in the header must name path (or file_name, image, …) ` +
				`and label (or class, category, …); they are ["foo" "bar"]: rename them`},
		{"semicolons.csv", "foo;bar\n1;2\n", `they are ["foo" "bar"]`},
		{"keys.jsonl", `{"foo":1,"bar":2}`, `the keys of an object must name path`},
		{"keys.json", `[{"foo":1,"bar":2}]`, `entry 1: the keys of an object must name path`},
		{"twice.csv", "file_name,filename,label\na.jpg,a.jpg,a\n",
			`column "filename" appears twice, as "file_name" and as ` +
				`"filename"; rename one`},
		{"latin1.csv", "path,label\na.jpg,caf\xe9\nb.jpg,b\n", "save the list as UTF-8"},
		{"utf16.csv", "p\x00a\x00t\x00h\x00", "UTF-16 without a byte order mark"},
		{"words.txt", "a.jpg 0\nb.jpg\n", `words.txt:2: "b.jpg" is no path and label`},
		{"prose.txt", "this is not a list\n", "prose.txt:1: "},
		{"empty.txt", "\n\n", "empty file"},
		{"empty.jsonl", "\n", "no images"},
		{"three.txt", "a.jpg,b,c\n", "three.txt:1: "},
		{"parts.jsonl", `{"path":"a.jpg","label":"a"}` + "\n" + `{"path":"b.jpg","label":"b","split":"test"}`,
			`parts.jsonl:2: it has the key "split"`},
		{"annotations.txt", "a.jpg\tn01\t0\t1\nb.jpg\tn02\t0\t1\n", `they are ["a.jpg" "n01" "0" "1"]`},
		{"number.jsonl", `{"path":"a.jpg","label":1.5}`, "neither text nor a whole number"},
		{"broken.json", `[{"path":"a.jpg","label":"a"},`, "entry 2: "},
		{"noimages.json", `{"a":[1,2,{"b":[]}],` + "\n" + `"c":"d"}`, "it lists no images"},
		{"several.json", `{` + images + `,` + "\n" +
			`"annotations":[{"image_id":1,"category_id":1},{"image_id":1,"category_id":2}],
			"categories":[{"id":1,"name":"cat"},{"id":2,"name":"dog"}]}`, `image "a.jpg" has several categories, "cat" and "dog"`},
		{"unlabelled.json", `{` + images + `,` + "\n" + `"categories":[]}`, "it has no annotations, and so no labels"},
		{"category.json", `{` + images + `,"annotations":[{"image_id":1,"category_id":9}],` + "\n" + `"categories":[]}`,
			`image "a.jpg" has category 9, which is not among`},
		{"nan.csv", "path,label\na.jpg,a\nb.jpg,NaN\n", "b.jpg, which stands for none: give it one"},
		{"boxes.txt", "a.jpg 3 4 5 6 0\nb.jpg 3 4 7 8 1\n", `boxes.txt:1: "3 4 5 6 0" are several numbers`},
		{"cut.json", `[{"path":"a.jpg","label":"a"},{"path":"b.jpg","label":"b"}`, "cut short"},
		{"two.json", `[{"path":"a.jpg","label":"a"}][{"path":"b.jpg","label":"b"}]`, "more than one JSON value"},
		{"cut.coco.json", `{` + images + `,` + "\n" + `"annotations":[{"image_id":1,"category_id":1},
			{"image_id":2,"category_id":2}],"categories":[{"id":1,"name":"cat"},{"id":2,"name":"dog"}]`, "cut short"},
		{"workbook.csv", "PK\x03\x04\x14\x00", "workbooks of spreadsheets"},
		{"pointer.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "git lfs pull"},
		{"page.csv", "\n<!DOCTYPE html><html>", "it is a web page"},
		{"gzip.csv", "\x1f\x8b\x08\x00", "gunzip"},
		{"image.json", `{"images":[` + "\n" + `{"id":1}]}`, "images: entry 1: it needs id and file_name"},
		{"names.txt", "a.jpg 0\nb.jpg 2\n", "names.txt:2: label 2 has no name in "},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := tree(t, c.name+"|"+c.text)
			if c.name == "names.txt" {
				put(t, root, "classes.txt", []byte("cat\ndog\n"))
			}
			_, _, err := Open(filepath.Join(root, c.name), Options{})
			if fault.Of(err) != fault.Data || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v, want one of data with %q", err, c.want)
			}
		})
	}
}

// Numbers of a list without a header get the names in a file beside it.
func TestClassNamesOfLists(t *testing.T) {
	for name, c := range map[string]struct {
		file, names, list string
		want              []string
	}{
		"lines":       {"classes.txt", "cat\r\ndog\r\nnewt\r\n", "l.txt|a.jpg 1\nb.jpg 0\n", []string{"cat", "dog"}},
		"numbers":     {"class_names.txt", "1 cat\n2 dog\n", "l.txt|a.jpg 1\nb.jpg 2\n", []string{"cat", "dog"}},
		"not numbers": {"classes.txt", "cat\ndog\n", "l.txt|a.jpg x\nb.jpg y\n", []string{"x", "y"}},
		"a header":    {"classes.txt", "cat\ndog\n", "l.csv|path,label\na.jpg,0\nb.jpg,1\n", []string{"0", "1"}},
		"itself":      {"other.txt", "", "labels.txt|a.jpg 0\nb.jpg 1\n", []string{"0", "1"}},
		"a list":      {"labels.txt", "x.jpg 0\n", "l.txt|a.jpg 0\nb.jpg 1\n", []string{"0", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, c.file+"|"+c.names, c.list)
			list, _, _ := strings.Cut(c.list, "|")
			d, _ := mustOpen(t, filepath.Join(root, list), Options{})
			if !slices.Equal(d.Classes, c.want) {
				t.Errorf("classes %q, want %q", d.Classes, c.want)
			}
			if test, _ := mustOpen(t, filepath.Join(root, list),
				Options{Classes: d.Classes}); test.Items[0] != d.Items[0] {
				t.Errorf("as a test set: %+v", test)
			}
		})
	}
}

// A list with a column of parts gives each set its rows.
func TestRowsOfAPart(t *testing.T) {
	const rows = "a,x,Train,\nb,y,train,\nc,x,Validation,\nd,y,test,\ne,y,extra,\nf,y,,\n"
	root := tree(t, "all.csv|path,label,Subset,\n"+rows,
		"ds/metadata.csv|file_name,label\ntrain/a,x\n./train/b,y\ntest/d,y\n")
	all, ds := filepath.Join(root, "all.csv"), filepath.Join(root, "ds")
	for _, c := range []struct{ source, part, want string }{
		{all, "", "a b"}, {all, "train", "a b"}, {all, "val", "c"}, {all, "test", "d"},
		{ds, "train", "a b"}, {ds, "test", "d"},
	} {
		d, findings := mustOpen(t, c.source, Options{Part: c.part, Classes: map[bool][]string{true: {"x",
			"y"}}[c.part != ""]})
		var got []string
		for _, it := range d.Items {
			got = append(got, filepath.Base(it.Path))
		}
		if strings.Join(got, " ") != c.want || !strings.Contains(d.Name, "(") {
			t.Errorf("%s: %q of %s, want %s", c.part, got, d.Name, c.want)
		}
		if i := slices.IndexFunc(findings, func(f Finding) bool { return f.Kind == TakenPart }); i < 0 {
			t.Errorf("findings %+v", findings)
		}
	}
	if _, _, err := Open(ds, Options{Part: "val"}); err == nil || !strings.Contains(err.Error(), "test") {
		t.Error(err)
	}
	put(t, root, "half.csv", []byte("path,label,split\na,x,train\nb,y,train\nc,x,val\n"))
	if _, _, err := Open(filepath.Join(root, "half.csv"), Options{Part: "test"}); err == nil ||
		!strings.Contains(err.Error(), "it has no row of test by its column split, but train (2), val (1)") {
		t.Error(err)
	}
}

func FuzzTXT(f *testing.F) {
	for _, s := range []string{"a.jpg 0\nb.jpg 1", "\"a b\" 0\n", "0\t1.0\tx.png", "\xff\xfea\x00", "sep=;\na.jpg;1",
		"path label\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { fuzzManifest(t, "m.txt", data) })
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`[{"path":"a","label":"b"}]`,
		`{"images":[{"id":1,"file_name":"a"}],"annotations":[{"image_id":1,` +
			`"category_id":2}],"categories":[{"id":2,"name":"x"}]}`, "{\"path\":\"a\",\"label\":1}\n{}", "{}", "[",
		`{"images":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { fuzzManifest(t, "m.json", data) })
}

// A list that is a pipe is refused, not waited for.
func TestListIsAFile(t *testing.T) {
	if _, _, err := Open(os.DevNull, Options{}); fault.Of(err) != fault.Data {
		t.Error(err)
	}
}
