package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/testkit"
)

// written are texts that programs bend when they read them as YAML, or as the number of another type.
var written = []string{
	"3.5", "true", "True", "yes", "-1", "-0", "+3", "0", "1", "1.0", "0.10", "1e1", "1E400", "1e-400", "NaN", ".nan",
	"inf", ".inf", "-.inf", "18446744073709551615", "18446744073709551616",
	"9223372036854775807", "9223372036854775808",
	"9007199254740993", "1e30", "0x10", "0o10", "0b11", "010", "0x1p-2", "1_000", "1,000", "1:30", "2024-01-01", "90s",
	"1h", "exp:50", "1/2", "ce", "slope:bins=3", "a b",
}

// Every setting of every command takes each of these exactly as it is written, or refuses it by its key and value and
// says what it takes, whether a flag, the environment or a file has it. A new setting is tried by itself.
func TestEverySettingMeansWhatIsWritten(t *testing.T) {
	dir := t.TempDir()
	for _, s := range everySetting() {
		for _, text := range written {
			file := testkit.WriteFile(t, filepath.Join(dir, "plain.yaml"), []byte("\n"+s.field.Key+": "+text+"\n"))
			quoted := testkit.WriteFile(t, filepath.Join(dir, "quoted.yaml"), []byte("\n"+s.field.Key+": '"+text+"'\n"))
			said := map[string]bool{} // the text that was taken, "!" for a refusal
			for way, get := range map[string]func() (map[string]setting.Field, error){
				"flag": func() (map[string]setting.Field, error) {
					return tryPrepare(s.command, "--"+s.field.Key+"="+text)
				},
				"file":   func() (map[string]setting.Field, error) { return tryPrepare(s.command, "--config", file) },
				"quoted": func() (map[string]setting.Field, error) { return tryPrepare(s.command, "--config", quoted) },
				"environment": func() (map[string]setting.Field, error) {
					t.Setenv(variable(s.field.Key), text)
					defer os.Unsetenv(variable(s.field.Key))
					return tryPrepare(s.command)
				},
			} {
				fields, err := get()
				from := map[string]string{"file": file + ", line 2: ", "quoted": quoted + ", line 2: ",
					"environment": variable(s.field.Key)}[way]
				switch {
				case err != nil:
					refusedWell(t, s.field, way, text, from, err)
					// Without quotes true is no text.
					if way != "file" || !strings.HasSuffix(err.Error(), "if it is meant as one") {
						said["!"] = true
					}
				case !exactly(s.field, text, fields[s.field.Key].Text()):
					t.Errorf("%s %s by %s became %q", s.field.Key, text, way, fields[s.field.Key].Text())
				default:
					said["="] = true
				}
			}
			if len(said) != 1 {
				t.Errorf("%s: %s is taken one way and refused another", s.field.Key, text)
			}
		}
	}
}

// declared is a setting of a command.
type declared struct {
	command []string
	field   setting.Field
}

// everySetting lists the settings of all commands but those of where settings are; what commands share once.
func everySetting() []declared {
	var all []declared
	seen := map[string]bool{}
	a, root := newApp(io.Discard, io.Discard)
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		for _, f := range a.fields[cmd] {
			id := fmt.Sprint(f.Key, f.Type, f.Takes, f.Values, f.Default)
			if cmd != root && !seen[id] {
				seen[id] = true
				all = append(all, declared{strings.Fields(cmd.CommandPath())[1:], f})
			}
		}
		for _, sub := range cmd.Commands() {
			each(sub)
		}
	}
	each(root)
	return all
}

