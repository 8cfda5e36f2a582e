package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/testkit"
)

var sections = []string{"results", "groups", "photos", "frequency", "confusions", "mistakes", "classes", "metrics",
	"reliability", "kappa", "curves", "run", "warnings"}

func TestEverySection(t *testing.T) {
	for _, f := range []fixture{{classes: 2}, {classes: 40, validated: true}, {classes: 100}, {classes: 300},
		{classes: 5, epochs: 1}} {
		t.Run(fmt.Sprintf("%d classes", f.classes), func(t *testing.T) {
			dir, _ := f.write(t)
			page := parse(t, write(t, dir))
			for _, id := range sections {
				s := page.section(t, id)
				if len(s.named("h2")) != 1 || len(strings.TrimSpace(s.content)) < 30 {
					t.Errorf("section %s has nothing to say: %q", id, s.content)
				}
			}
			for id, plots := range map[string]int{"groups": 1, "frequency": 1, "kappa": 1, "curves": 3} {
				if got := len(page.section(t, id).named("svg")); got != plots {
					t.Errorf("section %s has %d plots, want %d", id, got, plots)
				}
			}
			for _, link := range page.named("a") {
				page.section(t, strings.TrimPrefix(link.attr["href"], "#"))
			}
		})
	}
}

// Plots must follow the page's colours and fonts, and be described.
func TestPlotsAreThemed(t *testing.T) {
	dir, _ := fixture{classes: 30}.write(t)
	text := write(t, dir)
	if found := regexp.MustCompile(`(?i)(#[0-9a-f]{6}|font-family|NaN|Inf)[^<]*</?(path|text|g)`).FindString(text); found != "" {
		t.Errorf("a plot has %q", found)
	}
	for _, variable := range []string{"ink", "muted", "rule", "many", "medium", "few", "many-soft"} {
		if !strings.Contains(text, "var(--"+variable+")\"") && !strings.Contains(text, "var(--"+variable+");") {
			t.Errorf("no plot uses --%s", variable)
		}
	}
	for _, svg := range parse(t, text).named("svg") {
		role := "img"
		if len(svg.all(func(e *element) bool { return e.attr["class"] == "spot" })) > 0 {
			role = "group"
		}
		if svg.attr["role"] != role || svg.attr["aria-label"] == "" || svg.attr["viewBox"] == "" {
			t.Errorf("a plot has attributes %v", svg.attr)
		}
	}
}

func TestNumbersAreThoseOfMetrics(t *testing.T) {
	dir, m := fixture{classes: 60}.write(t)
	page := parse(t, write(t, dir))
	headline := map[string]string{}
	for _, row := range page.section(t, "metrics").rows() {
		if len(row) == 4 {
			headline[row[0]] = row[1]
		}
	}
	for name, want := range map[string]metric.Number{
		"Balanced accuracy": m.BalancedAccuracy, "Top-1": m.Top1, "Top-5": m.Top5, "Macro-F1": m.MacroF1,
		"Worst class":   m.WorstClass,
		"Harmonic mean": m.HarmonicMean, "Geometric mean": m.GeometricMean,
		"ECE": m.ECE, "MCE": m.MCE, "Class-wise ECE": m.ClasswiseECE, "NLL": m.NLL, "Brier": m.Brier,
	} {
		if got := headline[name]; got != fmt.Sprintf("%.4f", float64(want)) {
			t.Errorf("%s is %q on the page and %v in metrics.json", name, got, want)
		}
	}
	for i, g := range m.Groups {
		row := page.section(t, "groups").rows()[i]
		if want := []string{strconv.Itoa(g.Classes), fmt.Sprintf("%.4f", float64(g.Accuracy)), g.Interval.Text(3),
			fmt.Sprintf("%.4f", float64(g.ECE))}; !slices.Equal(row[2:], want) {
			t.Errorf("group %v, want %v", row, want)
		}
	}
	rows := page.section(t, "classes").rows()
	groups := map[string]int{}
	for k, c := range m.PerClass { // they are in the order of their training images
		want := []string{c.Label, rows[k][1], strconv.Itoa(c.TrainCount), strconv.Itoa(c.Samples), cell(c.Accuracy),
			c.Interval.Text(3), cell(c.Precision), cell(c.ECE)}
		if !slices.Equal(rows[k], want) {
			t.Errorf("row %d is %v, want %v", k, rows[k], want)
		}
		groups[rows[k][1]]++
	}
	if groups["many"] != m.Groups[calib.Many].Classes || groups["medium"] != m.Groups[calib.Medium].Classes ||
		groups["few"] != m.Groups[calib.Few].Classes {
		t.Errorf("the rows are of groups %v, metrics.json has %+v", groups, m.Groups)
	}
}

