package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

var update = flag.Bool("update", false, "write the tables into docs/scale.md")

// The tables of docs/scale.md are what this program prints.
func TestDocumented(t *testing.T) {
	path := filepath.Join(testkit.Root(), "docs", "scale.md")
	text := string(testkit.ReadFile(t, path))
	in, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		begin, end := "<!-- table "+table.name+" -->\n", "<!-- end -->\n"
		before, rest, found := strings.Cut(text, begin)
		was, after, ends := strings.Cut(rest, end)
		if !found || !ends {
			t.Errorf("docs/scale.md has no %q and %q after it", begin, end)
			continue
		}
		is := table.make(in)
		if *update {
			text = before + begin + is + end + after
		} else if was != is {
			t.Errorf("table %s is not what it was; go test ./bench/scale -run Documented -update\n%s", table.name, is)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Figures of one's own take the place of those that are given; what is none is refused.
func TestInputs(t *testing.T) {
	in, err := parse([]byte("assumed: {latency: {value: 0.5, from: me}}"))
	if err != nil || in.of("latency") != 0.5 || in.of("h100-vit-b") != 849.5 {
		t.Errorf("%+v, %v", in, err)
	}
	for _, text := range []string{"assumed: {latncy: {value: 1}}", "latency: 1", "assumed: {latency: {value: fast}}",
		"measured: {latency: {value: 1}}", "assumed: {latency: {value: -1}}",
		"assumed: {latency: {value: .inf}}", "measured: {h100-vit-b: {value: 0}}"} {
		if in, err := parse([]byte(text)); err == nil {
			t.Errorf("%s gives %v", text, in.Assumed["latency"])
		}
	}
}

// Numbers for people have two digits.
func TestFormat(t *testing.T) {
	for got, want := range map[string]string{
		amount(0): "0", amount(7): "7", amount(0.25): "0.2", amount(1234): "1.2 k", amount(999_600): "1 M",
		amount(1.26e9): "1.3 G", size(512): "510 B", size(1.3e12): "1.3 TB", power(1e9): "10⁹", span(119): "120 s",
		span(600): "10 min", span(7200): "2 h", span(1e6): "12 d", cents(0.0516): "0.052",
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