// refusedWell holds a refusal to what people need to find and mend the value.
func refusedWell(t *testing.T, f setting.Field, way, text, from string, err error) {
	t.Helper()
	says := []string{f.Key, text, from, f.Takes}
	if f.Values != nil && !strings.Contains(err.Error(), "is no text") {
		says = append(says, strings.Join(f.Values, ", "))
	}
	if strings.Contains(err.Error(), "octal") {
		says = []string{f.Key, text, from}
	}
	if f.Type == "bool" {
		says = append(says, "true", "false")
	}
	if at := strings.Index(text, ":"); at > 0 && !strings.Contains(err.Error(), text) { // a part of it
		says[1] = map[string]string{"kappa": text[:at], "addr": text[at+1:]}[f.Key]
	}
	if text == "True" || way == "file" && strings.Contains(text, " ") {
		says = slices.Delete(says, 1, 2) // YAML shows them otherwise
	}
	for _, want := range says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s by %s: %q does not say %q", f.Key, text, way, err, want)
		}
	}
	if fault.Of(err) != fault.Config {
		t.Errorf("%s %s by %s: %v is of kind %q", f.Key, text, way, err, fault.Of(err))
	}
}

// exactly says whether a field that shows got has taken text as it stands.
func exactly(f setting.Field, text, got string) bool {
	switch f.Type {
	case "float":
		a, err1 := strconv.ParseFloat(text, 64)
		b, err2 := strconv.ParseFloat(got, 64)
		return err1 == nil && err2 == nil && a == b
	case "int", "uint":
		return got == strings.TrimLeft(text, "+") || text == "-0" && got == "0"
	case "duration":
		a, err1 := time.ParseDuration(text)
		b, err2 := time.ParseDuration(got)
		return err1 == nil && err2 == nil && a == b || text == "0" && got == "0s"
	case "bool":
		return got == strings.ToLower(text)
	}
	return got == text || f.Key == "kappa" && strings.HasPrefix(got, strings.TrimSuffix(text, ":"))
}

// Every number has two ends that a slip of the pen lies beyond.
func TestNumbersHaveTwoEnds(t *testing.T) {
	for _, s := range everySetting() {
		switch s.field.Type {
		case "int", "float", "duration":
			text := map[string]string{"int": "9223372036854775807", "float": "1e30",
				"duration": "2000000h"}[s.field.Type]
			if err := s.field.Set(text); err == nil || !strings.Contains(err.Error(), s.field.Takes) {
				t.Errorf("%s %s: %v", s.field.Key, text, err)
			}
		}
	}
}

// No value is none of the default, and what YAML has beside values is none of a setting.
func TestValuesOfFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for _, s := range everySetting() {
		for _, text := range []string{"", "~", "null", "!!null x", "{}", "{a: 1}", "[[1]]", "[{a: 1}]", "!x 3", "[~]"} {
			file := testkit.WriteFile(t, filepath.Join(dir, "s.yaml"), []byte("\n"+s.field.Key+": "+text+"\n"))
			_, err := tryPrepare(s.command, "--config", file)
			if err == nil || fault.Of(err) != fault.Config ||
				!strings.HasPrefix(err.Error(), file+", line 2: "+s.field.Key+": ") {
				t.Errorf("%s: %q: %v", s.field.Key, text, err)
			}
		}
		for _, text := range []string{`""`, "[]", "[1, a]"} {
			file := testkit.WriteFile(t, filepath.Join(dir, "s.yaml"), []byte(s.field.Key+": "+text+"\n"))
			fields, err := tryPrepare(s.command, "--config", file)
			if err == nil && fields[s.field.Key].Default != "" {
				t.Errorf("%s: %s is taken", s.field.Key, text)
			} else if err != nil && !strings.HasPrefix(err.Error(), file+", line 1: "+s.field.Key+": ") {
				t.Errorf("%s: %s: %v", s.field.Key, text, err)
			}
		}
	}
}

