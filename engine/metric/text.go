package metric

import (
	"fmt"
	"strings"

	"github.com/vitft/vitft/calib"
)

// Text is the metrics as a table for a terminal: all classes, the groups, and the worst class, under a line of others
// and over the warnings.
func (m *Metrics) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d samples", m.Split, m.Samples)
	for _, r := range Rows {
		if r.Brief {
			fmt.Fprintf(&b, ", %s %s", r.Short, r.In(m.Scores).Text(4))
		}
	}
	line := func(cells ...any) { fmt.Fprintf(&b, "%-8v %8v %9v %8v\n", cells...) }
	b.WriteString("\n\n")
	line("group", "classes", "accuracy", "ECE")
	line("all", len(m.PerClass), m.BalancedAccuracy.Text(4), m.ECE.Text(4))
	for _, g := range calib.Shots() {
		line(g, m.Groups[g].Classes, m.Groups[g].Accuracy.Text(4), m.Groups[g].ECE.Text(4))
	}
	line("worst", 1, m.WorstClass.Text(4), nan.Text(4))
	for _, w := range m.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}
