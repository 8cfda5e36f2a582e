package head

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
)

// Every row of METHOD's table, written out by hand for one class.
func TestAdjustments(t *testing.T) {
	counts := []int{60, 30, 10}
	kappa := []calib.Kappa{{Value: 0.5}, {Value: 0.8}, {Value: 2}}
	const y, pi, ratio, tau, gamma, rho, k = 2, 0.1, 1. / 6, 1.5, 0.3, 0.4, 2.
	log, pow := math.Log, math.Pow
	balanced := (1 - 0.9999) / (1 - pow(0.9999, 10))
	type row struct{ alpha, beta, delta float64 }
	for _, c := range []struct {
		loss        string
		early, late row
	}{
		{"ce", row{1, 1, 0}, row{1, 1, 0}},
		{"cb", row{balanced, 1, 0}, row{balanced, 1, 0}},
		{"drw", row{1, 1, 0}, row{balanced, 1, 0}},
		{"adrw", row{1, 1, 0}, row{pow(pi, -rho), 1, 0}},
		{"la", row{1, 1, tau * log(pi)}, row{1, 1, tau * log(pi)}},
		{"balanced-softmax", row{1, 1, log(pi)}, row{1, 1, log(pi)}},
		{"cdt", row{1, pow(ratio, gamma), 0}, row{1, pow(ratio, gamma), 0}},
		{"vs", row{1, pow(ratio, gamma), tau * log(pi)}, row{1, pow(ratio, gamma), tau * log(pi)}},
		{"vs-adrw-tla", row{1, pow(ratio, gamma), tau * log(pi)}, row{pow(pi, -rho), 1, tau * log(pi)}},
		{"cvs", row{1, pow(pi, gamma) / k, 0}, row{pow(pi, -rho), 1, tau * log(pi/k)}},
	} {
		for _, late := range []bool{false, true} {
			a, err := NewAdjustment(Settings{Loss: c.loss, Tau: new(tau), Gamma: new(gamma), Rho: new(rho)}, late,
				counts, kappa)
			if err != nil {
				t.Fatal(err)
			}
			want := c.early
			if late {
				want = c.late
			}
			got := row{a.Alpha[y], a.Beta[y], a.Delta[y]}
			if math.Abs(got.alpha-want.alpha)+math.Abs(got.beta-want.beta)+math.Abs(got.delta-want.delta) > 1e-12 {
				t.Errorf("%s, late %v: α, β, Δ = %v, want %v", c.loss, late, got, want)
			}
		}
	}
	if len(methods) != 20 {
		t.Errorf("%d methods, 20 tested", len(methods))
	}
}

