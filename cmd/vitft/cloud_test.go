package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// Machines that keep their features in an object store encode an image once for all of them, and learn the same.
func TestFeaturesInAnObjectStore(t *testing.T) {
	ort.Need(t)
	train := photos(t, 8)
	here := t.TempDir()
	want, far := headOf(t, train, here), headOf(t, train, here, "--shuffle", "5")
	store := "s3://team/vitft?endpoint=" + testkit.S3(t, "team")
	for _, machine := range []struct{ name, encoded string }{{"first", "16 encoded now"}, {"second", "0 encoded now"}} {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		code, stdout, stderr := vitft(t, "encode", "--quiet", "--train", train, "--cache", store)
		if code != 0 || !strings.Contains(stdout, machine.encoded) {
			t.Errorf("the %s machine: %d %s%s, want %s", machine.name, code, stdout, stderr, machine.encoded)
		}
		if !bytes.Equal(headOf(t, train, store), want) {
			t.Errorf("the %s machine learns another head", machine.name)
		}
		if !bytes.Equal(headOf(t, train, store, "--shuffle", "5", "--copies", "1kB"), far) {
			t.Errorf("the %s machine learns another head when features are on the disk", machine.name)
		}
	}
	if code, _, stderr := vitft(t, "encode", "--train", train, "--cache", "ftp://team"); code != 2 ||
		!strings.Contains(stderr, "s3://BUCKET/PREFIX") {
		t.Errorf("an unknown scheme: %d %s", code, stderr)
	}
}

// headOf trains on features in a cache.
func headOf(t *testing.T, train, cache string, more ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	if code, _, stderr := vitft(t, append([]string{"finetune", "--quiet", "--train", train, "--epochs", "3", "--cache",
		cache, "--out", out}, more...)...); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	return testkit.ReadFile(t, out, "head.safetensors")
}
