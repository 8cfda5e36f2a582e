package engine_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	_ "github.com/vitft/vitft/engine/feature/bucket/cloud"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// Runs that are the same run: whatever is drawn of the ways to list, name, encode, interrupt and compute it, the head
// is the same bit for bit, up to the order of its classes. What is drawn hangs on a seed, which the test says.
// VITFT_SEED is that of a run to repeat, VITFT_DRAWS how many ways are drawn for each recipe.
func TestSameRunInOtherWays(t *testing.T) {
	ort.Need(t)
	number := func(name string, otherwise uint64) uint64 {
		n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), strconv.FormatUint(otherwise, 10)), 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	seed, draws := number("VITFT_SEED", rand.Uint64()), number("VITFT_DRAWS", 1)
	t.Logf("VITFT_SEED=%d", seed)
	for at, recipe := range recipes {
		t.Run(fmt.Sprint(recipe), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, uint64(at)))
			w := drawnWorld(t)
			reference := w.finetune(t, recipe, way{names: w.classes, cache: "warm"})
			for range draws {
				v := drawWay(rng, w, recipe)
				t.Logf("%+v", v)
				if w.compare(t, reference, w.finetune(t, recipe, v)); t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

// The same on real photos, with a recipe that has everything random in it, in every kind of file that images are in.
func TestSameRunOnPhotos(t *testing.T) {
	ort.Need(t)
	w := world{test: map[string][]photo{}, train: map[string][]photo{}}
	for part, into := range map[string]map[string][]photo{"train": w.train, "test": w.test} {
		rows, err := csv.NewReader(bytes.NewReader(testkit.ReadFile(t, testkit.Manifest(t,
			testkit.Unpacked(t, "caltech101", part), 6, func(k int) int { return max(2, 16>>k) })))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows[1:] {
			into[row[1]] = append(into[row[1]], photo{fmt.Sprintf("%s%d.jpg", part, i), testkit.ReadFile(t, row[0])})
		}
	}
	w.settle(t)
	recipe := map[string]any{"loss": "cvs", "experts": 2, "noise": 0.1, "kappa": "slope:crossfit=2", "epochs": 6,
		"calibration": "classwise", "folds": 2}
	reference := w.finetune(t, recipe, way{names: w.classes, cache: "warm"})
	rng := rand.New(rand.NewPCG(1, 1))
	for _, form := range append(packed, "", "csv") {
		v := drawWay(rng, &w, recipe)
		v.batch, v.form, v.bucket = 8, form, true
		t.Logf("%+v", v)
		w.compare(t, reference, w.finetune(t, recipe, v))
	}
}

// recipes are runs that draw and compute in all the ways that there are, by the keys of their settings.
var recipes = []map[string]any{
	{"loss": "cvs", "epochs": 8, "kappa": "slope:crossfit=3"},
	{"loss": "cvs", "epochs": 8, "val": "0.3", "calibration": "temperature"},
	{"loss": "ce", "head": "linear", "epochs": 5, "calibration": "classwise", "folds": 3},
	{"loss": "crt", "start": "zero", "epochs": 5, "views": 2, "tta": 2},
	{"loss": "lws", "epochs": 6, "feature-scaling": "standardize", "optimizer": "adamw"},
	{"loss": "ldam-drw", "epochs": 5, "experts": 2, "diversity": 0.1, "noise": 0.05},
	{"loss": "la", "epochs": 4, "imbalance": "exp:4", "val": "0.2", "seed": 3, "imbalance-seed": 5},
	{"loss": "logreg"}, {"loss": "lda", "calibration": "temperature"}, {"loss": "ncm"},
}

// packed are forms of sources that are files with images in them.
var packed = []string{"zip", "tar", "pairs.tar", "parquet"}

// way is how a run is done, as far as that must not show. The plain one has the names of the world, and is zero else.
type way struct {
	names                 []string // of the classes of the world, in its order
	form                  string   // of the sources: "" is folder, csv, jsonl, or files that the images are in
	shuffled, repeated    bool     // entries of a manifest
	moved                 bool     // files have other names
	bucket                bool     // all is in an object store
	order                 uint64   // of what is shuffled
	procs, threads, batch int
	shards                int    // encoded before the run
	cache                 string // "" is cold; the plain run fills warm, of which damaged and unscanned are copies
	interrupted           int    // in this epoch; 0: never
	goesOnShuffled        bool   // and with other processors
	sweep                 bool   // rather than a run
}

// drawWay draws one. With an imbalance the order of the class list says which classes are large: names keep it.
func drawWay(rng *rand.Rand, w *world, recipe map[string]any) way {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	coin := func() bool { return rng.IntN(2) == 0 }
	v := way{
		form: pick(append(packed, "", "csv", "jsonl")...), shuffled: coin(), repeated: coin(), moved: coin(),
		order: rng.Uint64(),
		procs: 1 + rng.IntN(4), threads: rng.IntN(4), batch: rng.IntN(40), shards: rng.IntN(4),
		cache: pick("", "warm", "damaged", "unscanned"), sweep: rng.IntN(4) == 0,
		goesOnShuffled: coin(),
	}
	if epochs, ok := recipe["epochs"].(int); ok && coin() {
		v.interrupted = 1 + rng.IntN(epochs-1)
	}
	if coin() {
		for _, i := range rng.Perm(len(w.classes)) {
			v.names = append(v.names, fmt.Sprintf("%c%d", 'A'+rune(i), rng.IntN(1000)))
		}
		if recipe["imbalance"] != nil {
			slices.Sort(v.names)
		}
	} else {
		v.names = w.classes
	}
	return v
}

// world is what the runs of a test are about: images by class.
type world struct {
	classes     []string // sorted
	train, test map[string][]photo
	warm        string // a cache with all features
}

type photo struct {
	name    string // of the file; different ones are of different images of the test set
	content []byte
}

// drawnWorld has drawn pictures, two that are equal in one class and one that is in two.
func drawnWorld(t *testing.T) *world {
	w := &world{train: map[string][]photo{}, test: map[string][]photo{}}
	for k, n := range []int{24, 12, 12, 6, 4} {
		class := string(rune('a' + k))
		for i := range n {
			content := testkit.PNG(t, testkit.Picture(k, 1, uint64(i)))
			w.train[class] = append(w.train[class], photo{fmt.Sprintf("%s%03d.png", class, i), content})
		}
		for i := range 5 {
			content := testkit.PNG(t, testkit.Picture(k, 2, uint64(i)))
			w.test[class] = append(w.test[class], photo{fmt.Sprintf("test%s%d.png", class, i), content})
		}
	}
	w.train["a"][3].content = w.train["a"][2].content
	w.train["b"][3].content = w.train["a"][4].content
	w.settle(t)
	return w
}

// settle completes a world.
func (w *world) settle(t *testing.T) {
	for class := range w.train {
		w.classes = append(w.classes, class)
	}
	slices.Sort(w.classes)
	w.warm = t.TempDir()
}

// finetuned is a run, or a sweep of one head, in the terms of its world.
type finetuned struct {
	predicted  map[string]string  // of each test image, by its name
	confidence map[string]float32 // of a run
	metrics    metric.Metrics
	classes    map[string]int // the place of each class of the world in the run's
	dir        string         // of a run
}

// finetune does a run in a way.
func (w *world) finetune(t *testing.T, recipe map[string]any, v way) finetuned {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(1, cmp.Or(v.procs, 2))))
	rng, dir := rand.New(rand.NewPCG(v.order, 0)), t.TempDir()
	o := engine.FinetuneOptions{Device: cpu, Out: filepath.Join(dir, "run"), Training: head.Settings{Batch: 16}}
	trained := w.source(t, filepath.Join(dir, "train"), w.train, v)
	tested := w.source(t, filepath.Join(dir, "test"), w.test, v)
	o.Data = dataset.Sources{Train: trained.write(t, v, rng), Test: tested.write(t, v, rng)}
	if v.bucket {
		o.Data.Train, o.Data.Test = trained.upload(t, o.Data.Train), tested.upload(t, o.Data.Test)
	}
	o.Device.Threads, o.Features.Batch = v.threads, v.batch
	o.Features.Cache = w.cache(t, v, rng)
	testkit.Age(t, dir)
	set(t, o.Fields(), recipe)
	for i := range v.shards {
		encode := engine.EncodeOptions{Data: o.Data, Device: o.Device, Features: o.Features, Views: o.Views,
			Calibration: o.Calibration, Seed: o.Training.Seed, Shard: engine.Shard{Index: i, Count: v.shards}}
		if _, err := engine.Encode(context.Background(), encode, event.Events{}); err != nil {
			t.Fatal(err)
		}
	}
	f := finetuned{classes: map[string]int{}, predicted: map[string]string{}, confidence: map[string]float32{},
		dir: o.Out}
	sorted := slices.Sorted(slices.Values(v.names))
	called := map[string]string{} // the world's class of each name
	for k, class := range w.classes {
		called[v.names[k]] = class
		f.classes[class] = slices.Index(sorted, v.names[k])
	}
	if v.sweep {
		x := engine.SweepOptions{Data: o.Data, Device: o.Device, Features: o.Features, Views: o.Views,
			Calibration: o.Calibration, Training: o.Training, Out: o.Out,
			Experiment: parse(t, fmt.Sprintf("grid: [{loss: %s}]", o.Training.Loss))}
		h := runSweep(t, x, event.Events{}).Heads[0]
		for i, it := range tested.entries {
			f.predicted[it.id] = called[sorted[h.Predicted[tested.place(v, i)]]]
		}
		f.metrics, f.dir = *h.Metrics, ""
		return f
	}
	if v.interrupted > 0 {
		interrupt(t, o, v.interrupted)
		if v.goesOnShuffled {
			trained.write(t, v, rng)
			runtime.GOMAXPROCS(1 + rng.IntN(4))
		}
		f.metrics = resume(t, o.Out).Metrics
	} else {
		f.metrics = finetune(t, o).Metrics
	}
	ids := map[string]string{}
	for _, e := range tested.entries {
		ids[e.listed] = e.id
	}
	for _, p := range read(t, o.Out, run.PredictionsFile).Rows {
		f.predicted[ids[p.Path]], f.confidence[ids[p.Path]] = called[p.Predicted], p.Confidence
	}
	return f
}

