package main

import (
	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/library"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/onnx"
)

func (a *app) setupCommand() *cobra.Command {
	var o library.Options
	var again bool
	cmd := &cobra.Command{
		Use:   "setup [--gpu-deps]",
		Short: "Fetch the ONNX Runtime library, checked by SHA-256, to where vitft looks",
		Long: `setup fetches the ONNX Runtime library (24 MB), which runs the models, into the user's cache folder. A library
that vitft finds already is used as it is, unless --again is given. What an interrupted setup loaded is kept.
Nothing else is installed, and nothing needs an administrator. HTTPS_PROXY and NO_PROXY name the proxy.`,
		Example: `  vitft setup
  vitft setup --mirror https://packages.example.org/pypi/simple
  vitft setup --mirror onnxruntime-1.30.0-cp311-cp311-manylinux_2_28_x86_64.whl
  vitft setup --gpu-deps && export VITFT_ORT_LIB=~/.cache/vitft/lib-gpu`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if found, err := onnx.Find(""); err == nil && !again && !o.GPU && !o.Deps && o.Out+o.Platform == "" {
				return a.printf("ONNX Runtime %s is there: %s (%s)\n", found.Version, found.Path, found.Source)
			}
			done, err := library.Fetch(cmd.Context(), o, a.events())
			a.bars.pause()
			if err != nil {
				return err
			}
			what := "is there already"
			if done.Fetched {
				what = "fetched and checked"
			}
			if err := a.printf("ONNX Runtime %s: %s, %s\n", done.Version, done.Path, what); err != nil {
				return err
			}
			if o.Platform != "" { // it is not for this machine
				return nil
			}
			if o.GPU || o.Deps || o.Out != "" {
				return a.printf("export %s=%s\nvitft doctor says whether it works and what is missing\n",
					onnx.LibraryEnv, quoted(done.Path))
			}
			if _, err := onnx.Find(""); err != nil { // it is of another C library, say
				return err
			}
			return nil
		},
	}
	a.declare(cmd, append(o.Fields(),
		setting.Flag("again", &again, "fetch it although there is a library that can be used").Here())...)
	return cmd
}
