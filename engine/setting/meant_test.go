package setting_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/setting"
)

// What is mistyped, and what other programs call a setting, leads to the key; what is neither leads nowhere.
func TestMeant(t *testing.T) {
	known := []string{"train", "test", "val", "epochs", "head-batch", "batch", "backbone", "provider", "threads", "lr",
		"out", "gamma", "weight-decay", "warmup", "early-stop", "tau", "switch", "seed"}
	for word, want := range map[string]string{
		"epoch": "epochs", "epohcs": "epochs", "EPOCHS": "epochs", "gama": "gamma", "weight_decay": "weight-decay",
		"batch_size": "head-batch batch", "device": "provider", "num_workers": "threads", "lr0": "lr",
		"output_dir": "out", "patience": "early-stop", "warmup_epochs": "warmup", "data.root": "", "switc": "switch",
		"model": "backbone", "frobnicate": "", "x": "", "": "", "earlystop": "early-stop", "early": "early-stop",
		"addr": "", "port": "", // there is none of these here
	} {
		if got := strings.Join(setting.Meant(word, known), " "); got != want {
			t.Errorf("%q may mean %q, want %q", word, got, want)
		}
	}
	if text := setting.Known("zzz", known[:2]); text != "known keys: train, test" {
		t.Error(text)
	}
}

// Whatever is asked for, the answers are among what there is.
func FuzzMeant(f *testing.F) {
	known := []string{"train", "test", "epochs", "lr", "κ", "weight-decay"}
	for _, word := range []string{"", "epoch", "data", "\xff", "κκ", "weight__decay"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		for _, m := range setting.Meant(word, known) {
			if !slices.Contains(known, m) {
				t.Errorf("%q: %q", word, m)
			}
		}
	})
}