// source is a set of images on disk.
type source struct {
	dir     string
	entries []entry // as a folder lists them
	listed  []int   // entries, as a manifest lists them
}

type entry struct {
	path, class, id string
	content         []byte
	listed          string // what the run calls it
}

// source writes the images of a set into class folders, under other names if they have moved.
func (w *world) source(t *testing.T, dir string, images map[string][]photo, v way) *source {
	s := &source{dir: dir}
	for k, class := range w.classes {
		for i, p := range images[class] {
			name := p.name
			if v.moved {
				name = fmt.Sprintf("%03d-%s", (i*7919+int(v.order%1000))%1000, name)
			}
			path := testkit.WriteFile(t, filepath.Join(dir, v.names[k], name), p.content)
			s.entries = append(s.entries, entry{path, v.names[k], p.name, p.content, path})
		}
	}
	slices.SortFunc(s.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.path, b.path))
	})
	return s
}

// write writes the manifest, or the file of images, if there is to be one, and returns what the source is called.
func (s *source) write(t *testing.T, v way, rng *rand.Rand) string {
	if v.form == "" {
		return s.dir
	}
	order := make([]int, len(s.entries))
	for i := range order {
		order[i] = i
	}
	if v.shuffled {
		order = rng.Perm(len(order))
	}
	s.listed = slices.Clone(order)
	if slices.Contains(packed, v.form) {
		return s.pack(t, v.form, order)
	}
	if v.repeated {
		order = append(order, order[:1+rng.IntN(len(order))]...)
	}
	var b bytes.Buffer
	c := csv.NewWriter(&b)
	if v.form == "csv" {
		c.Write([]string{"path", "label"})
	}
	for _, i := range order {
		e := s.entries[i]
		if v.form == "csv" && v.bucket {
			c.Write([]string{strings.TrimPrefix(e.path, filepath.Dir(s.dir)+"/"), e.class})
		} else if v.form == "csv" {
			c.Write([]string{e.path, e.class})
		} else {
			line, _ := json.Marshal(map[string]string{"path": e.path, "label": e.class})
			b.Write(append(line, '\n'))
		}
	}
	c.Flush()
	return testkit.WriteFile(t, s.dir+"."+v.form, b.Bytes())
}

