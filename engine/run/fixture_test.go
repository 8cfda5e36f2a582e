package run

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// options are settings of all kinds.
type options struct {
	Train, Val, Kappa string
	Library           string
	Epochs, Threads   int
	LR                float64
	Switch            *float64
	Seed              uint64
	Nesterov          bool
	Tags              []string
}

func (o *options) Fields() []setting.Field {
	any := setting.Seeds
	return []setting.Field{
		setting.Text("train", &o.Train, "", nil, ""), setting.Text("val", &o.Val, "", nil, ""), setting.Text("kappa",
			&o.Kappa, "", nil, ""),
		setting.Text("ort-lib", &o.Library, "", nil, "").Here(),
		setting.Number("epochs", &o.Epochs, 30, any, ""), setting.Number("threads", &o.Threads, 0, any, ""),
		setting.Number("lr", &o.LR, 0.02, any, ""), setting.Optional("switch", &o.Switch, 0.2, any, ""),
		setting.Number("seed", &o.Seed, 0, any, ""), setting.Flag("nesterov", &o.Nesterov, ""), setting.List("tag",
			&o.Tags, ""),
	}
}

func configOf(t testing.TB, o options) Config {
	t.Helper()
	c, err := ConfigOf(o.Fields())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	classes     = []string{"a|b <i>", "dog", "rare"}
	counts      = []int{300, 50, 5}
	labels      = []int{0, 0, 1, 2}
	paths       = []string{"/p/0.png", "/p/1.png", "/p,2.png", "idx#3"}
	logits      = []float32{3, 0, 0, 0, 1, 0.5, 0, 4, 0, 2, 0, 1}
	scaling     = calib.Scaling{Temperature: []float64{0.7674497269628627}}
	environment = func() (e Environment) {
		e.Vitft, e.Go, e.TTA = "v1", "go1.26", vision.Views(2)
		e.Runtime.Path, e.Runtime.Version, e.Runtime.API = "/lib/ort.so", "1.30.0", 30
		e.Provider.Asked, e.Provider.Ran, e.Provider.Note = "auto", "cpu", "no GPU"
		e.Backbone.Name, e.Backbone.SHA256 = "/secret/place/vit.onnx", "abc"
		e.Backbone.Feature = vision.Feature{Tensor: "embedding", Pooling: "cls", Dim: 2}
		e.Backbone.Preprocess = vit.Preprocess{Width: 28, Height: 28, Resize: "shortest", ResizeTo: 28,
			Interpolation: "bicubic"}
		e.Store.Key, e.Store.Fields = "0123", json.RawMessage(`{"backbone":"abc","dim":2}`)
		return e
	}()
	trained = Head{
		Head: &head.Head{Classes: 3, Dim: 2, W: []float32{1, 2, 3, 4, 5, 6}, B: []float32{0.1, -0, 0.3},
			Mean: []float32{1, 1}, InvStd: []float32{2, 2},
			Transform: []float32{1, 0, 0, 1}, Normalize: true},
		Scaling: scaling,
	}
	epochs = []head.Epoch{
		{Number: 1, Phase: "mla", Loss: 1.5, LR: 0.02, Train: head.Accuracy{Top1: new(0.5)},
			Kappa: []calib.Kappa{{Value: 1, StdErr: 0.1, Samples: 9, Bins: 3, Shrunk: true}, {Value: 0.25,
				StdErr: math.NaN(), Skipped: true}, {Value: 2}}},
		{Number: 2, Phase: "cla", Loss: 1.25, LR: 0.01, Val: &head.Accuracy{Few: new(0.25)}},
		{Number: 3, Phase: "cla", Loss: 1, Kappa: []calib.Kappa{{Value: 1}, {Value: 1}, {Value: 1}}},
	}
)

// illustrated is what a report shows beside numbers.
var illustrated = Pictures{
	Photos: []Photo{{Set: "train", Path: "/p/a.png", Label: "dog", JPEG: []byte{0xff, 0xd8}}, {Why: "gone"}},
	Map:    Map{Of: 9, Variance: [2]metric.Number{0.5, 0.25}, Points: []Point{{"/p/0.png", 1.5, -2}}},
}

