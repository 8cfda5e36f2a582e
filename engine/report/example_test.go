package report_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/setting"
)

// The report of a run that is written by hand.
func ExampleSave() {
	temp, err := os.MkdirTemp("", "vitft-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(temp)
	dir := run.Folder(filepath.Join(temp, "run"))
	loss := "ce"
	config, err := run.ConfigOf([]setting.Field{setting.Text("loss", &loss, "", nil, "loss")})
	if err != nil {
		fmt.Println(err)
		return
	}
	lock, err := dir.Create(config, event.Events{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Close()
	classes, labels, logits := []string{"cat", "axolotl"}, []int{0, 1}, []float32{2, 0, 1, 0}
	m := metric.Measure(logits, nil, labels, classes, []int{200, 5})
	m.Split, m.Loss = "test", "ce"
	for _, err := range []error{
		run.EnvironmentFile.Write(dir, run.Here()),
		run.PredictionsFile.Write(dir, run.Predict([]string{"cat.jpg", "axolotl.jpg"}, labels, logits, classes,
			run.Head{}.Scaling)),
		run.MetricsFile.Write(dir, m),
	} {
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	path, err := report.Save(string(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	page, err := os.ReadFile(path)
	fmt.Println(filepath.Base(path), strings.Contains(string(page), "1 of 2 images are taken for another class"), err)
	// Output: report.html true <nil>
}
