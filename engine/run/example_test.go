package run_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
)

// A run is written file by file, the metrics last, and opened as a whole.
func Example() {
	temp, err := os.MkdirTemp("", "vitft-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(temp)
	dir := run.Folder(filepath.Join(temp, "run"))
	lock, err := dir.Create(nil, event.Events{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Close()
	env := run.Here()
	env.Backbone.Feature.Dim = 1
	h := &head.Head{Classes: 2, Dim: 1, W: []float32{1, -1}, B: []float32{0, 0}, Mean: []float32{0},
		InvStd: []float32{1}}
	for _, err := range []error{
		run.EnvironmentFile.Write(dir, env),
		run.HeadFile.Write(dir, run.Head{Head: h}),
		run.MetricsFile.Write(dir, metric.Measure(nil, nil, nil, []string{"cat", "axolotl"}, []int{200, 5})),
	} {
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	r, err := run.Open(string(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Classes, r.Counts, r.Head.W)
	_, err = run.PredictionsFile.Read(dir)
	fmt.Println(err != nil, run.PredictionsFile.Holds)
	// Output:
	// [cat axolotl] [200 5] [1 -1]
	// true a line an image
}
