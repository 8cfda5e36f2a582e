package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/onnx"
)

// doctorOptions are those of doctor.
type doctorOptions struct {
	device.DiagnoseOptions
	Probe string
	JSON  bool
}

func (o *doctorOptions) fields() []setting.Field {
	return append(o.DiagnoseOptions.Fields(), asJSON(&o.JSON),
		setting.Text("probe", &o.Probe, "", nil, "try one provider in this process and print its status").Here())
}

func (a *app) doctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [--json]",
		Short: "Is the runtime library there, which providers work, and how to mend what does not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Probe != "" {
				return a.printJSON(device.Probe(o.Library, onnx.Provider(o.Probe)))
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot start a process to try providers in: %w", err)
			}
			o.Child = []string{self, "doctor", "--quiet"}
			found, err := device.Diagnose(cmd.Context(), o.DiagnoseOptions)
			show := func() error { return a.printf("%s", diagnosed(found)) }
			if o.JSON {
				show = func() error { return a.printJSON(found) }
			}
			if printErr := show(); err == nil {
				err = printErr
			}
			return err
		},
	}
	a.declare(cmd, o.fields()...)
	_ = cmd.Flags().MarkHidden("probe")
	return cmd
}

// diagnosed is the diagnosis for readers.
func diagnosed(d *device.Diagnosis) string {
	var b strings.Builder
	fmt.Fprintln(&b, "Search for the ONNX Runtime library, in this order:")
	for _, s := range d.Searched {
		fmt.Fprintf(&b, "  %-28s %s: %s\n", s.Source, s.Path, s.Found)
	}
	if d.Library != nil {
		l := d.Library
		fmt.Fprintf(&b, "Library: %s (version %s, API %d, found: %s)\n  SHA-256 %s\n", l.Path, l.Version, l.API,
			l.Source, l.SHA256)
	}
	for _, p := range d.Providers {
		if p.Works {
			fmt.Fprintf(&b, "Provider %-5s works\n", p.Provider)
		} else {
			fmt.Fprintf(&b, "Provider %-5s does not work: %s\n", p.Provider, p.Missing)
		}
		for _, line := range []struct{ what, text string }{{"to mend it", p.Fix}, {"it said", p.Detail}} {
			if !p.Works && line.text != "" {
				fmt.Fprintf(&b, "  %s: %s\n", line.what, line.text)
			}
		}
		for _, library := range p.Libraries {
			fmt.Fprintf(&b, "  loaded: %s\n", library)
		}
	}
	return b.String()
}
