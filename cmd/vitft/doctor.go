package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/onnx"
)

// diagnosis is what doctor prints as JSON.
type diagnosis struct {
	Library   *onnx.Library         `json:"library"` // null when none is usable
	Problem   string                `json:"problem,omitempty"`
	Searched  []searched            `json:"searched"`
	Providers []onnx.ProviderStatus `json:"providers"`
}

// searched is one place of the search order.
type searched struct {
	Source string `json:"source"`
	Path   string `json:"path,omitempty"`
	Found  string `json:"found"`
}

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	var probe string
	cmd := &cobra.Command{
		Use:   "doctor [--json]",
		Short: "Is the runtime library there, which providers work, and how to mend what does not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			explicit := a.settings.GetString("ort-lib")
			if probe != "" {
				return a.probe(explicit, onnx.Provider(probe))
			}
			d, err := diagnose(cmd.Context(), explicit)
			show := a.printDiagnosis
			if asJSON {
				show = func(d diagnosis) error { return a.printJSON(d) }
			}
			if printErr := show(d); err == nil {
				err = printErr
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print as JSON")
	f.StringVar(&probe, "probe", "", "try one provider in this process and print its status")
	_ = f.MarkHidden("probe")
	return cmd
}

// probeTime is how long a provider may take to start.
const probeTime = 2 * time.Minute

// diagnose looks for the library and tries every provider in a process of its
// own, because a broken GPU installation can take the process down.
func diagnose(ctx context.Context, explicit string) (diagnosis, error) {
	var d diagnosis
	for _, c := range onnx.Search(explicit) {
		s := searched{Source: c.Source, Path: c.Path, Found: "nothing"}
		switch {
		case c.Library != nil:
			s.Found = "ONNX Runtime " + c.Library.Version
		case c.Err != nil:
			s.Found = c.Err.Error()
		}
		d.Searched = append(d.Searched, s)
	}
	library, err := onnx.Find(explicit)
	if err != nil {
		d.Problem = err.Error()
		return d, err
	}
	d.Library = &library
	for _, p := range []onnx.Provider{onnx.CPU, onnx.CUDA} {
		d.Providers = append(d.Providers, probeInChild(ctx, library, p))
	}
	if cpu := d.Providers[0]; !cpu.Works {
		return d, fmt.Errorf("%w: the library in %s does not run a model: %s", onnx.ErrRuntime, library.Path, cpu.Missing+" "+cpu.Detail)
	}
	return d, nil
}

// probeInChild runs `vitft doctor --probe` and reads its answer.
func probeInChild(ctx context.Context, library onnx.Library, p onnx.Provider) onnx.ProviderStatus {
	failed := func(format string, v ...any) onnx.ProviderStatus {
		return onnx.ProviderStatus{Provider: p, Missing: fmt.Sprintf(format, v...)}
	}
	self, err := os.Executable()
	if err != nil {
		return failed("cannot start a process to try it: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var said bytes.Buffer
	child := exec.CommandContext(ctx, self, "doctor", "--quiet", "--ort-lib", library.Path, "--probe", string(p))
	child.Stderr = &said
	out, err := child.Output()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		status := failed("it does not start within %v", probeTime)
		status.Fix = "check that nvidia-smi answers; a library without code for the GPU may compile it first, which can take longer"
		return status
	case err != nil:
		status := failed("the process that tried it ended with %v", err)
		if p == onnx.CUDA {
			status.Fix = "install CUDA and cuDNN whole, in the versions that the ONNX Runtime library asks for (scripts/runtime.sh --gpu-deps), or use the provider cpu"
		}
		status.Detail = lastWords(said.String())
		return status
	}
	var status onnx.ProviderStatus
	if err := json.Unmarshal(out, &status); err != nil {
		return failed("the process that tried it answered %q", out)
	}
	return status
}

// lastWords is what a process said before Go's account of its end, on one line.
func lastWords(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "PC=") || strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "runtime stack:") {
			break
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}

func (a *app) probe(explicit string, p onnx.Provider) error {
	library, err := onnx.Find(explicit)
	if err == nil {
		err = onnx.Load(library)
	}
	if err != nil {
		return a.printJSON(onnx.ProviderStatus{Provider: p, Missing: err.Error()})
	}
	return a.printJSON(onnx.Probe(p))
}

func (a *app) printDiagnosis(d diagnosis) error {
	var b strings.Builder
	fmt.Fprintln(&b, "Search for the ONNX Runtime library, in this order:")
	for _, s := range d.Searched {
		fmt.Fprintf(&b, "  %-28s %s: %s\n", s.Source, s.Path, s.Found)
	}
	if d.Library != nil {
		fmt.Fprintf(&b, "Library: %s (version %s, API %d)\n", d.Library.Path, d.Library.Version, d.Library.API)
	}
	for _, p := range d.Providers {
		switch {
		case p.Works:
			fmt.Fprintf(&b, "Provider %-5s works\n", p.Provider)
		default:
			fmt.Fprintf(&b, "Provider %-5s does not work: %s\n", p.Provider, p.Missing)
			if p.Fix != "" {
				fmt.Fprintf(&b, "  to mend it: %s\n", p.Fix)
			}
			if p.Detail != "" {
				fmt.Fprintf(&b, "  it said: %s\n", p.Detail)
			}
		}
		for _, library := range p.Libraries {
			fmt.Fprintf(&b, "  loaded: %s\n", library)
		}
	}
	return a.printf("%s", b.String())
}
