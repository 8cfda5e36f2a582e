//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// outcome is what a case's command left: in its folder, on its outputs, as its exit code.
type outcome struct {
	dir, stdout, stderr string
	code                int
}

// expected has a verdict on every case of the shared folder, by its name.
var expected = map[string]func(*testing.T, outcome){}

// Inputs as people have them, from public reports, give the right values.
func TestCases(t *testing.T) {
	ort.Need(t)
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	source, home := testkit.Shared(t, "cases"), t.TempDir()
	if out, err := exec.Command("cp", "-R", source+"/.", home).CombinedOutput(); err != nil { // a name is no UTF-8
		t.Fatalf("%v\n%s", err, out)
	}
	bin := filepath.Join(home, "_bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(built(t), filepath.Join(bin, "vitft")); err != nil {
		t.Fatal(err)
	}
	if python := os.Getenv("VITFT_PYTHON"); python != "" { // not a link, which is no part of a virtual environment
		testkit.WriteFile(t, filepath.Join(bin, "python3"), []byte("#!/bin/sh\nexec '"+python+"' \"$@\"\n"))
		if err := os.Chmod(filepath.Join(bin, "python3"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "VITFT_CACHE="+filepath.Join(home, "_cache"))
	in := func(t *testing.T, dir, script string) outcome {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // a case that hangs is a fault
		defer cancel()
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, "bash", "-c", script)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, env, &stdout, &stderr, time.Second
		err := cmd.Run()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatalf("%s: %v", script, err)
		}
		return outcome{dir, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	}
	if s := in(t, home, "vitft finetune --quiet --train _photos/train --epochs 20 --out _run"); s.code != 0 {
		t.Fatal(s.stderr)
	}
	scripts, err := filepath.Glob(filepath.Join(home, "*", "cmd.txt"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%d cases, %v", len(scripts), err)
	}
	verdicts := maps.Clone(expected)
	for _, path := range scripts {
		dir := filepath.Dir(path)
		name := filepath.Base(dir)
		verdict := verdicts[name]
		delete(verdicts, name)
		t.Run(name, func(t *testing.T) {
			if verdict == nil {
				t.Fatal("nothing says what is right")
			}
			script := string(testkit.ReadFile(t, path))
			if strings.Contains(script, "python3") && os.Getenv("VITFT_PYTHON") == "" {
				t.Skip("VITFT_PYTHON names no Python with onnxruntime and numpy (scripts/python.sh makes one)")
			}
			verdict(t, in(t, dir, strings.ReplaceAll(script, "18231", freePort(t))))
		})
	}
	if len(verdicts) > 0 {
		t.Errorf("verdicts without a case: %v", slices.Sorted(maps.Keys(verdicts)))
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// succeeds is the verdict that a command does its work.
func succeeds(t *testing.T, s outcome) {
	if s.code != 0 {
		t.Errorf("exit code %d\n%s%s", s.code, s.stdout, s.stderr)
	}
}

// answersAlike is the verdict that all images of a prediction get one label and the same probabilities.
func answersAlike(t *testing.T, s outcome) {
	succeeds(t, s)
	lines := strings.Split(strings.TrimSpace(s.stdout), "\n")
	if len(lines) < 2 {
		t.Fatalf("%s%s", s.stdout, s.stderr)
	}
	for i, line := range lines {
		_, answer, ok := strings.Cut(line, `"label"`)
		_, first, _ := strings.Cut(lines[0], `"label"`)
		if !ok || answer != first {
			t.Errorf("line %d: %s, in place of %s", i+1, line, lines[0])
		}
	}
}
