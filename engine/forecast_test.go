package engine_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/internal/testkit"
)

// A dry run says what the run will encode, and leaves no run folder; afterwards there is nothing left to encode.
func TestDryRun(t *testing.T) {
	o := adapting(t, "full")
	o.Data.Val = "0.3"
	dry := func() engine.Forecast {
		t.Helper()
		d := o
		d.DryRun = true
		r, err := engine.Finetune(t.Context(), d, event.Events{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Metrics.Samples > 0 || r.Run != "" {
			t.Errorf("a dry run says %+v", r)
		}
		return *r.Forecast
	}
	f := dry()
	if _, err := os.Stat(o.Out); err == nil {
		t.Error("there is a run folder")
	}
	var names []string
	var bytes int64
	for _, of := range f.Encode {
		names = append(names, of.What)
		if bytes += of.Bytes; of.Images == 0 || of.Missing != of.Images || of.Bytes == 0 {
			t.Errorf("nothing is encoded, and the forecast is %+v", of)
		}
	}
	if want := []string{"train", "val", "test", "train tokens", "val tokens"}; !slices.Equal(names, want) {
		t.Errorf("sets %v, want %v", names, want)
	}
	if f.Bytes() != bytes || f.Inside == 0 || !strings.Contains(f.Text(), "nothing was encoded") {
		t.Errorf("%s", f.Text())
	}
	finetune(t, o)
	for _, of := range dry().Encode {
		if of.Missing != 0 || of.Bytes != 0 {
			t.Errorf("after the run the forecast is %+v", of)
		}
	}
	o.Resume, o.DryRun = true, true
	if _, err := engine.Finetune(t.Context(), o, event.Events{}); fault.Of(err) != fault.Config {
		t.Errorf("a dry run that goes on: %v", err)
	}
}

// It says what the data are like, too: classes, what cannot be read, copies and leaks; and how long encoding takes.
func TestDryRunLooksAtTheData(t *testing.T) {
	o := job(t)
	broken := filepath.Join(o.Data.Train, "class-a", "broken.png")
	testkit.WriteFile(t, broken, []byte("no picture"))
	leak := filepath.Join(o.Data.Test, "class-b", "leak.png")
	paths, err := filepath.Glob(filepath.Join(o.Data.Train, "class-d", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	testkit.WriteFile(t, leak, testkit.ReadFile(t, paths[0]))
	o.DryRun, o.Features.MaxUnreadable = true, new(0.5)
	r, err := engine.Finetune(t.Context(), o, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	f, d := *r.Forecast, *r.Forecast.Data
	if len(d.Classes) != 4 || d.Classes[0] != (feature.ClassCount{Label: "class-a", Images: 41}) ||
		d.Classes[3].Images != 4 || d.Tried == 0 || d.Seconds <= 0 || d.Seconds > 600 {
		t.Errorf("%+v", d)
	}
	for _, want := range []string{"few (fewer than 20 images) 2", "broken.png: ", "leak.png = ", "time: about "} {
		if !strings.Contains(f.Text(), want) {
			t.Errorf("it does not say %q:\n%s", want, f.Text())
		}
	}
	o.Features.MaxUnreadable = new(0.0)
	refused, err := engine.Finetune(t.Context(), o, event.Events{})
	if err != nil || !strings.Contains(refused.Forecast.Text(), "a run would end here; because: train: 1 of ") {
		t.Errorf("%v, %v", refused, err)
	}
	o.Features.MaxUnreadable = new(0.5)
	again, err := engine.Finetune(t.Context(), o, event.Events{})
	if err != nil || again.Forecast.Encode[0].Missing != f.Encode[0].Missing || f.Encode[0].Missing == 0 {
		t.Errorf("what was tried is kept: %+v, %v", again, err)
	}
}

// Tokens of training images that heads of folds are judged by, in several views, are in the forecast, whatever training
// itself takes.
func TestDryRunOutOfFold(t *testing.T) {
	tokens := func(augment, calibration string) int64 {
		o := adapting(t, "norm")
		o.Adapt.Augment, o.Views.Test, o.Calibration.Method, o.DryRun = augment, 2, calibration, true
		r, err := engine.Finetune(t.Context(), o, event.Events{})
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range r.Forecast.Encode {
			if of.What == "train tokens" {
				return of.Bytes
			}
		}
		return 0
	}
	alone := tokens("none", "none")
	for _, c := range []struct {
		augment, calibration string
		want                 int64
	}{{"none", "temperature", 2 * alone}, {"flip", "none", 0}, {"flip", "temperature", 2 * alone}} {
		if got := tokens(c.augment, c.calibration); got != c.want || alone == 0 {
			t.Errorf("%+v: %d bytes, in one view %d", c, got, alone)
		}
	}
}

// What the disk cannot hold is refused before it is begun.
func TestRoom(t *testing.T) {
	o := feature.Options{Cache: t.TempDir() + "/not/yet/there"}
	if err := o.Room(1, 1); err != nil {
		t.Error(err)
	}
	if err := o.Room(math.MaxInt64, 0); err == nil || !strings.Contains(err.Error(), o.Cache) {
		t.Errorf("all the world's features: %v", err)
	}
	o.Cache = "s3://team/vitft"
	if err := o.Room(math.MaxInt64, 0); err == nil || !strings.Contains(err.Error(), "copies") {
		t.Errorf("copies of all the world's features: %v", err)
	}
	o.Copies = "1kB"
	if err := o.Room(math.MaxInt64, 0); err != nil {
		t.Errorf("a few copies of them: %v", err)
	}
	if err := o.Room(0, math.MaxInt64); err == nil {
		t.Error("all the world's features are laid out")
	}
}
