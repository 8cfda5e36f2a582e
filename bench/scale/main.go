// Command scale says what a job of package engine/work costs, up to a billion images and a thousand workers: the tables
// of docs/scale.md, from a simulation.
//
//	go run ./bench/scale                                # all tables
//	go run ./bench/scale -inputs my.yaml                # with your own speeds, rates and prices
//	go test ./bench/scale -run Documented -update       # writes them into docs/scale.md
//
// inputs.yaml has what was measured and what is assumed. go test ./bench/scale -bench . measures tasks, and workers
// that are killed, against the simulation.
package main

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vitft/vitft/internal/userfile"
)

//go:embed inputs.yaml
var given []byte

// inputs are figures, each with where it is from.
type inputs struct{ Measured, Assumed map[string]figure }

type figure struct {
	Value float64
	From  string
}

// parse reads figures in place of some of those that are given here.
func parse(own []byte) (inputs, error) {
	in, err := decode(given)
	if err != nil || len(own) == 0 {
		return in, err
	}
	mine, err := decode(own)
	if err != nil {
		return in, err
	}
	for _, part := range []struct{ all, own map[string]figure }{
		{in.Measured, mine.Measured}, {in.Assumed, mine.Assumed}} {
		for name, f := range part.own {
			if _, is := part.all[name]; !is {
				return in, fmt.Errorf("%q is none of the figures %s", name, strings.Join(sorted(part.all), ", "))
			}
			if !(f.Value >= 0) || math.IsInf(f.Value, 0) || f.Value == 0 && strings.Contains(name, "-vit-") {
				return in, fmt.Errorf("%s: %v is no speed, time, size or price", name, f.Value)
			}
			part.all[name] = f
		}
	}
	return in, nil
}

func decode(text []byte) (in inputs, err error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err = d.Decode(&in)
	return in, err
}

// of is a figure; that there is none is a mistake of this program.
func (in inputs) of(name string) float64 {
	for _, m := range []map[string]figure{in.Measured, in.Assumed} {
		if f, is := m[name]; is {
			return f.Value
		}
	}
	panic("inputs.yaml has no " + name)
}

func main() {
	file := flag.String("inputs", "", "YAML file with figures in place of those of inputs.yaml")
	flag.Parse()
	if err := run(*file); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(2)
	}
}

func run(file string) error {
	var text []byte
	if file != "" {
		var err error
		if text, err = userfile.Read(file, userfile.Small); err != nil {
			return err
		}
	}
	in, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, t := range tables {
		fmt.Printf("## %s\n\n%s\n", t.name, t.make(in))
	}
	return nil
}
