package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/cache"
	"github.com/vitft/vitft/engine/setting"
)

// What is kept is listed, goes by the rules that are given, and is made anew.
func TestCache(t *testing.T) {
	photos := photosFor(t)
	t.Chdir(t.TempDir())
	must := func(line string) string {
		t.Helper()
		code, stdout, stderr := vitft(t, words(line)...)
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", line, code, stderr)
		}
		return stdout
	}
	train := "finetune --train " + photos["train"] + " --test " + photos["test"] + " --epochs 2 --out run" + common
	must(train)
	listed := func() (c cache.Contents) {
		t.Helper()
		if err := json.Unmarshal([]byte(must("cache list --cache cache --json")), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := listed()
	if len(c.Stores) != 1 || c.Stores[0].Features != 28 || c.Stores[0].Name != "vitft-micro-28" || c.Scan.Files == 0 {
		t.Errorf("%+v", c)
	}
	sum := c.Stores[0].Key.Backbone[:12]
	for line, says := range map[string]string{
		"cache list --cache cache":                                      "28        ",
		"cache size --cache cache":                                      " in ",
		"cache list --cache nowhere":                                    "0.0 kB in ",
		"cache prune --cache cache":                                     "0.0 kB freed in ",
		"cache prune --cache cache --keep 1TB":                          "0.0 kB freed in ",
		"cache prune --cache cache --older-than 2w":                     "0.0 kB freed in ",
		"cache prune --cache cache --backbone abcdef":                   "0.0 kB freed in ",
		"cache prune --cache cache --backbone vitft-micro-28 --dry-run": "would remove 28 features of",
		"cache prune --cache cache --backbone " + sum + " --dry-run":    "would remove 28 features",
	} {
		if stdout := must(line); !strings.Contains(stdout, says) {
			t.Errorf("%s: %s, without %q", line, stdout, says)
		}
	}
	// What the environment says of other commands is no rule.
	t.Setenv("VITFT_BACKBONE", "vitft-micro-28")
	if must("cache prune --cache cache"); len(listed().Stores) != 1 {
		t.Error("VITFT_BACKBONE has pruned")
	}
	if err := os.Unsetenv("VITFT_BACKBONE"); err != nil {
		t.Fatal(err)
	}
	stdout := must("cache prune --cache cache --all")
	if !strings.Contains(stdout, "removed 28 features of vitft-micro-28") {
		t.Error(stdout)
	}
	if c := listed(); c.Bytes != 0 {
		t.Errorf("%+v is left", c)
	}
	must(train)
	if c := listed(); c.Stores[0].Features != 28 {
		t.Errorf("made anew: %+v", c)
	}
	for line, says := range map[string]string{
		"cache prune --older-than x":                 `"x" is no time that can have passed; write 30d`,
		"cache prune --keep much":                    `"much" is no amount of bytes; write 20GB`,
		"cache prune --all --keep 1GB --cache cache": "all, older-than, keep",
		"cache list photos":                          "takes no argument",
	} {
		if code, _, stderr := vitft(t, words(line)...); code != 2 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}
	if code, _, stderr := vitft(t, words("cache prune --backbone no-such-model")...); code != 3 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestAmounts(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "12": 12, "2kB": 2000, "1.5 GB": 1.5e9, "3t": 3e12} {
		if got, err := setting.ParseBytes(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for text, hours := range map[string]float64{"30d": 720, "1.5w": 252, "12h": 12} {
		if got, err := parseAge(text); err != nil || got.Hours() != hours {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "d", "0d", "1e9w", "GB", "1e30"} {
		_, noAge := parseAge(text)
		_, noBytes := setting.ParseBytes(text)
		if noAge == nil || noBytes == nil && text != "1e9w" {
			t.Errorf("%q: %v, %v", text, noAge, noBytes)
		}
	}
}
