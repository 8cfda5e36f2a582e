package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit/ort"
)

// The server answers with the labels of predict, loads a model anew at SIGHUP, asks for its token, and ends with exit
// code 0.
func TestServe(t *testing.T) {
	ort.Need(t)
	dir, work := photos(t, 8), t.TempDir()
	run, other := filepath.Join(work, "run"), filepath.Join(work, "other")
	for _, out := range []string{run, other} {
		if code, _, stderr := vitft(t, "finetune", "--train", dir, "--out", out, "--epochs", "3", "--provider", "cpu",
			"--quiet", "--cache", filepath.Join(work, "cache")); code != 0 {
			t.Fatal(stderr)
		}
		// for the other one
		if err := os.Rename(filepath.Join(dir, "light"), filepath.Join(dir, "bright")); out == run && err != nil {
			t.Fatal(err)
		}
	}
	token := filepath.Join(work, "token")
	if err := os.WriteFile(token, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, stop := serving(t, "--model", "a="+run, "--model", other, "--token-file", token, "--log-requests")
	image, err := os.ReadFile(filepath.Join(dir, "bright", "3.png"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(query, token string) (int, string) {
		t.Helper()
		r, err := http.NewRequest("POST", url+"/v1/classify"+query, bytes.NewReader(image))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	for _, x := range []struct {
		query, token string
		status       int
		has          string
	}{
		{"", "sesame", 200, `"label":"light"`}, {"?model=a", "sesame", 200, `"label":"light"`}, {"?model=other", "sesame", 200, `"label":"bright"`},
		{"", "simsim", 401, "token"},
	} {
		if status, text := ask(x.query, x.token); status != x.status || !strings.Contains(text, x.has) {
			t.Errorf("%q with %q: %d %s", x.query, x.token, status, text)
		}
	}
	if err := os.Rename(run, run+"-old"); err != nil {
		t.Fatal(err)
	}
	// whole folders: a file alone does not fit its folder's checksums
	if err := os.CopyFS(run, os.DirFS(other)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, text := ask("", "sesame"); strings.Contains(text, `"label":"bright"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("SIGHUP has changed nothing after 30 s")
		}
	}
	code, stderr := stop()
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{`"message":"reloaded"`, `"message":"stopped; everything accepted was answered"`, `"path":"/v1/classify"`} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the log lacks %s:\n%s", want, stderr)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args  []string
		code  int
		names string
	}{
		{nil, 2, "name a run folder"},
		{[]string{"--model", "nowhere"}, 3, "nowhere"},
		{[]string{"--model", "nowhere", "--addr", "nowhere"}, 2, "HOST:PORT"},
		{[]string{"--model", "nowhere", "--addr", taken.Addr().String()}, 1, "addr: "},
		{[]string{"--model", "nowhere", "--max-queue", "-3"}, 2, "max-queue: -3"},
		{[]string{"--model", "nowhere", "--timeout", "soon"}, 2, "timeout"},
		{[]string{"--model", "nowhere", "--token-file", empty}, 2, "is empty"},
		{[]string{"--model", "nowhere", "--tls-cert", empty}, 2, "needs both"},
	} {
		args := append([]string{"serve"}, x.args...)
		if !strings.Contains(strings.Join(args, " "), "--addr") {
			args = append(args, "--addr", "127.0.0.1:0")
		}
		code, _, stderr := vitft(t, args...)
		if code != x.code || !strings.Contains(stderr, x.names) {
			t.Errorf("vitft %s: exit code %d, want %d; %q, want it to name %q", strings.Join(args, " "), code, x.code,
				stderr, x.names)
		}
	}
}
