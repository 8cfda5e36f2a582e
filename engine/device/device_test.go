package device_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx"
)

// childEnv makes this program the child that tries a provider, and says how it does.
const childEnv = "VITFT_DEVICE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		ort.Main(m)
	case "probes": // called with --ort-lib LIBRARY --probe PROVIDER
		json.NewEncoder(os.Stdout).Encode(device.Probe(os.Args[2], onnx.Provider(os.Args[4])))
	case "dies":
		fmt.Fprint(os.Stderr, "the GPU is on fire\n\n  put it out  \nPC=0x1 m=0\ngoroutine 1 [running]:\n")
		os.Exit(2)
	case "hangs":
		time.Sleep(time.Minute)
	case "talks rubbish":
		fmt.Print("well, ")
	}
}

func TestFields(t *testing.T) {
	var o device.Options
	if err := setting.Complete(o.Fields()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range o.Fields() {
		got = append(got, f.Key+" "+f.Text())
	}
	if want := []string{"provider auto", "threads 0", "ort-lib "}; !slices.Equal(got, want) {
		t.Errorf("settings are %q, want %q", got, want)
	}
	for _, o := range []device.Options{{Provider: "gpu"}, {Threads: -1}, {Threads: 1025}} {
		if err := setting.Complete(o.Fields()); err == nil || fault.Of(err) != fault.Config {
			t.Errorf("%+v is taken: %v", o, err)
		}
	}
	var d device.DiagnoseOptions
	if err := setting.Set(d.Fields(), map[string]any{"ort-lib": "lib"}); err != nil || d.Library != "lib" {
		t.Errorf("%+v, %v", d, err)
	}
	if f, _ := setting.Find(d.Fields(), "ort-lib"); !f.Local {
		t.Error("the path of a library is part of what reproduces a run")
	}
}

func TestLoad(t *testing.T) {
	library := ort.Need(t)
	var notes []string
	ev := event.Events{Note: func(_ event.Level, message string, _ ...any) { notes = append(notes, message) }}
	err := device.Options{Library: library.Path}.Load(ev)
	if err != nil || !slices.Equal(notes, []string{"runtime library"}) {
		t.Errorf("loading said %q, %v", notes, err)
	}
	if err := (device.Options{}).Load(ev); err != nil || len(notes) > 1 {
		t.Errorf("what is loaded is loaded again: %q, %v", notes, err)
	}
	if err := (device.Options{Library: t.TempDir()}).Load(ev); err == nil || fault.Of(err) != fault.Runtime {
		t.Errorf("an empty folder has a library: %v", err)
	}
	s := device.Options{Provider: "cuda", Threads: 3}.Session("weights")
	if want := (onnx.SessionOptions{Provider: onnx.CUDA, Threads: 3, ExternalDataDir: "weights"}); s != want {
		t.Errorf("a session is opened with %+v", s)
	}
}

func TestDiagnoseWithoutLibrary(t *testing.T) {
	empty := t.TempDir()
	broken := testkit.WriteFile(t, filepath.Join(t.TempDir(), "libonnxruntime.so"), []byte("no library"))
	for _, path := range []string{empty, broken} {
		d, err := device.Diagnose(t.Context(), device.DiagnoseOptions{Library: path})
		if err == nil || fault.Of(err) != fault.Runtime {
			t.Fatalf("%s: %v", path, err)
		}
		if d.Library != nil || d.Providers != nil || d.Problem != err.Error() || len(d.Searched) != 1 ||
			d.Searched[0].Source != "given path" || strings.HasPrefix(d.Searched[0].Found, "ONNX Runtime") {
			t.Errorf("%s: %+v", path, d)
		}
		if p := device.Probe(path, onnx.CPU); p.Works || p.Provider != onnx.CPU || p.Missing != err.Error() {
			t.Errorf("%s is tried as %+v", path, p)
		}
	}
	t.Setenv(onnx.LibraryEnv, empty)
	d, err := device.Diagnose(t.Context(), device.DiagnoseOptions{})
	if err == nil || d.Searched[0].Source != onnx.LibraryEnv {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDiagnose(t *testing.T) {
	library := ort.Need(t)
	for name, child := range map[string][]string{"here": nil, "in a child": {os.Args[0]}} {
		t.Run(name, func(t *testing.T) {
			if child != nil {
				t.Setenv(childEnv, "probes")
			}
			d, err := device.Diagnose(t.Context(), device.DiagnoseOptions{Library: library.Path, Child: child})
			if err != nil {
				t.Fatal(err)
			}
			want := []device.Searched{
				{Source: "given path", Path: library.Path, Found: "ONNX Runtime " + library.Version},
			}
			if d.Problem != "" || d.Library.Path != library.Path || !slices.Equal(d.Searched, want) {
				t.Errorf("%+v", d)
			}
			if len(d.Providers) != 2 || d.Providers[0].Provider != onnx.CPU || !d.Providers[0].Works {
				t.Fatalf("%+v", d.Providers)
			}
			if p := d.Providers[1]; p.Provider != onnx.CUDA || p.Works == (p.Missing != "") {
				t.Errorf("%+v", p)
			}
		})
	}
}

// A child that does not answer is a provider that does not work, and says why; without the CPU nothing does.
func TestChildFails(t *testing.T) {
	library := ort.Need(t)
	for _, x := range []struct {
		child, missing, detail string
		fix                    [2]string // on the CPU and with CUDA
		time                   time.Duration
	}{
		{"dies", "ended with exit status 2", "the GPU is on fire; put it out",
			[2]string{"", "install CUDA"}, time.Minute},
		{"hangs", "does not start within 100ms", "", [2]string{"nvidia-smi", "nvidia-smi"}, 100 * time.Millisecond},
		{"talks rubbish", `answered "well, "`, "", [2]string{}, time.Minute},
	} {
		t.Run(x.child, func(t *testing.T) {
			t.Setenv(childEnv, x.child)
			was := device.SetProbeTime(x.time)
			defer device.SetProbeTime(was)
			d, err := device.Diagnose(t.Context(),
				device.DiagnoseOptions{Library: library.Path, Child: []string{os.Args[0]}})
			if err == nil || fault.Of(err) != fault.Runtime || !strings.Contains(err.Error(), "does not run a model") ||
				!strings.Contains(err.Error(), x.missing) {
				t.Errorf("%v", err)
			}
			for i, p := range d.Providers {
				if p.Works || !strings.Contains(p.Missing, x.missing) || p.Detail != x.detail ||
					!strings.Contains(p.Fix, x.fix[i]) || x.fix[i] == "" && p.Fix != "" {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}
