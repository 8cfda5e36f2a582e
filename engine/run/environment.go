package run

import (
	"cmp"
	"encoding/json"
	"runtime"
	"runtime/debug"

	"github.com/vitft/vitft/onnx/vision"
	"github.com/vitft/vitft/vit"
)

// Environment is what a run ran with, beyond its configuration: the content of environment.json.
type Environment struct {
	Vitft   string `json:"vitft"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Cores   int    `json:"cores"`
	Runtime struct {
		Path    string `json:"path"`
		Version string `json:"version"`
		API     int    `json:"api"`
		Source  string `json:"source"`
	} `json:"runtime_library"`
	Provider struct {
		Asked string `json:"asked"`
		Ran   string `json:"ran"`
		Note  string `json:"note,omitempty"` // why auto did not take CUDA
	} `json:"provider"`
	Backbone struct {
		Name       string         `json:"name"`
		SHA256     string         `json:"sha256"`
		Feature    vision.Feature `json:"feature"`
		Preprocess vit.Preprocess `json:"preprocess,omitzero"`
	} `json:"backbone"`
	Store struct {
		Key    string          `json:"key"`    // the store's folder under the cache
		Fields json.RawMessage `json:"fields"` // the store's key
	} `json:"feature_store"` // of the plain view; those of others differ in the view
	TTA []vision.View `json:"tta,omitempty"` // the views whose mean is judged; absent for the plain one alone
	// Embeddings says that the run learned from vectors that were given. The backbone and the store are then those that
	// the file names, if it does, and the model is a head alone.
	Embeddings bool `json:"embeddings,omitempty"`
}

// Here is the environment as far as the program itself decides it.
func Here() Environment {
	return Environment{Vitft: Version(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Cores: runtime.NumCPU()}
}

// Version is the version of this module, which Go makes of the commit where there is no tag, or "devel" where the build
// recorded none.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "(devel)" {
		return cmp.Or(info.Main.Version, "devel")
	}
	return "devel"
}
