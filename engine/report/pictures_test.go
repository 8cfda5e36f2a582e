package report_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/testkit"
)

// illustrated is the folder of f with pictures.json: every image is the same picture, and features are drawn around
// their class.
func illustrated(t testing.TB, f fixture) string {
	t.Helper()
	dir, m := f.write(t)
	d := run.Folder(dir)
	var p run.Predictions
	if err := run.PredictionsFile.Into(&p, d); err != nil {
		t.Fatal(err)
	}
	picture := testkit.JPEG(t, testkit.Picture(1, 2, 3))
	open := func(int) ([]byte, error) { return picture, nil }
	judged, train := report.Images{Set: "test", Open: open}, report.Images{Set: "train", Open: open}
	at := map[string]int{}
	var classes []string
	for k, c := range m.PerClass {
		classes, at[c.Label] = append(classes, c.Label), k
		for i := range c.TrainCount {
			train.Paths = append(train.Paths, fmt.Sprintf("/home/jane doe/photos/%d/%d.jpg", k, i))
			train.Labels = append(train.Labels, k)
		}
	}
	for _, row := range p.Rows {
		judged.Paths, judged.Labels = append(judged.Paths, row.Path), append(judged.Labels, at[row.Label])
	}
	pictures, err := report.Gather(classes, train, judged, p.Rows, func(rows []int) ([]float32, error) {
		r := rand.New(rand.NewPCG(5, 6))
		var x []float32
		for _, row := range rows {
			for k := range 8 {
				x = append(x, float32(r.NormFloat64()+3*math.Sin(float64(judged.Labels[row]*(k+1)))))
			}
		}
		return x, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.PicturesFile.Write(d, pictures); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Every mark of every plot says what it is, and every class's leads to what the page says of the class.
func TestMarksSayWhatTheyAre(t *testing.T) {
	page := parse(t, write(t, illustrated(t, fixture{classes: 100, perClass: 10, epochs: 3})))
	spots := 0
	for _, svg := range page.named("svg") {
		stops := 0
		for _, e := range svg.all(func(e *element) bool { return e.attr["class"] == "spot" }) {
			spots++
			if title := e.named("title"); len(title) != 1 || len(title[0].content) < 4 {
				t.Fatalf("a mark of %s says nothing", svg.attr["aria-label"])
			}
			if e.name == "a" {
				page.section(t, strings.TrimPrefix(e.attr["href"], "#"))
			}
			if e.attr["tabindex"] == "0" {
				stops++
			}
		}
		if stops != 1 && spots > 0 {
			t.Errorf("%s has %d stops of the tab key, want 1", svg.attr["aria-label"], stops)
		}
	}
	if spots < 100+100+100+1000 {
		t.Errorf("%d marks", spots)
	}
	byClass := func(id string) (names []string) {
		for _, e := range page.section(t, id).all(func(e *element) bool { return e.attr["class"] == "spot" }) {
			name, _, _ := strings.Cut(e.content, ":")
			names = append(names, strings.TrimSpace(name))
		}
		return names
	}
	for _, id := range []string{"frequency", "photos"} {
		names := byClass(id)
		for k := range 100 {
			if !slices.Contains(names, fmt.Sprint("class ", k)) {
				t.Errorf("%s does not name class %d", id, k)
			}
		}
	}
}

// A class's part of the page has photos that it was trained on, what it is taken for, and its mistakes.
func TestClassByClass(t *testing.T) {
	page := parse(t, write(t, illustrated(t, fixture{classes: 12, perClass: 20})))
	details := page.section(t, "classes").all(func(e *element) bool { return e.attr["class"] == "class" })
	if len(details) != 12 {
		t.Fatalf("%d classes", len(details))
	}
	d := details[0]
	if got := len(d.named("img")); got < 6 {
		t.Errorf("class 0 has %d pictures", got)
	}
	for _, want := range []string{"More training photos", "Taken for", "Mistakes, the surest first", "95 %"} {
		if !strings.Contains(d.content, want) {
			t.Errorf("class 0 does not say %q: %s", want, d.content)
		}
	}
}

// No folder of the user's is on the page, wherever a path stands in the run's files.
func TestNoPathsOfTheMachine(t *testing.T) {
	dir := illustrated(t, fixture{classes: 3, path: func(_ string, i int) string {
		return fmt.Sprintf("/home/jane doe/secret/photo set/test/%d.png", i)
	}})
	put(t, dir, "config.yaml", "train: /home/jane doe/secret/photo set/train\n"+
		"test: C:\\Users\\jane\\secret\\photos\\test\n"+
		"cache: /root/.cache/vitft\nbackbone: /home/jane/vit.onnx\nloss: cvs\n")
	put(t, dir, "warnings.txt", "an image is unreadable; path: /home/jane doe/secret/photo set/train/a/b.jpg\n"+
		"read \"/mnt/secret/disk/x.png\": and /srv/secret/more/y.png, see https://example.com/a/b/c or a/b\n"+
		`C:\Users\jane\secret\pics\z.bmp is none; and \\server\secret\share\w.bmp`+"\n")
	put(t, dir, "skipped.csv", "set,path,reason\n"+
		"train,/home/jane/secret/sets/c/x.jpg,open /home/jane/secret/sets/c/x.jpg: no\n")
	put(t, dir, "pictures.json", jsonOf(t, run.Pictures{})) // the images are looked for, and not found
	text := write(t, dir)
	for _, word := range []string{"jane", "secret", "/root", "/home", "Users", "/mnt", "/srv", "server"} {
		if at := strings.Index(text, word); at >= 0 {
			t.Errorf("the page says %q: …%s…", word, text[max(0, at-60):min(len(text), at+60)])
		}
	}
	for _, word := range []string{"a/b.jpg", "disk/x.png", "more/y.png", "example.com/a/b/c or a/b", "c/x.jpg"} {
		if !strings.Contains(text, word) {
			t.Errorf("the page does not say %q", word)
		}
	}
	swept, _ := sweepFixture{experiment: ablation}.write(t)
	config := string(testkit.ReadFile(t, filepath.Join(swept, "sweep.yaml")))
	put(t, swept, "sweep.yaml", strings.ReplaceAll(config, "/data/cifar", "/home/jane/secret/sets/cifar"))
	if text := writeSweep(t, swept); strings.Contains(text, "jane") || strings.Contains(text, "secret") {
		t.Error("the page of a sweep names a folder of the user's")
	}
}

// Groups that have no classes are nowhere on the page.
func TestEmptyGroupsAreLeftOut(t *testing.T) {
	dir, m := fixture{classes: 6}.write(t)
	for k := range m.PerClass {
		m.PerClass[k].TrainCount = 50
	}
	m.Groups[0].Classes, m.Groups[1].Classes, m.Groups[2].Classes = 0, 6, 0
	put(t, dir, "metrics.json", jsonOf(t, m))
	page := parse(t, write(t, dir))
	if rows := page.section(t, "groups").rows(); len(rows) != 1 || rows[0][0] != "medium" {
		t.Errorf("groups %v", rows)
	}
	for _, id := range []string{"results", "groups", "frequency", "photos", "reliability", "kappa", "curves"} {
		for _, e := range page.section(t, id).all(func(e *element) bool {
			return e.attr["class"] == "few" || e.attr["class"] == "many"
		}) {
			t.Errorf("%s shows %s", id, e.content)
		}
	}
}

// The page and its pictures stay small, whatever the run is: so do they for 100,000 images and for 1,000 classes.
func TestPicturesAreBounded(t *testing.T) {
	for _, x := range []struct {
		fixture
		page, pictures int
	}{
		{fixture{classes: 100, perClass: 1000, epochs: 2}, 4 << 20, 3 << 20},
		{fixture{classes: 1000, perClass: 2, epochs: 2}, 6 << 20, 4 << 20},
	} {
		dir := illustrated(t, x.fixture)
		text := write(t, dir)
		size, err := os.Stat(filepath.Join(dir, "pictures.json"))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d classes, %d images: page %d, pictures.json %d bytes", x.classes, x.classes*x.perClass, len(text),
			size.Size())
		if len(text) > x.page || int(size.Size()) > x.pictures {
			t.Error("that is too large")
		}
		if want := "1,500 of the"; !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// The map's directions and shares are those of gonum's principal components.
func TestMapIsOfPrincipalComponents(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const n, dim = 60, 12
	x, all := make([]float32, n*dim), mat.NewDense(n, dim, nil)
	for i := range x {
		x[i] = float32(r.NormFloat64() * float64(1+i%dim))
		all.Set(i/dim, i%dim, float64(x[i]))
	}
	places, share, ok := report.Project(x, n)
	var pc stat.PC
	if !ok || !pc.PrincipalComponents(all, nil) {
		t.Fatal("there are none")
	}
	vars := pc.VarsTo(nil)
	total := 0.0
	for _, v := range vars {
		total += v
	}
	for c := range 2 {
		if math.Abs(share[c]-vars[c]/total) > 1e-6 {
			t.Errorf("component %d has %v of the variance, want %v", c, share[c], vars[c]/total)
		}
		sum := 0.0
		for _, p := range places {
			sum += float64(p[c]) * float64(p[c])
		}
		if math.Abs(sum/(n-1)-vars[c]) > 1e-3*vars[c] {
			t.Errorf("component %d varies by %v, want %v", c, sum/(n-1), vars[c])
		}
	}
	for _, x := range [][]float32{nil, {1, 2}, {1, 2, 1, 2, 1, 2}, {1, 2, 2, 4, 3, 6}} {
		if _, _, ok := report.Project(x, len(x)/2); ok {
			t.Errorf("there is a map of %v", x)
		}
	}
}

// FuzzPictures: whatever pictures.json says, the page can be written or the file is refused.
func FuzzPictures(f *testing.F) {
	dir := illustrated(f, fixture{classes: 3, epochs: 2})
	f.Add([]byte(testkit.ReadFile(f, filepath.Join(dir, "pictures.json"))))
	f.Add([]byte(`{"photos":[{"set":"train","label":"class 0","jpeg":"AA=="}],"map":{"of":-1,"variance":[null,9e99],"points":[{"path":"a","x":1e38,"y":-1e38}]}}`))
	f.Fuzz(func(t *testing.T, pictures []byte) {
		put(t, dir, "pictures.json", string(pictures))
		r, err := report.Load(dir)
		if json.Valid(pictures) == false && err == nil {
			t.Error("what is no JSON is taken")
		}
		loadsAndWrites(t, r, err)
	})
}
