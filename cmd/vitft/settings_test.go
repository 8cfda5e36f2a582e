package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
)

var update = flag.Bool("update", false, "write docs/settings.md anew")

// prepared is a command with its settings read, as before it runs.
func prepared(t *testing.T, command string, args ...string) map[string]setting.Field {
	t.Helper()
	fields, err := tryPrepare([]string{command}, args...)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

func tryPrepare(command []string, args ...string) (map[string]setting.Field, error) {
	a, root := newApp(io.Discard, io.Discard)
	cmd, _, err := root.Find(command)
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	if err == nil {
		cmd.SetContext(context.Background())
		err = a.prepare(cmd)
	}
	fields := map[string]setting.Field{}
	for _, f := range a.fields[cmd] {
		fields[f.Key] = f
	}
	return fields, err
}

// Flag > environment > file > default.
func TestPrecedenceOfSettings(t *testing.T) {
	file := testkit.WriteFile(t, filepath.Join(t.TempDir(), "settings.yaml"),
		[]byte("epochs: 11\nloss: ce\nhead-batch: 31\ngamma: 0\n"))
	t.Setenv("VITFT_LOSS", "la")
	t.Setenv("VITFT_HEAD_BATCH", "77")
	got := prepared(t, "finetune", "--config", file, "--head-batch", "99")
	for key, want := range map[string]string{"epochs": "11", "loss": "la", "head-batch": "99", "gamma": "0"} {
		if text := got[key].Text(); text != want {
			t.Errorf("%s is %s, want %s", key, text, want)
		}
	}
	for _, key := range []string{"tau", "scale", "seed"} {
		if got[key].IsSet() {
			t.Errorf("what nobody sets is not left to the engine: %s is %s", key, got[key].Text())
		}
	}
}

func TestSettingsMeanWhatIsWritten(t *testing.T) {
	dir := photos(t, 2)
	for _, c := range []struct {
		name, file string
		env        string
		args       []string
		want       string
	}{
		{name: "a fraction of an epoch", file: "epochs: 3.5\n", want: "epochs: 3.5 is no whole number"},
		{name: "true is no number", file: "epochs: true\n", want: "epochs: true is no whole number"},
		{name: "a negative seed", file: "seed: -1\n",
			want: "seed: -1 is no whole number (between 0 and 18446744073709551615)"},
		{name: "a seed of 2^64", file: "seed: 18446744073709551616\n",
			want: "seed: 18446744073709551616 is not between 0 and"},
		{name: "an explicit 0", file: "epochs: 0\n", want: "epochs: 0 is not"},
		{name: "an explicit 0 as a flag", args: []string{"--epochs=0"}, want: "epochs: 0 is not"},
		{name: "two documents", file: "epochs: 3\n---\nepochs: 4\n", want: "more than one YAML document"},
		{name: "a list", file: "loss: [ce, la]\n", want: `settings.yaml, line 1: loss: ["ce","la"] is no text`},
		{name: "unknown", file: "losss: ce\n", want: `unknown key "losss"`},
		{name: "environment", env: "many", want: "environment variable VITFT_EPOCHS: epochs: many is no whole number"},
		{name: "the flag is named, not another", args: []string{"--head-batch=-1"},
			want: "head-batch: -1 is not between 1 and 1000000000"},
		{name: "its own name", args: []string{"--feature-scaling=foo"}, want: `feature-scaling: "foo" is none of`},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"finetune", "--train", dir, "--out", filepath.Join(t.TempDir(), "run")}, c.args...)
			if c.file != "" {
				path := testkit.WriteFile(t, filepath.Join(t.TempDir(), "settings.yaml"), []byte(c.file))
				args = append(args, "--config", path)
			}
			if c.env != "" {
				t.Setenv("VITFT_EPOCHS", c.env)
			}
			code, _, stderr := vitft(t, args...)
			if code != 2 || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, want 2; %q lacks %q", code, stderr, c.want)
			}
		})
	}
}

// Every setting of a command can be given in each of the three ways, whoever reads it.
func TestEverySettingComesFromFlagEnvironmentAndFile(t *testing.T) {
	for _, c := range []struct{ command, key, value string }{
		{"encode", "shard", "1/2"},
		{"evaluate", "run", "r"},
		{"evaluate", "json", "true"},
		{"export", "run", "r"},
		{"export", "hf", "true"},
		{"serve", "drain", "3s"},
		{"serve", "max-pixels", "12345"},
		{"finetune", "resume", "true"},
		{"inspect", "image-size", "64"},
	} {
		file := testkit.WriteFile(t, filepath.Join(t.TempDir(), "settings.yaml"), []byte(c.key+": "+c.value+"\n"))
		check := func(way string, got setting.Field) {
			if got.Text() != c.value {
				t.Errorf("%s, %s by %s: %q, want %q", c.command, c.key, way, got.Text(), c.value)
			}
		}
		check("flag", prepared(t, c.command, "--"+c.key+"="+c.value)[c.key])
		check("file", prepared(t, c.command, "--config", file)[c.key])
		t.Setenv(variable(c.key), c.value)
		check("environment", prepared(t, c.command)[c.key])
		os.Unsetenv(variable(c.key))
	}
}

