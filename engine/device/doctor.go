package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/onnx"
)

// DiagnoseOptions say what Diagnose looks at.
type DiagnoseOptions struct {
	Library string // to look at before the usual places

	// Child is a command that takes --ort-lib PATH and --probe PROVIDER and prints the JSON of what Probe says. It may
	// crash, as a broken GPU installation makes it. If nil, Probe is asked in this process.
	Child []string
}

// Fields declares the settings.
func (o *DiagnoseOptions) Fields() []setting.Field { return []setting.Field{libraryField(&o.Library)} }

// Diagnosis is what Diagnose found.
type Diagnosis struct {
	Library   *Library              `json:"library"` // null when none is usable
	Problem   string                `json:"problem,omitempty"`
	Searched  []Searched            `json:"searched"`
	Providers []onnx.ProviderStatus `json:"providers"`
}

// Library is the runtime library. One that happens to be installed nobody has checked: its hash says which it is.
type Library struct {
	onnx.Library
	SHA256 string `json:"sha256"`
}

// Searched is one place where a library was looked for, in the order of the search.
type Searched struct {
	Source string `json:"source"`
	Path   string `json:"path,omitempty"`
	Found  string `json:"found"`
}

// probeTime is how long a provider may take to start.
var probeTime = 2 * time.Minute // tests have less

// Diagnose looks for the runtime library and tries every provider. The result is there beside an error, which says that
// nothing can run.
func Diagnose(ctx context.Context, o DiagnoseOptions) (*Diagnosis, error) {
	d := new(Diagnosis)
	for _, c := range onnx.Search(o.Library) {
		s := Searched{c.Source, c.Path, "nothing"}
		if c.Library != nil {
			s.Found = "ONNX Runtime " + c.Library.Version
		} else if c.Err != nil {
			s.Found = c.Err.Error()
		}
		d.Searched = append(d.Searched, s)
	}
	library, err := onnx.Find(o.Library)
	if err != nil {
		d.Problem = err.Error()
		return d, err
	}
	d.Library = &Library{Library: library}
	if d.Library.SHA256, err = sumOf(library.Path); err != nil {
		return d, fault.Runtime.Errorf("the library cannot be read: %w", err)
	}
	for _, p := range []onnx.Provider{onnx.CPU, onnx.CUDA} {
		d.Providers = append(d.Providers, o.probe(ctx, library.Path, p))
	}
	if cpu := d.Providers[0]; !cpu.Works {
		return d, fault.Runtime.Errorf("the library in %s does not run a model: %s %s",
			library.Path, cpu.Missing, cpu.Detail)
	}
	return d, nil
}

// Probe tries a provider of a library in this process, which a broken installation can end.
func Probe(library string, p onnx.Provider) onnx.ProviderStatus {
	if err := (Options{Library: library}).Load(event.Events{}); err != nil {
		return onnx.ProviderStatus{Provider: p, Missing: err.Error()}
	}
	return onnx.Probe(p)
}

// probe asks Probe, in another process if there is to be one.
func (o DiagnoseOptions) probe(ctx context.Context, library string, p onnx.Provider) onnx.ProviderStatus {
	if o.Child == nil {
		return Probe(library, p)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var said bytes.Buffer
	child := exec.CommandContext(ctx, o.Child[0], append(o.Child[1:], "--ort-lib", library, "--probe", string(p))...)
	child.Stderr = &said
	out, err := child.Output()
	var answered onnx.ProviderStatus
	status := onnx.ProviderStatus{Provider: p}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		status.Missing = fmt.Sprintf("it does not start within %v", probeTime)
		status.Fix = "check that nvidia-smi answers; a library without code for the GPU may compile it first, " +
			"which can take longer"
	case err != nil:
		status.Missing = fmt.Sprintf("the process that tried it ended with %v", err)
		status.Detail = lastWords(said.String())
		if p == onnx.CUDA {
			status.Fix = "install CUDA and cuDNN whole, in the versions that the ONNX Runtime library asks for " +
				"(vitft setup --gpu-deps fetches them), or use the provider cpu"
		}
	case json.Unmarshal(out, &answered) != nil:
		status.Missing = fmt.Sprintf("the process that tried it answered %q", out)
	default:
		return answered
	}
	return status
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err
}

var (
	gosAccount = regexp.MustCompile(`(?m)^\s*(PC=|goroutine |runtime stack:)`)
	lineBreak  = regexp.MustCompile(`\s*\n\s*`)
)

// lastWords is what a process said before Go's account of its end, on one line.
func lastWords(text string) string {
	if at := gosAccount.FindStringIndex(text); at != nil {
		text = text[:at[0]]
	}
	lines := lineBreak.Split(strings.TrimSpace(text), -1)
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}