func measured() metric.Metrics {
	p := make([]float32, len(logits))
	scaling.Probabilities(logits, len(classes), p)
	m := metric.Measure(logits, p, labels, classes, counts)
	before := metric.Measure(logits, nil, labels, classes, counts)
	m.Calibration = &metric.Calibration{Method: "temperature", FittedOn: "val", Temperature: scaling.Temperature,
		Before: before.Uncalibrated()}
	m.Split, m.Loss, m.Epochs, m.SwitchEpoch, m.Seconds.Encode = "train", "cvs", 3, 1, metric.Number(math.NaN())
	return m
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// finished writes a whole run.
func finished(t testing.TB) Folder {
	t.Helper()
	d := Folder(filepath.Join(t.TempDir(), "run"))
	c := configOf(t, options{Train: "/secret/place/photos", Epochs: 3, Kappa: "slope"})
	lock, err := d.Create(c, event.Events{})
	must(t, err)
	defer lock.Close()
	must(t, d.BeginHistory(classes))
	for _, e := range epochs {
		must(t, d.AddEpoch(classes, e))
	}
	must(t,
		EnvironmentFile.Write(d, environment),
		SkippedFile.Write(d, []Skipped{{"test", "/p/bad.jpg", "unexpected EOF"}}),
		CheckpointFile.Write(d, &Checkpoint{Images: "0123", Seconds: 2.5, State: head.State{Epoch: 3,
			Params: []head.Tensor{{Name: "weight", Shape: []int{2}, Values: []float32{float32(math.NaN()), -0}}},
			Best:   [][]float32{{0.1, 2}}, History: epochs}}),
		HeadFile.Write(d, trained),
		LabelsFile.Write(d, classes),
		PredictionsFile.Write(d, Predict(paths, labels, logits, classes, scaling)),
		PicturesFile.Write(d, illustrated),
		WarningsFile.Write(d, []string{"one", "two; n: 3"}),
		AdapterFile.Write(d, []byte("adapter")),
		ModelFile.Write(d, []byte("onnx")),
		d.WriteCard(c, environment, measured()),
		ReportFile.Write(d, []byte("<html>")),
		MetricsFile.Write(d, measured()),
	)
	return d
}

const experiment = `{name: trial, grid: [{loss: [ce, la]}], seeds: [0, 1], baseline: {loss: ce}}`

// swept writes a whole sweep and returns its summary.
func swept(t testing.TB) (Folder, *sweep.Summary) {
	t.Helper()
	d := Folder(filepath.Join(t.TempDir(), "sweep"))
	x, _, err := sweep.Parse([]byte(experiment), nil, []string{"loss"})
	must(t, err)
	c, err := configOf(t, options{Train: "t.csv"}).With(x)
	must(t, err)
	lock, err := d.CreateSweep(c)
	must(t, err)
	defer lock.Close()
	plan, err := x.Plan(func(point map[string]any) (sweep.Settings, error) {
		return sweep.Settings{"loss": point["loss"], "seed": uint64(0)}, nil
	})
	must(t, err)
	m := measured()
	s := sweep.Summarize(x, plan, func(i int, seed uint64) sweep.Head {
		h := sweep.Head{ID: string(rune('a' + i)), Settings: plan.Configurations[i].Settings, Seed: seed, Metrics: &m,
			Predicted: []int{0, 1, 1, i}}
		if i == 1 && seed == 1 {
			h = sweep.Head{ID: "b1", Seed: 1, Error: "diverged"}
		}
		must(t, SweepHeadFile(h.ID).Write(d, h), SweepConfigFile(h.ID).Write(d, configOf(t, options{})))
		return h
	}, labels, len(classes))
	must(t, HeadsFile.Write(d, s), SummaryFile.Write(d, s), SummaryTextFile.Write(d, []byte(s.Markdown())))
	return d, s
}