// Keys, flags and the documentation agree: a key is declared once a command, is a flag there, means the same kind of
// value in all commands, and docs/settings.md lists it. `go test ./cmd/vitft -run Documented -update` writes that file.
func TestSettingsAreDocumented(t *testing.T) {
	a, root := newApp(io.Discard, io.Discard)
	types := map[string]string{}
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		keys := setting.Keys(a.fields[cmd])
		for i, f := range a.fields[cmd] {
			if slices.Index(keys, f.Key) != i {
				t.Errorf("%s has %s twice", cmd.CommandPath(), f.Key)
			}
			if cmd.Flag(f.Key) == nil || f.Help == "" {
				t.Errorf("%s: %s is no flag, or has no help", cmd.CommandPath(), f.Key)
			}
			if before, ok := types[f.Key]; ok && before != f.Type && f.Key != "model" {
				t.Errorf("%s is a %s here, a %s there", f.Key, before, f.Type)
			}
			types[f.Key] = f.Type
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if _, ok := types[f.Name]; !ok && f.Name != "help" && f.Name != "version" {
				t.Errorf("%s: the flag --%s is no setting", cmd.CommandPath(), f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				each(sub)
			}
		}
	}
	each(root)
	want := settingsTable(a, root)
	path := filepath.Join(testkit.Root(), "docs", "settings.md")
	if *update {
		testkit.WriteFile(t, path, []byte(want))
	}
	if got := string(testkit.ReadFile(t, path)); got != want {
		t.Errorf("%s is not what the commands declare: go test ./cmd/vitft -run Documented -update", path)
	}
}

// settingsTable is docs/settings.md.
func settingsTable(a *app, root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Settings\n\n" +
		"Every flag is also a key of a YAML file for `--config` and, as `VITFT_…` in capitals with underscores, " +
		"an environment variable. A flag wins over the environment, the environment over the file, the file over " +
		"the default. A value is taken exactly as it is written or refused by its key; a variable that is empty " +
		"counts as not set. A file is one YAML map (JSON is YAML too) and may hold the keys of any command; a key " +
		"that belongs to none, is there twice or has no value is refused, by file and line. Numbers are decimal: " +
		"010 and 3.0 are no whole numbers, as readers differ in what they are. This page is written by `go test " +
		"./cmd/vitft -run Documented -update`.\n")
	seen := map[string]bool{}
	for _, c := range append([]*cobra.Command{root}, root.Commands()...) {
		fields := a.fields[c]
		for _, sub := range c.Commands() {
			if c != root {
				fields = append(fields, a.fields[sub]...)
			}
		}
		var rows, before []string
		for _, f := range fields {
			row := fmt.Sprintf("| `%s` | %s | %s | %s |", f.Key, takes(f), code(f.Default), strings.ReplaceAll(usage(f), "|", `\|`))
			switch {
			case slices.Contains(rows, row):
			case seen[row]:
				before = append(before, "`"+f.Key+"`")
			default:
				rows, seen[row] = append(rows, row), true
			}
		}
		if len(rows)+len(before) == 0 {
			continue
		}
		title := c.Name()
		if c == root {
			title = "every command"
		}
		fmt.Fprintf(&b, "\n## %s\n", title)
		if rows != nil {
			fmt.Fprintf(&b, "| key | value | default | |\n|---|---|---|---|\n%s\n", strings.Join(rows, "\n"))
		}
		if before != nil {
			fmt.Fprintf(&b, "\nAs above: %s.\n", strings.Join(before, ", "))
		}
	}
	return b.String()
}

// takes says what the value of a field can be.
func takes(f setting.Field) string {
	if f.Takes == "" {
		return f.Type
	}
	return f.Type + ", " + f.Takes
}

// code shows a default; that of the machine it is made on is none.
func code(value string) string {
	switch {
	case value == "":
		return ""
	case filepath.IsAbs(value):
		return "`vitft` in the user's cache folder"
	}
	return "`" + value + "`"
}
