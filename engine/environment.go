package engine

import (
	"runtime"
	"runtime/debug"

	"github.com/vitft/vitft/engine/store"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// environment is what environment.json holds: what a run ran with, beyond its
// configuration.
type environment struct {
	Vitft    string          `json:"vitft"`
	Go       string          `json:"go"`
	OS       string          `json:"os"`
	Arch     string          `json:"arch"`
	Cores    int             `json:"cores"`
	Runtime  onnx.Library    `json:"runtime_library"`
	Provider providerRecord  `json:"provider"`
	Backbone backboneRecord  `json:"backbone"`
	Store    featureStoreRef `json:"feature_store"` // of the plain view; those of others differ in the view
	TTA      []vision.View   `json:"tta,omitempty"` // the views whose mean is judged; absent for the plain one alone
}

type providerRecord struct {
	Asked string `json:"asked"`
	Ran   string `json:"ran"`
	Note  string `json:"note,omitempty"` // why auto did not take CUDA
}

type backboneRecord struct {
	Name       string         `json:"name"`
	SHA256     string         `json:"sha256"`
	Feature    vision.Feature `json:"feature"`
	Preprocess vit.Preprocess `json:"preprocess"`
}

type featureStoreRef struct {
	Key    string    `json:"key"` // the store's folder under the cache
	Fields store.Key `json:"fields"`
}

func describe(c Config, e *encoding) environment {
	b := e.backbone
	library, _ := onnx.Loaded()
	plain := e.views[0].store.Key()
	env := environment{
		Vitft: Version(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(),
		Runtime:  library,
		Provider: providerRecord{Asked: c.Provider, Ran: b.encoder.Provider(), Note: b.encoder.Note()},
		Backbone: backboneRecord{Name: b.name, SHA256: b.sha256, Feature: b.inspection.Feature, Preprocess: b.preprocess},
		Store:    featureStoreRef{Key: plain.Hash(), Fields: plain},
	}
	if c.TTA > 1 {
		env.TTA = vision.Views(c.TTA)
	}
	return env
}

// Version is the version of this module, or "devel" with the commit it was
// built from, as far as the build recorded them.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value
		}
	}
	return "devel"
}
