//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// What once went wrong under attack does not any more: each case makes its own input, runs the program and says ok.
func TestAttacks(t *testing.T) {
	ort.Need(t)
	for _, tool := range []string{"bash", "curl", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the cases need %s: %v", tool, err)
		}
	}
	cases, err := filepath.Glob(filepath.Join(testkit.Shared(t, "faults"), "*", "cmd.sh"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	program := built(t)
	for _, path := range cases {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			script := testkit.ReadFile(t, path)
			if _, err := exec.LookPath("strace"); err != nil && strings.Contains(string(script), "killat ") {
				t.Skip("it needs strace: apt-get install strace")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // a case that hangs is a fault
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", path)
			cmd.Dir, cmd.Env = filepath.Dir(filepath.Dir(path)), append(os.Environ(), "VITFT="+program)
			cmd.WaitDelay = time.Second
			out, _ := cmd.CombinedOutput()
			for line := range strings.Lines(string(out)) {
				if strings.HasPrefix(line, "ok") {
					return
				}
				if strings.HasPrefix(line, "FAULT") {
					break
				}
			}
			t.Errorf("%s", out)
		})
	}
}