// The keys, in the order in which they are listed, and the defaults of the zero value and of what has its own.
func TestFields(t *testing.T) {
	var s Settings
	keys := "loss head scale learn-scale start feature-scaling shrinkage epochs switch restart head-batch optimizer " +
		"lr momentum nesterov weight-decay warmup average early-stop tau gamma rho " +
		"focus margin noise experts subspace diversity kappa seed shuffle"
	if got := strings.Join(setting.Keys(s.Fields()), " "); got != keys {
		t.Errorf("keys %s", got)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	s.Gemm = Blas{}
	zero := s.WithDefaults()
	defaults := zero.Fields()
	var texts []string
	for _, f := range defaults {
		texts = append(texts, f.Text())
	}
	want := "cvs cosine 16 false mean whiten 0.5 30 0.2 1 256 sgd 0.02 0.9 false 0 0 0 0 1 0.15 0 2 0.5 0 1 0.7 0 " +
		"slope 0 auto"
	if strings.Join(texts, " ") != want {
		t.Errorf("defaults %s", texts)
	}
	for _, c := range []struct {
		set  Settings
		want string
	}{
		{Settings{Head: "linear", Loss: "ce"},
			"loss is ce, was cvs; head is linear, was cosine; lr is 0.01, was 0.02; rho is 0.15, was 0"},
		{Settings{Loss: "ldam-drw"},
			"loss is ldam-drw, was cvs; scale is 30, was 16; lr is 0.006, was 0.02; rho is 0.15, was 0"},
		{Settings{Optimizer: "adamw"}, "optimizer is adamw, was sgd; lr is 0.0003, was 0.02"},
		// A closed form has one epoch, whatever is asked for.
		{Settings{Loss: "logreg", Epochs: 9, Warmup: 5, Experts: 3},
			"loss is logreg, was cvs; head is linear, was cosine; " +
				"epochs is 1, was 30; lr is 0.01, was 0.02; weight-decay is 1, was 0; rho is 0.15, was 0"},
	} {
		filled := c.set.WithDefaults()
		differences := setting.Differences(setting.Keys(defaults), filled.Fields(), defaults)
		if got := strings.Join(differences, "; "); got != c.want {
			t.Errorf("%+v: defaults %s", c.set, got)
		}
	}
	if kind, _ := setting.Find((&Settings{Head: "linear"}).Fields(), "head"); kind.Default != "cosine" {
		t.Errorf("a head that is set changes its default to %s", kind.Default)
	}
	// What a file or a flag says is what a run records, and the zero value of a setting stays its own.
	written := map[string]any{"tau": 0, "kappa": "ddc:min=0.2", "seed": "18446744073709551615", "lr": "1e-3"}
	if err := setting.Set(s.Fields(), written); err != nil {
		t.Fatal(err)
	}
	if given := setting.Given(s.Fields()); strings.Join(given, " ") != "lr tau kappa seed" || *s.Tau != 0 ||
		s.Kappa != (calib.DDC{Min: 0.2}) {
		t.Errorf("set are %v: %+v", given, s)
	}
}

// Every refusal names its key, and all are reported at once.
func TestRefusalsNameTheKey(t *testing.T) {
	nan := math.NaN()
	for key, s := range map[string]Settings{
		"loss": {Loss: "x"}, "head": {Head: "x"}, "scale": {Scale: -1}, "start": {Start: "x"},
		"feature-scaling": {Features: "x"},
		"shrinkage":       {Shrinkage: 1.1}, "epochs": {Epochs: -1}, "switch": {Switch: &nan},
		"restart":    {Restart: &nan},
		"head-batch": {Batch: -1},
		"optimizer":  {Optimizer: "x"}, "lr": {LR: math.Inf(1)}, "momentum": {Momentum: new(1.0)},
		"weight-decay": {WeightDecay: &nan},
		"warmup":       {Warmup: 31}, "tau": {Tau: &nan}, "gamma": {Gamma: &nan}, "rho": {Rho: &nan},
		"focus":  {Focus: &nan},
		"margin": {Margin: &nan},
		"noise":  {Noise: -1}, "experts": {Experts: -1}, "subspace": {Subspace: 2}, "diversity": {Diversity: -1},
	} {
		if err := s.Validate(); err == nil || !strings.Contains("\n"+err.Error(), "\n"+key+": ") ||
			fault.Of(err) != fault.Config {
			t.Errorf("%s: %v", key, err)
		}
	}
	err := Settings{Switch: new(1.5), Warmup: 40, Diversity: 1, LR: -1}.Validate()
	for _, want := range []string{"lr: -1 is not above 0", "switch: 1.5", "warmup: 40 epochs do not fit into 30",
		"diversity: 1 of a single expert"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestSwitchEpoch(t *testing.T) {
	for _, c := range []struct {
		loss   string
		t0     float64
		epochs int
		want   int
	}{
		{"cvs", 0, 10, 0}, {"cvs", 0.8, 10, 8}, {"cvs", 0.25, 10, 3}, {"cvs", 1, 10, 1}, {"cvs", 10, 10, 10},
		{"drw", 0.5, 30, 15}, {"la", 0.5, 10, 0},
	} {
		s := Settings{Loss: c.loss, Switch: new(c.t0), Epochs: c.epochs}
		if got := s.SwitchEpoch(); got != c.want {
			t.Errorf("%s: switch %g of %d epochs is epoch %d, want %d", c.loss, c.t0, c.epochs, got, c.want)
		}
	}
	s := Settings{Switch: new(2.0), Epochs: 4}
	if s.PhaseOf(1) != PhaseMLA || s.PhaseOf(2) != PhaseCLA || (Settings{Loss: "la"}).PhaseOf(3) != PhaseTrain {
		t.Error("phases")
	}
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		name       string
		s          Settings
		time, want float64
	}{
		{"start", Settings{Loss: "la"}, 0, 1},
		{"middle", Settings{Loss: "la"}, 5, 0.5},
		{"end", Settings{Loss: "la"}, 10, 0},
		{"warming up", Settings{Loss: "la", Warmup: 4}, 1, 0.25},
		{"warm", Settings{Loss: "la", Warmup: 4}, 4, 1},
		{"half way from there", Settings{Loss: "la", Warmup: 4}, 7, 0.5},
		{"before the switch", Settings{Switch: new(4.0)}, 3.999999, 0},
		{"restarted", Settings{Switch: new(4.0)}, 4, 1},
		{"restarted lower", Settings{Switch: new(4.0), Restart: new(0.3)}, 4, 0.3},
		{"half way from the restart", Settings{Switch: new(4.0)}, 7, 0.5},
		{"no restart", Settings{Switch: new(4.0), Restart: new(0.0)}, 5, 0.5},
		{"switched while warming up", Settings{Switch: new(1.0), Warmup: 2}, 1, 0.5},
	} {
		c.s.LR, c.s.Epochs = 1, 10
		if got := c.s.schedule().rate(c.time); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: rate %g, want %g", c.name, got, c.want)
		}
	}
}

// One cosine over both phases leaves the late one next to nothing: 1.3 % of the steps at T0 = 0.8. With a restart it
// gets its share of the epochs.
func TestLateShareOfTheSchedule(t *testing.T) {
	share := func(s Settings) float64 {
		s = s.WithDefaults()
		c := s.schedule()
		var late, all float64
		const n = 100000
		for i := range n {
			time := (float64(i) + 0.5) / n * float64(s.Epochs)
			all += c.rate(time)
			if time >= float64(s.SwitchEpoch()) {
				late += c.rate(time)
			}
		}
		return late / all
	}
	if got := share(Settings{Epochs: 200, Switch: new(0.8), Restart: new(0.0)}); math.Abs(got-0.0129) > 0.0002 {
		t.Errorf("share without restart: %.4f", got)
	}
	if got := share(Settings{Epochs: 200, Switch: new(0.8)}); math.Abs(got-0.2) > 1e-4 {
		t.Errorf("share with restart: %.4f", got)
	}
}

func TestWarnings(t *testing.T) {
	history := func(losses []float64, few ...float64) []Epoch {
		var h []Epoch
		for i, l := range losses {
			h = append(h, Epoch{Loss: l, Train: Accuracy{Few: new(few[min(i, len(few)-1)])}})
		}
		return h
	}
	s := Settings{Epochs: 6, Switch: new(2.0)}
	for _, c := range []struct {
		name string
		s    Settings
		h    []Epoch
		want string
	}{
		{"good", s, history([]float64{2, 1, 3, 2}, 0.1, 0.1, 0.2, 0.6), ""},
		{"jump", s, history([]float64{2, 1, 3, 5}, 0.1, 0.1, 0.6), "loss rose from 3 to 5"},
		{"jumped before", s, history([]float64{2, 1, 3, 5, 6}, 0.1, 0.1, 0.6), ""},
		{"flat", s, history([]float64{2, 1, 3, 2}, 0.1), "few-shot accuracy stays at 10.0 %"},
		{"flat but high", s, history([]float64{2, 1, 3, 2}, 0.9), ""},
		{"one phase", Settings{Loss: "la", Epochs: 6}, history([]float64{2, 1, 3, 9}, 0.1), ""},
	} {
		got := strings.Join(warnings(c.s.schedule(), c.h), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: warned %q, want %q", c.name, got, c.want)
		}
	}
}

// What training takes is known before it is there: 4 bytes times eight copies of W, b and S, a mask, z and its
// gradient; and features as they are and prepared, for each fold too.
func TestCheckMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 30))
	for _, c := range []struct {
		experts int
		of      Size
		key     string // of the refusal; empty if it fits
	}{
		{1, Size{Classes: 21841, Dim: 1024, Samples: 20000}, ""},                   // 0.96 GB
		{2, Size{Classes: 21841, Dim: 1024, Samples: 20000}, "experts"},            // 1.8 GB
		{1, Size{Classes: 21841, Dim: 1024, Samples: 20000, Beside: 2}, "experts"}, // as much
		{10000, Size{Classes: 3, Dim: 192, Samples: 120}, ""},                      // 0.2 GB
		{100000, Size{Classes: 3, Dim: 192, Samples: 120}, "experts"},              // 2.2 GB
		{math.MaxInt, Size{Classes: 2, Dim: 1, Samples: 2}, "experts"},             // at most
		{1, Size{Classes: 10, Dim: 1024, Samples: 120000}, ""},                     // 0.98 GB
		{1, Size{Classes: 10, Dim: 1024, Samples: 120000, Views: 2}, "views"},      // 2 GB
		{1, Size{Classes: 10, Dim: 1024, Samples: 60000, Folds: 1}, "views"},       // 1.2 GB
		{1, Size{Classes: 1000, Dim: 384, Samples: 100, Judged: 50000}, ""},        // 0.7 GB
		{1, Size{Classes: 1000, Dim: 384, Samples: 100, Judged: 100000}, "views"},  // 1.4 GB
		{1, Size{Classes: 1 << 62, Dim: 1 << 62, Samples: 1 << 62}, "views"},       // no overflow
	} {
		err := Settings{Experts: c.experts}.CheckMemory(c.of)
		if (err == nil) != (c.key == "") || err != nil && (fault.Of(err) != fault.Config ||
			!strings.HasPrefix(err.Error(), c.key) || !strings.Contains(err.Error(), "there are 1 GiB")) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	data := Data{X: make([]float32, 4*3), Y: []int{0, 1, 2, 2}, Dim: 3, Classes: 3}
	s := Settings{Experts: 20_000_000}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // lest it fill the memory
	defer cancel()
	const want = "experts: training 20000000 of 3 classes by 3 features, with head-batch 4, takes 10.95 GiB of memory"
	for name, train := range map[string]func() error{
		"Train":     func() error { _, err := Train(ctx, data, s); return err },
		"TrainAll":  func() error { _, err := TrainAll(ctx, data, []Settings{s}); return err },
		"OutOfFold": func() error { _, err := OutOfFold(ctx, data, nil, s, 2); return err },
	} {
		if err := train(); fault.Of(err) != fault.Config || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// What training on many features takes is what was said.
func TestCheckMemoryIsHeld(t *testing.T) {
	const n, dim = 12000, 512 // 23 MiB of features
	data := Data{X: make([]float32, n*dim), Y: make([]int, n), Dim: dim, Classes: 10}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range data.X {
		data.X[i] = rng.Float32()
	}
	for i := range data.Y {
		data.Y[i] = i % 10
	}
	of := Size{Classes: 10, Dim: dim, Samples: n, Judged: n, Folds: 2}
	s := Settings{Epochs: 1, Loss: "ce"}
	heads, features := s.WithDefaults().memory(of)
	const there = 4 * n * dim // before
	said := int64(heads + features)
	took := there + testkit.PeakMemoryWithin(t, said-there, func() {
		if _, err := Train(t.Context(), data, s); err != nil {
			t.Error(err)
		}
		if _, err := OutOfFold(t.Context(), data, nil, s, 2); err != nil {
			t.Error(err)
		}
	})
	if took > said+8<<20 {
		t.Errorf("took %d MiB, said %d", took>>20, said>>20)
	}
}

// A training that ends while its experts are being started ends at once.
func TestStartEnds(t *testing.T) {
	data := Data{X: make([]float32, 6000*8), Y: make([]int, 6000), Dim: 8, Classes: 2}
	for i := range data.Y {
		data.X[i*8+i%8], data.Y[i] = 1, i%2
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Train(ctx, data, Settings{Experts: 100_000})
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
		t.Errorf("%v after %v", err, took)
	}
}
