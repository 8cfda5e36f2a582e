//go:build unix

package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit"
)

// in runs a command in a folder with an environment of its own.
func in(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, env, time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The archive that scripts/release.sh builds has the library and every licence inside, and fine-tunes where it is
// unpacked, from an empty home and without a network.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program anew")
	}
	out := t.TempDir()
	env := append(os.Environ(), "BUILD_FLAGS=") // as the tests are built
	said, err := in(t, testkit.Root(), env, "scripts/release.sh", out)
	if err != nil {
		if strings.Contains(said, "could not be fetched") {
			t.Skipf("the library cannot be fetched here, so nothing is known of the archive: %s", said)
		}
		t.Fatalf("%v\n%s", err, said)
	}
	archives, err := filepath.Glob(filepath.Join(out, "vitft-*-"+runtime.GOOS+"-"+runtime.GOARCH+".tar.gz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("%v, %v\n%s", archives, err, said)
	}
	if said, err := in(t, out, os.Environ(), "sha256sum", "-c", "SHA256SUMS"); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	home := t.TempDir()
	if said, err := in(t, home, os.Environ(), "tar", "xzf", archives[0]); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	top := filepath.Join(home, strings.TrimSuffix(filepath.Base(archives[0]), ".tar.gz"))
	for _, name := range []string{"LICENSE", "NOTICE", "README.md", "lib/onnxruntime-LICENSE",
		"lib/onnxruntime-ThirdPartyNotices.txt"} {
		if len(testkit.ReadFile(t, filepath.Join(top, name))) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	notices := string(testkit.ReadFile(t, filepath.Join(top, "NOTICE")))
	if !strings.Contains(notices, "==== github.com/spf13/cobra") {
		t.Error("NOTICE has no licences in full")
	}
	// The proxies lead nowhere; where the system lets a process have a network of its own, it has none at all.
	const nowhere = "PROXY=http://127.0.0.1:1"
	env = []string{"HOME=" + filepath.Join(home, "empty"), "HTTPS_" + nowhere, "HTTP_" + nowhere}
	run := []string{filepath.Join(top, "vitft"), "finetune", "--train", photos(t, 4), "--epochs", "2", "--out",
		filepath.Join(home, "run")}
	if _, err := in(t, home, os.Environ(), "unshare", "--net", "true"); err == nil {
		run = append([]string{"unshare", "--net"}, run...)
	}
	said, err = in(t, home, env, run[0], run[1:]...)
	if err != nil || !strings.Contains(said, "report: ") || !strings.Contains(said, filepath.Join(top, "lib")) {
		t.Errorf("%v\n%s", err, said)
	}
	said, err = in(t, home, env, filepath.Join(top, "vitft"), "--version")
	if err != nil || !strings.Contains(said, "next to the program") {
		t.Errorf("%v\n%s", err, said)
	}
}

// The Dockerfile names what is there: sources that are copied, tags that are no latest, commands and flags that vitft
// has. Nobody has to be root in it.
func TestDockerfile(t *testing.T) {
	root := testkit.Root()
	text := strings.ReplaceAll(string(testkit.ReadFile(t, filepath.Join(root, "Dockerfile"))), "\\\n", " ")
	ignored := strings.Fields(string(testkit.ReadFile(t, filepath.Join(root, ".dockerignore"))))
	stages, seen, user := []string{}, map[string]string{}, ""
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		seen[f[0]] = strings.TrimSpace(strings.TrimPrefix(line, f[0]))
		switch f[0] {
		case "FROM":
			if _, tag, ok := strings.Cut(f[1], ":"); !slices.Contains(stages, f[1]) && (!ok || tag == "latest") {
				t.Errorf("%s: the image has no tag of its own", f[1])
			}
			if len(f) == 4 {
				stages = append(stages, f[3])
			}
			user = "root"
		case "USER":
			user = f[1]
		case "COPY":
			if from, ok := strings.CutPrefix(f[1], "--from="); ok {
				if !slices.Contains(stages, from) {
					t.Errorf("%s: there is no stage %s", line, from)
				}
				continue
			}
			for _, source := range f[1 : len(f)-1] {
				if _, err := os.Stat(filepath.Join(root, source)); err != nil || slices.Contains(ignored, source) {
					t.Errorf("COPY %s: %v", source, err)
				}
			}
		case "RUN":
			for _, command := range strings.Split(line[len("RUN "):], "&&") {
				if words := strings.Fields(command); filepath.Base(words[0]) == "vitft" {
					understands(t, words[1:])
				}
			}
		}
	}
	var command []string
	if err := json.Unmarshal([]byte(seen["CMD"]), &command); err != nil {
		t.Fatal(err)
	}
	understands(t, command)
	if user == "root" || strings.HasPrefix(user, "0") {
		t.Errorf("it runs as %s", user)
	}
	port := ":" + seen["EXPOSE"]
	if !slices.Contains(command, port) || !strings.Contains(seen["HEALTHCHECK"], "/127.0.0.1/"+seen["EXPOSE"]) {
		t.Errorf("exposed is %s, served %q, looked at %s", port, command, seen["HEALTHCHECK"])
	}
	mod := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(testkit.ReadFile(t, filepath.Join(root, "go.mod")))
	if !strings.Contains(text, "FROM golang:"+string(mod[1])) {
		t.Errorf("it is not built with Go %s", mod[1])
	}
	t.Run("built", func(t *testing.T) { buildsImage(t, root) })
}