func cell(n metric.Number) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf("%.3f", float64(n))
}

// The diagrams show the very bins whose error metrics.json tells.
func TestReliabilityIsThatOfMetrics(t *testing.T) {
	check := func(m metric.Number, groups metric.Groups, got [4]float64) {
		t.Helper()
		for i, want := range []metric.Number{m, groups[calib.Many].ECE, groups[calib.Medium].ECE,
			groups[calib.Few].ECE} {
			if math.Abs(got[i]-float64(want)) > 1e-12 {
				t.Errorf("diagram %d has ECE %v, metrics.json %v", i, got[i], want)
			}
		}
	}
	for _, temperature := range [][]float64{nil, {0.6}} {
		dir, m := fixture{classes: 50, perClass: 20, temperature: temperature}.write(t)
		r, err := report.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		check(m.ECE, m.Groups, r.ECEs(false))
		if temperature != nil {
			check(m.Calibration.Before.ECE, m.Calibration.Before.Groups, r.ECEs(true))
		}
	}
}

func TestCalibration(t *testing.T) {
	temperature := []float64{0.5, 0.75, 0.625}
	dir, m := fixture{classes: 3, perClass: 40, temperature: temperature}.write(t)
	page := parse(t, write(t, dir))
	b := m.Calibration.Before
	before := map[string]metric.Number{"ECE": b.ECE, "MCE": b.MCE, "Class-wise ECE": b.ClasswiseECE, "NLL": b.NLL,
		"Brier": b.Brier}
	for _, row := range page.section(t, "metrics").rows() {
		if len(row) == 1 {
			continue
		}
		want := ""
		if v, changed := before[row[0]]; changed {
			want = fmt.Sprintf("%.4f →", float64(v))
		}
		if row[1] != want {
			t.Errorf("%s before calibration is %q, want %q", row[0], row[1], want)
		}
		if row[0] == "ECE" && row[2] != fmt.Sprintf("%.4f", float64(m.ECE)) {
			t.Errorf("ECE after calibration is %q, want %v", row[2], m.ECE)
		}
	}
	for i, g := range b.Groups {
		if got, want := page.section(t, "groups").rows()[i][5], fmt.Sprintf("%.4f → ",
			float64(g.ECE)); !math.IsNaN(float64(g.ECE)) && !strings.HasPrefix(got, want) {
			t.Errorf("group %d before calibration has ECE %q, want %q", i, got, want)
		}
	}
	reliability := page.section(t, "reliability")
	if n, heads := len(reliability.named("figure")), reliability.named("h3"); n != 8 || len(heads) != 2 ||
		!strings.HasPrefix(heads[0].content, "Before") {
		t.Errorf("%d diagrams under %d headings, want 8 under 2", n, len(heads))
	}
	ran := page.section(t, "run").content
	for _, want := range []string{"training on 4 views of each image; judged by the mean feature of 2 views",
		"classwise: temperatures 0.500 to 0.750 by predicted class, fitted on out-of-fold logits of the training " +
			"images, 5 folds"} {
		if !strings.Contains(ran, want) {
			t.Errorf("what ran does not say %q", want)
		}
	}
	put(t, dir, "predictions.csv", "path,label,predicted,confidence\na,class 0,class 1,0.5\n")
	if _, err := report.Load(dir); err == nil || fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), "confidence_before") {
		t.Errorf("without the confidences before: %v", err)
	}
	put(t, dir, "predictions.csv", "path,label,predicted,confidence,confidence_before\na,class 0,class 1,0.5,2\n")
	if _, err := report.Load(dir); err == nil || fault.Of(err) != fault.Data ||
		!strings.Contains(err.Error(), `confidence_before "2"`) {
		t.Errorf("with an impossible confidence before: %v", err)
	}
}

