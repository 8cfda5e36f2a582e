package head

import (
	"math"
	"strings"
	"testing"

	"github.com/vitft/vitft/calib"
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
		{"vs-adrw-tla", row{1, pow(ratio, gamma), 0}, row{pow(pi, -rho), 1, tau * log(pi)}},
		{"cvs", row{1, pow(pi, gamma) / k, 0}, row{pow(pi, -rho), 1, tau * log(pi/k)}},
	} {
		for _, late := range []bool{false, true} {
			a, err := NewAdjustment(Settings{Loss: c.loss, Tau: new(tau), Gamma: new(gamma), Rho: new(rho)}, late, counts, kappa)
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

func TestSwitchEpoch(t *testing.T) {
	for _, c := range []struct {
		loss   string
		t0     float64
		epochs int
		want   int
	}{
		{"cvs", 0, 10, 0}, {"cvs", 0.8, 10, 8}, {"cvs", 0.25, 10, 3}, {"cvs", 1, 10, 1}, {"cvs", 10, 10, 10}, {"drw", 0.5, 30, 15}, {"la", 0.5, 10, 0},
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
		if got := c.s.WithDefaults().schedule().rate(c.time); math.Abs(got-c.want) > 1e-6 {
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
		got := strings.Join(warnings(c.s.WithDefaults().schedule(), c.h), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: warned %q, want %q", c.name, got, c.want)
		}
	}
}
