package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/vitft/vitft/engine"
)

// table sets the headline metrics in columns: all classes, the three groups by
// number of training images, and the worst class.
func table(m engine.Metrics) string {
	var b strings.Builder
	row := func(name string, count int, accuracy, ece engine.Number) {
		fmt.Fprintf(&b, "%-8s %8s %9s %8s\n", name, fmt.Sprint(count), cell(accuracy), cell(ece))
	}
	fmt.Fprintf(&b, "%s: %d samples, top-1 %s, top-5 %s, macro-F1 %s, NLL %s\n\n",
		m.Split, m.Samples, cell(m.Top1), cell(m.Top5), cell(m.MacroF1), cell(m.NLL))
	fmt.Fprintf(&b, "%-8s %8s %9s %8s\n", "group", "classes", "accuracy", "ECE")
	row("all", len(m.PerClass), m.BalancedAccuracy, m.ECE)
	row("many", m.Groups.Many.Classes, m.Groups.Many.Accuracy, m.Groups.Many.ECE)
	row("medium", m.Groups.Medium.Classes, m.Groups.Medium.Accuracy, m.Groups.Medium.ECE)
	row("few", m.Groups.Few.Classes, m.Groups.Few.Accuracy, m.Groups.Few.ECE)
	row("worst", 1, m.WorstClass, engine.Number(math.NaN()))
	return b.String()
}

func cell(n engine.Number) string {
	if math.IsNaN(float64(n)) {
		return "-"
	}
	return fmt.Sprintf("%.4f", float64(n))
}
