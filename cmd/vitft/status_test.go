package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// What a job is at is told from the cache, to people and to programs, as is what happened; no secret is told.
func TestStatus(t *testing.T) {
	ort.Need(t)
	train, cache := photos(t, 6), t.TempDir()
	bad := testkit.WriteFile(t, filepath.Join(train, "dark", "bad.png"), []byte("no image"))
	const secret = "a-secret-of-the-queue"
	t.Setenv("VITFT_QUEUE_TOKEN", secret)
	code, said, events := vitft(t, "encode", "--train", train, "--cache", cache,
		"--queue", "serve:127.0.0.1:"+freePort(t), "--task-images", "5", "--max-unreadable", "0.5", "--provider", "cpu", "--log-format", "json")
	if code != 0 {
		t.Fatal(events)
	}
	count := map[string]int{}
	for line := range strings.Lines(events) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		name := fmt.Sprint(e["message"])
		count[name]++
		for _, key := range map[string][]string{
			"job submitted": {"job", "images", "tasks", "at"}, "task started": {"job", "task", "try"},
			"task done":     {"job", "task", "worker", "images", "bad", "seconds"},
			"image bad":     {"job", "task", "path", "reason"},
			"worker joined": {"worker", "host"}, "job done": {"job", "tasks", "given up", "images", "bad"},
		}[name] {
			if _, has := e[key]; !has {
				t.Errorf("%s has no %s", line, key)
			}
		}
	}
	for name, want := range map[string]int{"job submitted": 1, "task started": 3, "task done": 3, "image bad": 1,
		"worker joined": 1, "job done": 1} {
		if count[name] != want {
			t.Errorf("%d times %q, not %d", count[name], name, want)
		}
	}

	code, text, stderr := vitft(t, "status", "--cache", cache)
	if code != 0 || !strings.Contains(text, "3 of 3 tasks done, 0 given up; 13 of 13 images, 1 bad") ||
		!strings.Contains(text, bad) {
		t.Errorf("%d %s %s", code, text, stderr)
	}
	code, object, stderr := vitft(t, "status", "--cache", cache, "--json")
	var status struct {
		Format string
		Queue  *struct{}
		Jobs   []struct {
			Tasks struct{ All, Done int }
			Bad   []struct{ Path, Reason string } `json:"bad_images"`
		}
	}
	if err := json.Unmarshal([]byte(object), &status); err != nil || code != 0 {
		t.Fatal(err, code, stderr)
	}
	if j := status.Jobs[0]; status.Format != "vitft-status-1" || status.Queue != nil || j.Tasks.Done != 3 ||
		j.Bad[0].Path != bad {
		t.Errorf("%s", object)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{0, "no jobs in", []string{"--cache", t.TempDir()}},
		{1, "cannot be reached", []string{"--cache", cache, "--queue", "nats://127.0.0.1:" + freePort(t)}},
		{2, "opened by who submits", []string{"--cache", cache, "--queue", "embedded"}},
		{2, "no credentials in the URL", []string{"--cache", cache, "--queue", "nats://" + secret + "@127.0.0.1:1"}},
		{2, "write embedded", []string{"--cache", cache, "--queue", "http://x:" + secret + "@127.0.0.1:1"}},
		{2, "no hash of a job", []string{"--cache", cache, "--job", "../x"}},
		{3, "none begins with ffff", []string{"--cache", cache, "--job", "ffff"}},
		{3, "holds no jobs", []string{"--cache", t.TempDir(), "--queue", "nats://127.0.0.1:1"}},
	} {
		code, stdout, stderr := vitft(t, append([]string{"status"}, c.args...)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%v: %d %s %s", c.args, code, stdout, stderr)
		}
		said += stdout + stderr
	}
	said += events + text + object
	err := filepath.WalkDir(cache, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			content, _ := os.ReadFile(path)
			said += string(content)
		}
		return err
	})
	if err != nil || strings.Contains(said, secret) {
		t.Errorf("the token is in what was said or written, %v", err)
	}
}