// upload puts what a source is made of into an object store, and says what it is called there.
func (s *source) upload(t *testing.T, name string) string {
	dir := filepath.Dir(s.dir)
	root := "mem://same" + dir
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return place.Put(root+strings.TrimPrefix(path, dir), path)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range s.entries {
		s.entries[i].listed = root + strings.TrimPrefix(e.listed, dir)
	}
	return root + strings.TrimPrefix(name, dir)
}

// pack writes a file that the images are in.
func (s *source) pack(t *testing.T, form string, order []int) string {
	path := s.dir + "." + form
	var b bytes.Buffer
	z, w := zip.NewWriter(&b), tar.NewWriter(&b)
	add := func(name string, content []byte) {
		var err error
		if form == "zip" {
			var m io.Writer
			if m, err = z.Create(name); err == nil {
				_, err = m.Write(content)
			}
		} else if err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	type row struct {
		Image struct {
			Bytes []byte `parquet:"bytes"`
			Path  string `parquet:"path"`
		} `parquet:"image"`
		Label string `parquet:"label,dict"`
	}
	var rows []row
	for k, i := range order {
		e := &s.entries[i]
		name := e.class + "/" + filepath.Base(e.path)
		switch form {
		case "parquet":
			var r row
			r.Image.Bytes, r.Label = e.content, e.class
			name, rows = strconv.Itoa(k), append(rows, r)
		case "pairs.tar":
			name = strconv.Itoa(k) + filepath.Ext(name)
			add(name, e.content)
			add(strconv.Itoa(k)+".cls", []byte(e.class))
		default:
			add(name, e.content)
		}
		e.listed = path + "#" + name
	}
	var err error
	switch form {
	case "zip":
		err = z.Close()
	case "parquet":
		err = parquet.Write(&b, rows, parquet.MaxRowsPerRowGroup(16))
	default:
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return testkit.WriteFile(t, path, b.Bytes())
}

// place is where an entry is in the set that is read of the source.
func (s *source) place(v way, entry int) int {
	if v.form == "" {
		return entry
	}
	return slices.Index(s.listed, entry)
}

// cache is a cache folder: an empty one, the world's own, or a copy that something has happened to.
func (w *world) cache(t *testing.T, v way, rng *rand.Rand) string {
	if v.cache == "" {
		return t.TempDir()
	}
	if v.cache == "warm" {
		return w.warm
	}
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.CopyFS(dir, os.DirFS(w.warm)); err != nil {
		t.Fatal(err)
	}
	blocks, _ := filepath.Glob(filepath.Join(dir, "features", "*", "*.safetensors"))
	switch {
	case v.cache == "unscanned":
		os.RemoveAll(filepath.Join(dir, "scan"))
	case len(blocks) > 0:
		path := blocks[rng.IntN(len(blocks))]
		content := testkit.ReadFile(t, path)
		content[rng.IntN(len(content))] ^= 1 << rng.IntN(8)
		testkit.WriteFile(t, path, content)
	}
	return dir
}

// compare expects two runs of a world to be the same: bits where sums are taken in the order of learning, predictions,
// and metrics, whose sums are taken in the order of the lists, but for rounding.
func (w *world) compare(t *testing.T, want, got finetuned) {
	t.Helper()
	for image, class := range want.predicted {
		if got.predicted[image] != class {
			t.Errorf("%s is taken for %q, was for %q", image, got.predicted[image], class)
		}
	}
	for _, r := range metric.Rows {
		if a, b := r.In(want.metrics.Scores), r.In(got.metrics.Scores); !near(a, b) {
			t.Errorf("%s is %v, was %v", r.Key, b, a)
		}
	}
	for _, class := range w.classes {
		a, b := want.metrics.PerClass[want.classes[class]], got.metrics.PerClass[got.classes[class]]
		if a.TrainCount != b.TrainCount || a.Accuracy != b.Accuracy || !near(a.ECE, b.ECE) {
			t.Errorf("class %s: %+v, was %+v", class, b, a)
		}
	}
	if got.dir == "" {
		return
	}
	for image, p := range want.confidence {
		if q := got.confidence[image]; !near(metric.Number(p), metric.Number(q)) {
			t.Errorf("%s has confidence %v, had %v", image, q, p)
		}
	}
	a, b := read(t, want.dir, run.HeadFile), read(t, got.dir, run.HeadFile)
	expect(t, "mean", b.Head.Mean, a.Head.Mean)
	expect(t, "inv_std", b.Head.InvStd, a.Head.InvStd)
	expect(t, "transform", b.Head.Transform, a.Head.Transform)
	for _, class := range w.classes {
		i, j, dim := want.classes[class], got.classes[class], a.Head.Dim
		expect(t, "bias of "+class, b.Head.B[j:j+1], a.Head.B[i:i+1])
		expect(t, "weight of "+class, b.Head.W[j*dim:(j+1)*dim], a.Head.W[i*dim:(i+1)*dim])
		if n := len(a.Scaling.Temperature); n == 1 {
			i, j = 0, 0
		} else if n == 0 {
			continue
		}
		expect(t, "temperature of "+class, b.Scaling.Temperature[j:j+1], a.Scaling.Temperature[i:i+1])
	}
	epochs := read(t, got.dir, run.HistoryFile)
	for i, e := range read(t, want.dir, run.HistoryFile) {
		e.Seconds, epochs[i].Seconds = 0, 0
		was, _ := json.Marshal(e)
		if is, _ := json.Marshal(epochs[i]); !bytes.Equal(is, was) {
			t.Errorf("history: %s, was %s", is, was)
		}
	}
	kappa := map[string]calib.Kappa{}
	key := func(epoch, place int) string { return fmt.Sprint(epoch, " ", place) }
	names := read(t, got.dir, run.LabelsFile)
	for _, r := range read(t, got.dir, run.KappaFile) {
		kappa[key(r.Epoch, slices.Index(names, r.Class))] = r.Kappa
	}
	names = read(t, want.dir, run.LabelsFile)
	for _, r := range read(t, want.dir, run.KappaFile) {
		class := w.classes[slices.Index(names, r.Class)] // which are sorted in both
		k := kappa[key(r.Epoch, got.classes[class])]
		if is, was := fmt.Sprint(k), fmt.Sprint(r.Kappa); is != was {
			t.Errorf("κ of %s in epoch %d: %s, was %s", r.Class, r.Epoch, is, was)
		}
	}
}

func expect[T float32 | float64](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("another %s", what)
	}
}

// near is equality but for the last bits; NaN equals NaN.
func near(a, b metric.Number) bool {
	x, y := float64(a), float64(b)
	return math.Abs(x-y) <= 1e-6*max(1, math.Abs(x)) || math.IsNaN(x) && math.IsNaN(y)
}
