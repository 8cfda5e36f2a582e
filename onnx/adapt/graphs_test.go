package adapt_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

var update = flag.Bool("update", false, "write testdata/graphs.txt anew")

// Features are kept by their backbone and by what is taken from it, not by the graph that makes them: whoever changes
// how that is cut, how views are made or how adapters are put in is told so here.
func TestGraphsOfFeaturesStay(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("SKIPPED: the weights of views were computed on amd64, and this is " + runtime.GOARCH)
	}
	var b strings.Builder
	line := func(name string, m *graph.Model, err error) {
		t.Helper()
		if err == nil && m.Dir() != "" {
			err = m.Inline()
		}
		sum := ""
		if err == nil {
			sum, err = m.Sum()
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		fmt.Fprintf(&b, "%.32s %s\n", sum, name)
	}
	cut := func(file string, want vision.FeatureChoice) *graph.Model {
		m, err := graph.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := vision.Backbone(m, want)
		line(strings.TrimSpace(filepath.Base(file)+" "+string(want.Pooling)), c, err)
		return c
	}
	files := func(folder string) []string {
		list, err := filepath.Glob(filepath.Join(testkit.Root(), "onnx", folder, "*.onnx"))
		if err != nil || list == nil {
			t.Fatal(folder, err)
		}
		return list
	}
	for _, file := range files("vision/testdata") {
		switch name := filepath.Base(file); {
		case strings.HasPrefix(name, "refuse_"):
		case name == "dynamic_size.onnx":
			cut(file, vision.FeatureChoice{Width: 16, Height: 16})
		case name == "pooled.onnx":
			for _, pooling := range []vision.Pooling{vision.PoolCLS, vision.PoolMean, vision.PoolCLSMean} {
				cut(file, vision.FeatureChoice{Pooling: pooling})
			}
			fallthrough
		default:
			cut(file, vision.FeatureChoice{})
		}
	}
	var last *graph.Model
	for _, file := range files("grad/testdata/exports") {
		c := cut(file, vision.FeatureChoice{})
		last = c
		f, err := adapt.Find(c)
		if err != nil {
			continue
		}
		kinds, _ := f.Support()
		for _, kind := range kinds {
			a, err := f.Insert(adapt.Options{Kind: kind, Rank: 2})
			if err != nil {
				t.Fatal(err)
			}
			var zero [][]float32
			for _, p := range a.Params() {
				zero = append(zero, make([]float32, p.Size()))
			}
			m, err := a.Bake(zero)
			line(fmt.Sprint(filepath.Base(file), " with ", kind), m, err)
		}
	}
	for _, v := range vision.Views(vision.MaxViews)[1:] {
		m, err := vision.ViewModel(last, v)
		line(v.String(), m, err)
	}
	path := filepath.Join("testdata", "graphs.txt")
	if *update {
		testkit.WriteFile(t, path, []byte(b.String()))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	was, is := strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")
	for i := range max(len(was), len(is)) {
		if i >= len(was) || i >= len(is) || was[i] != is[i] {
			t.Fatalf("line %d of %s: the graph is another. If it computes the same to the last bit, write the file "+
				"anew with -update; if not, features of before must not be found any more: say so in the key that "+
				"engine/backbone gives them. It is now\n%s", i+1, path, b.String())
		}
	}
}
