// Package device says where models run: which library of ONNX Runtime, which provider, how many threads.
package device

import (
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/onnx"
)

// Options say where to run. The zero value is right for most uses.
type Options struct {
	Provider string // auto, cpu or cuda; auto
	Threads  int    // of the runtime within one run; all cores
	Library  string // the ONNX Runtime library to load; found by onnx.Find
}

// Fields declares the settings.
func (o *Options) Fields() []setting.Field {
	providers := []string{string(onnx.Auto), string(onnx.CPU), string(onnx.CUDA)}
	return setting.In("device",
		setting.OneOf("provider", &o.Provider, string(onnx.Auto), providers, "where models run"),
		setting.Number("threads", &o.Threads, 0, setting.Between(1, 1024).Or(0, "all cores"),
			"threads of the runtime (0: all cores)"),
		libraryField(&o.Library),
	)
}

func libraryField(p *string) setting.Field {
	return setting.Text("ort-lib", p, "", setting.Local,
		"path of the ONNX Runtime shared library (default: searched for, see vitft doctor)").Here()
}

// Load loads the library, once for a process. Who names another than the one that is loaded is refused.
func (o Options) Load(ev event.Events) error {
	if _, loaded := onnx.Loaded(); loaded && o.Library == "" {
		return nil
	}
	library, err := onnx.Find(o.Library)
	if err != nil {
		return err
	}
	ev.Info("runtime library", "path", library.Path, "version", library.Version, "found", library.Source)
	return onnx.Load(library)
}

// Session is how a session of the runtime is opened with o, filled in. External weights of the model lie in dir.
func (o Options) Session(dir string) onnx.SessionOptions {
	return onnx.SessionOptions{Provider: onnx.Provider(o.Provider), Threads: o.Threads, ExternalDataDir: dir}
}