// understands checks that vitft has a command and its flags.
func understands(t *testing.T, args []string) {
	t.Helper()
	_, top := newApp(io.Discard, io.Discard)
	cmd, rest, err := top.Find(args)
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err != nil || cmd == top {
		t.Errorf("vitft %s: %v", strings.Join(args, " "), err)
	}
}

// buildsImage builds the image with the engine that is at hand, and asks it who it is.
func buildsImage(t *testing.T, root string) {
	for _, engine := range []string{"docker", "podman"} {
		if _, err := in(t, root, os.Environ(), engine, "info"); err != nil {
			continue
		}
		said, err := in(t, root, os.Environ(), engine, "build", "--tag", "vitft-test", ".")
		if err != nil {
			if regexp.MustCompile(`(?i)pull|resolve|dial|timeout|could not be fetched|no such host`).MatchString(said) {
				t.Skipf("%s is here, but what the image is made of cannot be fetched: %s", engine,
					said[max(0, len(said)-500):])
			}
			t.Fatalf("%v\n%s", err, said)
		}
		said, err = in(t, root, os.Environ(), engine, "run", "--rm", "vitft-test", "doctor")
		if err != nil || !strings.Contains(said, "Provider cpu   works") {
			t.Errorf("%v\n%s", err, said)
		}
		return
	}
	t.Skip("no container engine answers here (docker, podman): the Dockerfile is read, but no image was built")
}

// No script changes what is installed on a system unless VITFT_INSTALL=yes says so.
func TestScriptsInstallNothing(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(testkit.Root(), "scripts", "*.sh"))
	if err != nil || len(scripts) < 5 {
		t.Fatal(scripts, err)
	}
	changes := regexp.MustCompile(`\b(sudo|(apt|apt-get|dnf|yum|apk|brew|pacman|zypper)\s+(-\S+\s+)*(install|add|-S))\b`)
	for _, path := range append(scripts, filepath.Join(testkit.Root(), "Makefile")) {
		for line := range strings.Lines(string(testkit.ReadFile(t, path))) {
			code, _, _ := strings.Cut(line, "#")
			said := regexp.MustCompile(`'[^']*'|"[^"]*"`).ReplaceAllString(code, "") // what is only named to the user
			if changes.MatchString(said) && filepath.Base(path) != "chromium.sh" {
				t.Errorf("%s: %s", filepath.Base(path), line)
			}
		}
	}
	bin, record := t.TempDir(), filepath.Join(t.TempDir(), "record")
	for _, name := range []string{"apt-get", "sudo", "brew"} {
		path := testkit.WriteFile(t, filepath.Join(bin, name), []byte("#!/bin/sh\necho \"$0 $*\" >>'"+record+"'\n"))
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PATH=" + bin + ":/usr/bin:/bin", "HOME=" + t.TempDir(), "CHROMIUM="}
	said, err := in(t, testkit.Root(), env, "scripts/chromium.sh")
	if text, _ := os.ReadFile(record); err != nil || len(text) > 0 {
		t.Errorf("unasked it runs %s; %v, %s", text, err, said)
	}
}