// What is odd about a file as a whole is taken as it is meant or refused by file and line.
func TestOddFilesOfSettings(t *testing.T) {
	ten := func(item string) string { return strings.Repeat(item+", ", 9) + item }
	sixteen := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune("epochs: 7\n")) {
		sixteen = binary.LittleEndian.AppendUint16(sixteen, u)
	}
	for _, c := range []struct{ name, text, want string }{ // "=7": epochs is 7
		{"two documents", "epochs: 3\n---\nepochs: 4\n", "line 2: more than one YAML document"},
		{"an end mark", "epochs: 7\n...\n", "=7"},
		{"a key twice", "epochs: 3\nlr: 1\nepochs: 4\n", `line 3: key "epochs" is there twice`},
		{"a key twice, quoted", "epochs: 3\n'epochs': 4\n", `line 2: key "epochs" is there twice`},
		{"an anchor", "epochs: &n 7\nwarmup: *n\n", "=7"},
		{"a merge key", "<<: {epochs: 3}\n", "line 1: merge keys (<<) are not taken"},
		{"a tab", "epochs:\t7\n", "=7"},
		{"a tab before a key", "lr: 1\n\tepochs: 7\n", "line 2: found a tab character"},
		{"a byte order mark", "\ufeffepochs: 7\n", "=7"},
		{"UTF-16", string(sixteen), "=7"},
		{"UTF-16 without its mark", string(sixteen[2:]), "control characters are not allowed"},
		{"JSON", `{"epochs": 7, "lr": 1e-3}`, "=7"},
		{"JSON of a program that knows only floats", `{"epochs": 7.0}`, "line 1: epochs: 7.0 is no whole number"},
		{"Windows", "epochs: 7\r\nlr: 1\r\n", "=7"},
		{"a list", "- epochs\n", "line 1: not a YAML map"},
		{"a text", "epochs\n", "line 1: not a YAML map"},
		{"nothing", "", "="},
		{"a comment", "# epochs: 3\n", "="},
		{"another case", "Epochs: 3\n", `line 1: unknown key "Epochs"`},
		{"a key that is no text", "[epochs]: 3\n", "line 1: a key is no text"},
		{"itself", "epochs: &a [*a]\n", `line 1: "a" contains itself`},
		{"a bomb", "out: &a [" + ten("x") + "]\nval: &b [" + ten("*a") + "]\nt: &c [" + ten("*b") + "]\ntrain: &d [" +
			ten("*c") + "]\nloss: &e [" + ten("*d") + "]\nhead: [" + ten("*e") + "]\n", "its aliases make it larger"},
	} {
		file := testkit.WriteFile(t, filepath.Join(t.TempDir(), "s.yaml"), []byte(c.text))
		fields, err := tryPrepare([]string{"finetune"}, "--config", file)
		if value, taken := strings.CutPrefix(c.want, "="); taken {
			epochs := fields["epochs"]
			if err != nil || epochs.IsSet() != (value != "") || value != "" && epochs.Text() != value {
				t.Errorf("%s: epochs is %q, %v", c.name, epochs.Text(), err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) ||
			fault.Of(err) != fault.Config {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.want)
		}
	}
}

// The grid of a sweep takes values as files of settings do.
func TestEverySettingOfAGridMeansWhatIsWritten(t *testing.T) {
	var training head.Settings
	for _, f := range training.Fields() {
		for _, text := range written {
			if strings.Contains(text, ",") {
				continue
			}
			grid := fmt.Sprintf("grid: [{%s: ['%s']}, {%[1]s: [%[2]s]}]", f.Key, text)
			x, _, err := engine.ParseSweep([]byte(grid))
			if err != nil {
				t.Errorf("%s %s: %v", f.Key, text, err)
				continue
			}
			for i, block := range x.Grid {
				err := f.Set(block[0].Values[0])
				switch {
				case err != nil && i == 0:
					refusedWell(t, f, "grid", text, "", err)
				case err != nil && !strings.Contains(err.Error(), f.Key):
					t.Errorf("%s %s: %v", f.Key, text, err)
				case err == nil && !exactly(f, text, f.Text()):
					t.Errorf("%s %s in a grid became %q", f.Key, text, f.Text())
				}
			}
		}
	}
}
