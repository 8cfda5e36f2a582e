package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/verify"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// What is damaged is named with what to do, and nothing is changed; with --repair what can be is as it was.
func TestVerify(t *testing.T) {
	photos := photosFor(t)
	t.Chdir(t.TempDir())
	train := words("finetune --train " + photos["train"] + " --test " + photos["test"] + " --epochs 2 --out run" +
		common)
	for _, args := range [][]string{train, words("export --run run --out out/model.onnx --hf" + common)} {
		if code, _, stderr := vitft(t, args...); code != 0 {
			t.Fatal(stderr)
		}
	}
	all := words("verify run out cache --json")
	check := func(args []string, want int) map[string]verify.Finding {
		t.Helper()
		code, stdout, stderr := vitft(t, args...)
		var reports []verify.Report
		if err := json.Unmarshal([]byte(stdout), &reports); err != nil || code != want {
			t.Fatalf("exit code %d, want %d: %v, %s%s", code, want, err, stdout, stderr)
		}
		found := map[string]verify.Finding{}
		for _, r := range reports {
			if r.Files == 0 {
				t.Errorf("nothing was read of %s", r.Path)
			}
			for _, f := range r.Findings {
				found[f.Path] = f
			}
		}
		return found
	}
	if found := check(all, 0); len(found) > 0 {
		t.Errorf("sound, and yet %v", found)
	}
	before := snapshot(t, ".")

	// Each of these can be mended.
	blocks, err := filepath.Glob("cache/features/*/*.safetensors")
	copies, err2 := filepath.Glob("cache/copies/*")
	if err != nil || err2 != nil || len(blocks) == 0 || len(copies) == 0 {
		t.Fatal(blocks, copies)
	}
	temp := ".tmp-KILLEDKILLEDKILLEDKILLEDKI"
	mendable := []string{"run/report.html", "run/labels.txt", blocks[0], copies[0],
		filepath.Join("run/checkpoint", temp), filepath.Join("cache/copies", temp)}
	for _, path := range mendable {
		content, _ := os.ReadFile(path) // there is none of a temporary file
		testkit.WriteFile(t, path, append(content, "more"...))
	}
	found := check(all, 3)
	for _, path := range mendable {
		if f := found[path]; f.Mended || !strings.HasPrefix(f.Cure, "--repair") {
			t.Errorf("%s: %+v", path, f)
		}
	}
	if len(found) != len(mendable) {
		t.Errorf("found %v", found)
	}
	if again := check(all, 3); len(again) != len(mendable) {
		t.Errorf("verify has changed something: %v", again)
	}
	check(append(all, "--repair"), 0)
	if found := check(all, 0); len(found) > 0 {
		t.Errorf("after --repair %v", found)
	}
	for name, text := range snapshot(t, ".") {
		if strings.HasPrefix(name, "run/") && text != before[name] {
			t.Errorf("%s is another after --repair", name)
		}
	}

	// These cannot, and it is said what then.
	for _, path := range []string{"run/model.onnx", "run/predictions.csv", "out/model.onnx",
		"out/preprocessor_config.json"} {
		content := testkit.ReadFile(t, path)
		testkit.WriteFile(t, path, append(content, ' '))
		f := check(append(all, "--repair"), 3)[path]
		if f.Mended || !strings.Contains(f.Cure, "again") {
			t.Errorf("%s: %+v", path, f)
		}
		testkit.WriteFile(t, path, content)
	}
	if code, stdout, stderr := vitft(t, "verify", photos["test"]); code != 3 ||
		!strings.Contains(stderr, "no run folder") {
		t.Errorf("a folder of photos: exit code %d, %s%s", code, stdout, stderr)
	}
}

// Files of a finished run that have right sums but do not fit together are found out.
func TestVerifyOfFilesThatDoNotFit(t *testing.T) {
	photos := photosFor(t)
	t.Chdir(t.TempDir())
	for out, head := range map[string]string{"run1": "cosine", "run2": "linear"} {
		code, _, stderr := vitft(t, words("finetune --train "+photos["train"]+" --test "+photos["test"]+
			" --epochs 2 --head "+head+" --out "+out+common)...)
		if code != 0 {
			t.Fatal(stderr)
		}
	}
	for _, name := range []string{"model.onnx", "head.safetensors"} {
		sound := testkit.ReadFile(t, "run1", name)
		sums := testkit.ReadFile(t, "run1", "SHA256SUMS")
		testkit.WriteFile(t, filepath.Join("run1", name), testkit.ReadFile(t, "run2", name))
		if err := os.Remove("run1/SHA256SUMS"); err != nil {
			t.Fatal(err)
		}
		if code, stdout, _ := vitft(t, "verify", "run1", "--repair"); code != 3 ||
			!strings.Contains(stdout, "does not fit the other files: its head") {
			t.Errorf("%s of another run: exit code %d, %s", name, code, stdout)
		}
		testkit.WriteFile(t, filepath.Join("run1", name), sound)
		if code, stdout, _ := vitft(t, "verify", "run1"); code != 3 ||
			!strings.Contains(stdout, "--repair writes the sums") {
			t.Errorf("no sums: exit code %d, %s", code, stdout)
		}
		if code, stdout, _ := vitft(t, "verify", "run1", "--repair"); code != 0 {
			t.Errorf("--repair: exit code %d, %s", code, stdout)
		}
		if string(testkit.ReadFile(t, "run1", "SHA256SUMS")) != string(sums) {
			t.Error("other sums")
		}
	}
}

// A cache in an object store is checked as it is there, whatever copies this machine has, and nothing is changed.
func TestVerifyOfACacheInAnObjectStore(t *testing.T) {
	defer place.Forget()
	t.Setenv("VITFT_ORT_LIB", ort.Need(t).Path)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	server := testkit.StartS3(t, "team", t.TempDir())
	t.Setenv("AWS_ENDPOINT_URL", server.Endpoint)
	const cache = "s3://team/vitft"
	if code, _, stderr := vitft(t, "encode", "--train", photos(t, 8), "--views", "2", "--cache", cache); code != 0 {
		t.Fatal(stderr)
	}
	verify := func(want int, says ...string) {
		t.Helper()
		code, stdout, stderr := vitft(t, "verify", cache)
		for _, text := range says {
			if code != want || !strings.Contains(stdout, text) {
				t.Errorf("exit code %d: %s%s, want %d and %q", code, stdout, stderr, want, text)
			}
		}
	}
	verify(0, cache+": cache, in use; 2 files, sound")
	objects, err := filepath.Glob(filepath.Join(server.Folder, "team", "vitft", "features", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		name := filepath.Base(object)
		if name == "used" {
			continue
		}
		was := testkit.ReadFile(t, object)
		damaged := bytes.Clone(was)
		damaged[len(damaged)/2] ^= 1
		if name == "key.json" {
			damaged = damaged[1:]
		}
		testkit.WriteFile(t, object, damaged)
		verify(3, "findings: 1", filepath.Base(filepath.Dir(object))+"/"+name)
		if !bytes.Equal(testkit.ReadFile(t, object), damaged) {
			t.Errorf("%s was changed", name)
		}
		testkit.WriteFile(t, object, was)
	}
	verify(0, "sound")
	if left, err := filepath.Glob(filepath.Join(place.Here(), "objects", "verify-*")); err != nil || len(left) > 0 {
		t.Errorf("left are %q, %v", left, err)
	}
}
