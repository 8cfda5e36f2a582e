package report_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
)

// A run that learnt inside the backbone shows what a head alone does, for groups and each class; a class without
// samples has neither.
func TestFrozenBesideAdapted(t *testing.T) {
	for _, classes := range []int{5, 300} {
		dir, m := fixture{classes: classes}.write(t)
		if strings.Contains(write(t, dir), "inside the backbone") {
			t.Error("a head alone learns inside the backbone")
		}
		before := metric.OfFrozen(m)
		for i := range before.Accuracy {
			before.Accuracy[i] -= metric.Number(i%3-1) / 10
		}
		before.Accuracy[1], m.PerClass[1].Accuracy = metric.Number(math.NaN()), metric.Number(math.NaN())
		before.BalancedAccuracy -= 0.05
		m.Inside = &metric.Inside{Adapt: "lora", AdaptBlocks: 6, TrainedParameters: 12345, Frozen: before}
		if err := run.MetricsFile.Write(run.Folder(dir), m); err != nil {
			t.Fatal(err)
		}
		page := parse(t, write(t, dir))
		inside := page.section(t, "inside")
		if !strings.Contains(inside.content, "“lora”, in the last 6 blocks, 12,345 trained") {
			t.Errorf("it says %q", inside.content)
		}
		balanced := []string{"all classes", fmt.Sprint(classes), before.BalancedAccuracy.Text(4),
			m.BalancedAccuracy.Text(4) + " " + metric.MeanInterval(m.PerClass).Text(3), "+0.0500"}
		rows := inside.rows()
		rows[0][2], _, _ = strings.Cut(rows[0][2], " ") // whose interval follows from accuracies drawn at random here
		if !slices.Equal(rows[0], balanced) || len(rows) != 4 {
			t.Errorf("rows %v, want %v first", rows, balanced)
		}
		if got := len(inside.named("svg")); got != 2 {
			t.Errorf("%d plots", got)
		}
		for k, row := range page.section(t, "classes").rows() {
			if row[4] != cell(before.Accuracy[k]) || row[5] != cell(m.PerClass[k].Accuracy) {
				t.Errorf("row %v, want %v and %v", row, before.Accuracy[k], m.PerClass[k].Accuracy)
			}
		}
	}
}
