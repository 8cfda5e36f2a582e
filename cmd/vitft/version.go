package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/onnx"
)

// version says what this program is, from what Go records of a build, and which runtime library it finds.
func version() string {
	var b strings.Builder
	fmt.Fprintf(&b, "vitft %s\n", run.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		of := map[string]string{}
		for _, s := range info.Settings {
			of[s.Key] = s.Value
		}
		if commit := of["vcs.revision"]; commit != "" {
			changed := map[string]string{"true": ", changed since"}[of["vcs.modified"]]
			fmt.Fprintf(&b, "commit %s of %s%s\n", commit, of["vcs.time"], changed)
		}
	}
	fmt.Fprintf(&b, "%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if library, err := onnx.Find(""); err == nil {
		fmt.Fprintf(&b, "ONNX Runtime %s, %s (%s)\n", library.Version, library.Path, library.Source)
	} else {
		fmt.Fprintln(&b,
			"ONNX Runtime: none is found; vitft setup fetches it, vitft doctor says where it was looked for")
	}
	return b.String()
}