// κ is tabled at the end of each phase, with what was shrunk and skipped.
func TestKappaTable(t *testing.T) {
	dir, _ := fixture{classes: 2}.write(t)
	put(t, dir, "kappa.csv", `epoch,phase,class,kappa,std_err,samples,bins,skipped,shrunk
1,mla,class 0,5,0.1,9,4,false,false
1,mla,class 1,5,,0,0,true,false
2,mla,class 0,0.5,0.1,9,4,false,true
2,mla,class 1,0.75,,9,4,true,false
3,cla,class 0,1.5,0.2,9,4,false,true
3,cla,class 1,1.25,0.3,9,4,false,true
`)
	var got []string
	for _, row := range parse(t, write(t, dir)).section(t, "kappa").rows() {
		got = append(got, strings.Join(row, " "))
	}
	want := []string{"epoch 2 (mla)", "many 0.500 0.000 0.100 1 1 0", "few 0.750 0.000 – 1 0 1", "epoch 3 (cla)",
		"many 1.500 0.000 0.200 1 1 0", "few 1.250 0.000 0.300 1 1 0"}
	if !slices.Equal(got, want) {
		t.Errorf("κ is tabled as %q, want %q", got, want)
	}
}

func TestConfusedPairs(t *testing.T) {
	dir, m := fixture{classes: 2}.write(t)
	m.PerClass[0].Label, m.PerClass[1].Label = "cat", "dog"
	m.PerClass[0].Samples, m.PerClass[1].Samples = 4, 2
	put(t, dir, "metrics.json", jsonOf(t, m))
	put(t, dir, "kappa.csv", "epoch,phase,class,kappa,std_err,samples,bins,skipped,shrunk\n")
	put(t, dir, "predictions.csv", `path,label,predicted,confidence
a,cat,dog,0.6
b,cat,dog,0.9
c,cat,dog,0.7
d,cat,cat,1
e,dog,cat,0.8
f,dog,dog,0.8
`)
	page := parse(t, write(t, dir))
	rows := page.section(t, "confusions").rows()
	if matrix := fmt.Sprint(rows[:2]); matrix != "[[cat 1 3] [dog 1 1]]" {
		t.Errorf("the matrix is %s", matrix)
	}
	rows = rows[2:]
	if len(rows) != 2 || rows[0][0] != "cat" || rows[0][2] != "dog" || rows[0][4] != "3" || rows[0][5] != "0.750" ||
		rows[1][5] != "0.500" {
		t.Errorf("pairs are %v", rows)
	}
	var worst []string
	for _, caption := range page.section(t, "mistakes").named("small") {
		worst = append(worst, caption.content)
	}
	if !slices.Equal(worst, []string{"b", "e", "c", "a"}) {
		t.Errorf("mistakes in the order %v, want them by confidence", worst)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	names := []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(2)>`, "line\nbreak", "日本 & {{.}}"}
	dir, _ := fixture{classes: 4, name: func(k int) string { return names[k] },
		path: func(_ string, i int) string { return `/nowhere/<script>` + strconv.Itoa(i) }}.write(t)
	put(t, dir, "warnings.txt", "<script>alert(3)</script>\n")
	put(t, dir, "skipped.csv", "set,path,reason\ntrain,<b>x</b>,\"<script>\"\n")
	text := write(t, dir)
	if n := strings.Count(text, "<script"); n != 1 || strings.Contains(text, "<img") || strings.Contains(text, "<b>") {
		t.Errorf("%d scripts on the page, want its own only", n)
	}
	page := parse(t, text)
	if got := page.section(t, "classes").rows()[0][0]; got != names[0] {
		t.Errorf("the class is shown as %q", got)
	}
	if !slices.ContainsFunc(page.section(t, "frequency").named("text"),
		func(e *element) bool { return strings.HasPrefix(e.content, "<script>alert(1)") }) {
		t.Error("the plot by class does not name it")
	}
	if w := page.section(t, "warnings").content; !strings.Contains(w, "<script>alert(3)</script>") ||
		!strings.Contains(w, "<b>x</b>") {
		t.Errorf("warnings are shown as %q", w)
	}
}

func TestSelfContained(t *testing.T) {
	dir, _ := fixture{classes: 3}.write(t)
	draw(t, dir, 12)
	text := write(t, dir)
	for _, found := range regexp.MustCompile(`(?i)(src=|href=|url\()"?([^"\s>]{1,40})`).FindAllStringSubmatch(text,
		-1) {
		if !strings.HasPrefix(found[2], "#") && !strings.HasPrefix(found[2], "data:image/jpeg;base64,") &&
			found[2] != "data:," { // no icon
			t.Errorf("the page refers to %q", found[0])
		}
	}
	if strings.Contains(text, "http://") || strings.Contains(text, "https://") {
		t.Error("the page names an address")
	}
	script := regexp.MustCompile(`(?s)<script>(.*)</script>`).FindStringSubmatch(text)
	hash := sha256.Sum256([]byte(script[1]))
	if want := "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'"; !strings.Contains(html.UnescapeString(text), want) {
		t.Error("the page's security policy refuses its own script")
	}
}

func TestNullMetrics(t *testing.T) {
	dir, m := fixture{classes: 3}.write(t)
	none := metric.Number(math.NaN())
	for _, n := range []*metric.Number{&m.Top1, &m.Top5, &m.BalancedAccuracy, &m.MacroF1, &m.WorstClass,
		&m.HarmonicMean, &m.GeometricMean, &m.ECE, &m.MCE, &m.ClasswiseECE, &m.NLL, &m.Brier,
		&m.Groups[calib.Many].Accuracy, &m.Groups[calib.Medium].Accuracy, &m.Groups[calib.Few].Accuracy,
		&m.Groups[calib.Few].ECE, &m.Seconds.Train} {
		*n = none
	}
	for k := range m.PerClass {
		m.PerClass[k].Accuracy, m.PerClass[k].Precision, m.PerClass[k].ECE = none, none, none
	}
	m.Samples = 0
	put(t, dir, "metrics.json", jsonOf(t, m))
	put(t, dir, "predictions.csv", "path,label,predicted,confidence\n")
	text := write(t, dir)
	page := parse(t, text)
	for _, row := range page.section(t, "metrics").rows() {
		if len(row) == 4 && (row[1] != "–" || row[2] != "") {
			t.Errorf("%s is shown as %q, want –", row[0], row[1])
		}
	}
	if regexp.MustCompile(`\bNaN\b|\bInf\b`).MatchString(text) {
		t.Error("the page says NaN or Inf")
	}
	for id, want := range map[string]string{"confusions": "No image is taken", "mistakes": "There are none",
		"reliability": "No images"} {
		if !strings.Contains(page.section(t, id).content, want) {
			t.Errorf("section %s does not say %q", id, want)
		}
	}
}

func TestPlainLossHasNoKappa(t *testing.T) {
	dir, _ := fixture{classes: 3, plain: true}.write(t)
	text := write(t, dir)
	if strings.Contains(text, `id="kappa"`) || strings.Contains(text, "κ estimator") ||
		strings.Contains(text, ">switch<") {
		t.Error("a run without κ and without a switch shows one")
	}
}

func TestNoHistory(t *testing.T) {
	dir, _ := fixture{classes: 3, plain: true}.write(t)
	for _, name := range []string{"history.jsonl", "kappa.csv"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if s := parse(t, write(t, dir)).section(t, "curves").content; !strings.Contains(s, "no history") {
		t.Errorf("curves of a run without epochs: %q", s)
	}
}

func TestThumbnails(t *testing.T) {
	const n = 12
	dir, _ := fixture{classes: 3}.write(t)
	mistakes := parse(t, write(t, dir)).section(t, "mistakes")
	wrong := len(mistakes.named("li"))
	if wrong == 0 || len(mistakes.named("img")) != 0 ||
		!strings.Contains(mistakes.content, fmt.Sprintf("%d of %d images cannot be shown", wrong, wrong)) {
		t.Errorf("without image files: %q", mistakes.content)
	}
	draw(t, dir, n)
	mistakes = parse(t, write(t, dir)).section(t, "mistakes")
	if len(mistakes.named("img")) != wrong || strings.Contains(mistakes.content, "cannot be shown") {
		t.Errorf("%d of %d pictures: %q", len(mistakes.named("img")), wrong, mistakes.content)
	}
	for i := range n {
		put(t, dir, filepath.Join("photos", strconv.Itoa(i)+".png"), "no picture at all")
	}
	mistakes = parse(t, write(t, dir)).section(t, "mistakes")
	if len(mistakes.named("img")) != 0 || !strings.Contains(mistakes.content, "unknown format") {
		t.Errorf("with damaged files: %q", mistakes.content)
	}
}

func TestThumbnailsFromIDX(t *testing.T) {
	const n = 12
	dir, _ := fixture{classes: 3, path: func(dir string, i int) string {
		return filepath.Join(dir, fmt.Sprintf("t10k-images-idx3-ubyte#%d", i))
	}}.write(t)
	mistakes := parse(t, write(t, dir)).section(t, "mistakes")
	wrong := len(mistakes.named("li"))
	if len(mistakes.named("img")) != 0 || !strings.Contains(mistakes.content, "no such file") {
		t.Errorf("without the IDX file: %q", mistakes.content)
	}
	var images, labels bytes.Buffer
	binary.Write(&images, binary.BigEndian, []uint32{0x803, n, 8, 8})
	images.Write(make([]byte, n*64))
	binary.Write(&labels, binary.BigEndian, []uint32{0x801, n})
	for i := range n {
		labels.WriteByte(byte(i % 3))
	}
	put(t, dir, "t10k-images-idx3-ubyte", images.String())
	put(t, dir, "t10k-labels-idx1-ubyte", labels.String())
	if got := len(parse(t, write(t, dir)).section(t, "mistakes").named("img")); got != wrong {
		t.Errorf("%d of %d pictures from the IDX file", got, wrong)
	}
}

func TestManyClassesAreCut(t *testing.T) {
	dir, m := fixture{classes: 1500, perClass: 1, epochs: 2}.write(t)
	text := write(t, dir)
	page := parse(t, text)
	classes := page.section(t, "classes")
	if rows := classes.rows(); len(rows) != 1000 ||
		!strings.Contains(classes.content, "Of 1,500 classes these are the 1,000 least accurate") {
		t.Errorf("%d rows: %q", len(rows), classes.content[:300])
	}
	wrong := 0
	for _, c := range m.PerClass {
		if c.Accuracy == 0 {
			wrong++
		}
	}
	shown := 0
	for _, row := range classes.rows() {
		if row[4] == "0.000" {
			shown++
		}
	}
	if shown != wrong {
		t.Errorf("%d of %d classes that are never right are shown", shown, wrong)
	}
	if !strings.Contains(page.section(t, "frequency").content, "mean of about 15 neighbours") || len(text) > 1<<20 {
		t.Errorf("the plot by class is not aggregated, or the page of %d bytes is large", len(text))
	}
}

func TestSaveLeavesTheSameBytes(t *testing.T) {
	dir, m := fixture{classes: 8}.write(t)
	draw(t, dir, 32)
	save := func(r *report.Run, err error) string {
		t.Helper()
		if err == nil {
			err = r.Save()
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, run.ReportFile.Name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := save(report.Load(dir))
	if err := os.Remove(filepath.Join(dir, "metrics.json")); err != nil {
		t.Fatal(err)
	}
	if again := save(report.LoadWith(dir, m)); again != first {
		t.Error("before and after metrics.json is written the report differs")
	}
}

func TestUnfinishedAndDamagedRuns(t *testing.T) {
	for name, want := range map[string]string{"config.yaml": "config.yaml", "environment.json": "environment.json",
		"metrics.json": "metrics.json", "predictions.csv": "predictions.csv"} {
		dir, _ := fixture{classes: 2}.write(t)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := report.Load(dir); err == nil || fault.Of(err) != fault.Data ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	for _, x := range []struct{ file, text, names string }{
		{"metrics.json", "{", "metrics.json"},
		{"metrics.json", "{}", "no classes"},
		{"config.yaml", "- a\n", "config.yaml"},
		{"config.yaml", "a: [\n", "config.yaml"},
		{"environment.json", "[]", "environment.json"},
		{"history.jsonl", "{\"epoch\":1}\n{\n", "after 1 epochs"},
		{"predictions.csv", "path,label\n", "header"},
		{"predictions.csv", "path,label,predicted,confidence\na,class 0,class 1,0.5\nb,class 0,cat,0.5\n",
			`label "class 0" or "cat" of b is no class`},
		{"predictions.csv", "path,label,predicted,confidence\na,class 0,class 1,NaN\n", "line 2: confidence"},
		{"kappa.csv", "epoch,phase,class,kappa,std_err,samples,bins,skipped,shrunk\n1,mla,class " +
			"0,Inf,,1,1,false,false\n", "line 2: kappa"},
		{"skipped.csv", "set,path,reason\na\n", "skipped.csv"},
	} {
		dir, _ := fixture{classes: 2}.write(t)
		put(t, dir, x.file, x.text)
		if _, err := report.Load(dir); err == nil || fault.Of(err) != fault.Data ||
			!strings.Contains(err.Error(), x.names) || !strings.Contains(err.Error(), x.file) {
			t.Errorf("%s with %q: %v, want it to name %q", x.file, x.text, err, x.names)
		}
	}
}

// FuzzRun: whatever Load takes, Write can show.
func FuzzRun(f *testing.F) {
	seed, m := fixture{classes: 3, epochs: 4}.write(f)
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(seed, name))
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	f.Add([]byte(jsonOf(f, m)), read("history.jsonl"), read("kappa.csv"), read("predictions.csv"))
	f.Add([]byte(jsonOf(f, m)), []byte(`{"epoch":-9000000000000000000,"loss":1e300,"lr":-1e-300}{"epoch":9000000000000000000,"phase":"x","loss":1e-320}`),
		[]byte("epoch,phase,class,kappa,std_err,samples,bins,skipped,shrunk\n9000000000000000000,x,class "+
			"1,1e200,,,,,\n"), read("predictions.csv"))
	f.Add([]byte(`{"per_class":[{"label":"class 0","train_count":-5,"accuracy":1e300,"samples":-1}],"groups":{"many":{"classes":-7,"accuracy":9},"few":{"classes":1000000000000000,"accuracy":0.5}}}`),
		[]byte(`{"epoch":1,"loss":null}`), read("kappa.csv")[:60],
		[]byte("path,label,predicted,confidence\n/dev/zero,class 0,class 0,0\n"))
	f.Fuzz(func(t *testing.T, metrics, history, kappa, predictions []byte) {
		dir := t.TempDir()
		for name, text := range map[string][]byte{"config.yaml": []byte("loss: ce\n"), "environment.json": []byte("{}"),
			"metrics.json": metrics, "history.jsonl": history, "kappa.csv": kappa, "predictions.csv": predictions} {
			put(t, dir, name, string(text))
		}
		r, err := report.Load(dir)
		loadsAndWrites(t, r, err)
	})
}

func BenchmarkReport(b *testing.B) {
	for _, f := range []fixture{{classes: 100, perClass: 100, epochs: 40}, {classes: 1000, perClass: 10, epochs: 40}} {
		for _, pictures := range []bool{false, true} {
			b.Run(fmt.Sprintf("classes=%d/pictures=%v", f.classes, pictures), func(b *testing.B) {
				dir, _ := f.write(b)
				if pictures {
					draw(b, dir, f.classes*f.perClass)
				}
				for b.Loop() {
					r, err := report.Load(dir)
					if err != nil {
						b.Fatal(err)
					}
					if err := r.Write(io.Discard); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A metric more is a line of the results and, where its row says so, a column of a sweep.
func TestOneMetricMore(t *testing.T) {
	rows := metric.Rows
	defer func() { metric.Rows = rows }()
	metric.Rows = append(slices.Clone(rows), metric.Row{
		Key: "surprise", Title: "Surprise", Help: "top-1 by another name", Better: metric.Lower, Calibrated: true,
		Tables: metric.Page,
		Field:  func(*metric.Scores) *metric.Number { return new(metric.Number(0.125)) },
		Of:     func(*metric.Sample) float64 { return 0.125 },
	})
	dir, _ := fixture{classes: 3, temperature: []float64{0.5}}.write(t)
	lines := parse(t, write(t, dir)).section(t, "metrics").rows()
	want := []string{"Surprise", "0.1250 →", "0.1250", "", "top-1 by another name"}
	if !slices.Equal(lines[len(lines)-1], want) {
		t.Errorf("the last line is %q, want %q", lines[len(lines)-1], want)
	}
	sweep, _ := sweepFixture{experiment: ablation, calibrated: true}.write(t)
	head := parse(t, writeSweep(t, sweep)).section(t, "results").named("thead")[0].content
	if !strings.Contains(head, "Surprise before") || !strings.Contains(head, "Surprise") {
		t.Errorf("the columns are %q", head)
	}
}

// Whoever has the images at hand gives them to the report.
func TestImagesAreOpenedByTheCaller(t *testing.T) {
	dir, _ := fixture{classes: 3, path: func(_ string, i int) string { return fmt.Sprint("bucket/", i) }}.write(t)
	r, err := report.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	picture := testkit.PNG(t, testkit.Picture(1, 2, 3))
	r.Open = func(path string) ([]byte, error) {
		if !strings.HasPrefix(path, "bucket/") {
			t.Errorf("asked for %s", path)
		}
		return picture, nil
	}
	var page strings.Builder
	if err := r.Write(&page); err != nil {
		t.Fatal(err)
	}
	mistakes := parse(t, page.String()).section(t, "mistakes")
	if n := len(mistakes.named("img")); n == 0 || n != len(mistakes.named("li")) {
		t.Errorf("%d pictures of %d mistakes", n, len(mistakes.named("li")))
	}
}

// What many, medium and few are is said by calib alone.
func TestGroupLimits(t *testing.T) {
	dir, _ := fixture{classes: 3}.write(t)
	swept, _ := sweepFixture{experiment: ablation}.write(t)
	for name, text := range map[string]string{"run": write(t, dir), "sweep": writeSweep(t, swept)} {
		for _, g := range calib.Shots() {
			want := fmt.Sprintf(`<li class="%v">%[1]v (%s`, g, g.Range())
			if n := strings.Count(text, want); n < 2 {
				t.Errorf("the page of a %s says %q %d times, want it at each plot", name, want, n)
			}
		}
	}
}
