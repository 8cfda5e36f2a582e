package sweep

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vitft/vitft/engine/metric"
)

// lineColumns follow those of the settings in summary.csv; then come those of the metrics.
var lineColumns = []string{"seeds", "failed", "baseline", "selected",
	"difference", "difference_low", "difference_high", "difference_seed_std"}

// HeadsCSV is a line a head, header first. A cell with nothing to say is empty.
func (s *Summary) HeadsCSV() [][]string {
	header := slices.Concat([]string{"id", "configuration"}, s.Keys, []string{"seed", "status"})
	columns := metric.Columns()
	for _, c := range columns {
		header = append(header, c.Key)
	}
	rows := [][]string{append(header, "selection", "seconds", "error")}
	settings := map[string][]string{}
	for _, l := range s.Configurations {
		settings[l.Configuration] = s.settings(l)
	}
	for _, h := range s.Heads {
		row := append([]string{h.ID, h.Configuration}, settings[h.Configuration]...)
		status, selection := "done", ""
		if h.Error != "" {
			status = failed
		}
		if h.Selection != nil {
			selection = Format(*h.Selection)
		}
		row = append(row, strconv.FormatUint(h.Seed, 10), status)
		for _, c := range columns {
			row = append(row, Format(h.Scores[c.Key]))
		}
		rows = append(rows, append(row, selection, seconds(h.Seconds.total()), h.Error))
	}
	return rows
}

// failed is the status of a head that could not be trained.
const failed = "failed"

// CSV is a line a configuration, header first: for each metric the mean over seeds and, in the column _std, the
// standard deviation.
func (s *Summary) CSV() [][]string {
	header := slices.Concat([]string{"configuration"}, s.Keys, lineColumns)
	columns := metric.Columns()
	for _, c := range columns {
		header = append(header, c.Key, c.Key+"_std")
	}
	rows := [][]string{append(header, "selection", "selection_std", "seconds")}
	for _, line := range s.Configurations {
		row := append([]string{line.Configuration}, s.settings(line)...)
		row = append(row, strconv.Itoa(line.Seeds), strconv.Itoa(line.Failed), yes(line.Baseline), yes(line.Selected))
		difference := []string{"", "", "", ""}
		if d := line.Difference; d != nil {
			difference = []string{Format(d.Difference), Format(d.Low), Format(d.High), Format(d.SeedStd)}
		}
		row = append(row, difference...)
		for _, c := range columns {
			row = append(row, Format(line.Metrics[c.Key].Mean), Format(line.Metrics[c.Key].Std))
		}
		row = append(row, Format(line.Selection.Mean), Format(line.Selection.Std), seconds(line.Seconds))
		rows = append(rows, row)
	}
	return rows
}

// Markdown is the summary for people.
func (s *Summary) Markdown() string {
	var b strings.Builder
	if s.Name != "" {
		fmt.Fprintf(&b, "# %s\n\n", s.Name)
	}
	for i, row := range s.table(metric.Markdown) {
		b.WriteString("| " + strings.ReplaceAll(strings.Join(row, "\t"), "|", `\|`) + " |\n")
		if i == 0 {
			b.WriteString("|---" + strings.Repeat("|---:", len(row)-1) + "|\n")
		}
	}
	return strings.ReplaceAll(b.String(), "\t", " | ") + "\n" + strings.Join(s.legend(), "  \n") + "\n"
}

// Text is the summary for a terminal.
func (s *Summary) Text() string {
	rows := s.table(metric.Terminal)
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := fmt.Sprintf("%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			line += fmt.Sprintf("  %*s", widths[i+1], cell)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String() + "\n" + strings.Join(s.legend(), "\n") + "\n"
}

// table is what both show. Columns that no configuration fills are left out.
func (s *Summary) table(size metric.Table) [][]string {
	type column struct {
		title string
		cell  func(Line) string
	}
	var first, columns []column
	for _, c := range metric.Columns() {
		one := column{c.Short, func(l Line) string { return l.Metrics[c.Key].text() }}
		if c.Lead && c.Tables >= size {
			first = append(first, one)
		} else if c.Tables >= size {
			if size == metric.Terminal {
				one.cell = func(l Line) string { return Spread{l.Metrics[c.Key].Mean, math.NaN()}.text() }
			}
			columns = append(columns, one)
		}
	}
	columns = slices.Concat(first, []column{
		{"difference [95 %]", func(l Line) string { return l.Difference.text() }},
		{"± seeds", func(l Line) string {
			if l.Difference == nil {
				return ""
			}
			return Spread{l.Difference.SeedStd, math.NaN()}.text()
		}},
	}, columns, []column{
		{"score", func(l Line) string { return l.Selection.text() }},
		{"failed", func(l Line) string {
			if l.Failed == 0 {
				return ""
			}
			return fmt.Sprintf("%d of %d", l.Failed, l.Seeds)
		}},
	})
	rows := [][]string{{"configuration"}}
	for _, line := range s.Configurations {
		name := line.Configuration
		if line.Selected {
			name += " *"
		}
		if line.Baseline {
			name += " (baseline)"
		}
		rows = append(rows, []string{name})
	}
	for _, c := range columns {
		var cells []string
		for _, line := range s.Configurations {
			cells = append(cells, c.cell(line))
		}
		if strings.Join(cells, "") == "" {
			continue
		}
		rows[0] = append(rows[0], c.title)
		for i, cell := range cells {
			rows[i+1] = append(rows[i+1], cell)
		}
	}
	return rows
}

// legend says what the table's marks mean, as far as it has any.
func (s *Summary) legend() []string {
	lines := []string{"Test set; mean ± standard deviation (n − 1) over seeds."}
	any := func(has func(Line) bool) bool { return slices.ContainsFunc(s.Configurations, has) }
	if any(func(l Line) bool { return l.Difference != nil }) {
		lines = append(lines, "difference: of balanced accuracy from the baseline, paired by image; "+
			"the interval is for the test images drawn, ± seeds is over the seeds.")
	}
	if any(func(l Line) bool { return l.Selected }) {
		on := "the validation set"
		if s.Selection == SelectCV {
			on = "out-of-fold training images"
		}
		lines = append(lines, "*: selected by score, balanced accuracy on "+on+"; never by the test set.")
	}
	return lines
}

func (s *Summary) settings(l Line) []string {
	var cells []string
	for _, key := range s.Keys {
		cells = append(cells, Format(l.Settings[key]))
	}
	return cells
}

func (c *Comparison) text() string {
	switch {
	case c == nil:
		return ""
	case math.IsNaN(c.Low):
		return fmt.Sprintf("%+.4f", c.Difference)
	}
	return fmt.Sprintf("%+.4f [%+.4f, %+.4f]", c.Difference, c.Low, c.High)
}

func (s Spread) text() string {
	switch {
	case math.IsNaN(s.Mean):
		return ""
	case math.IsNaN(s.Std):
		return fmt.Sprintf("%.4f", s.Mean)
	}
	return fmt.Sprintf("%.4f ± %.4f", s.Mean, s.Std)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func seconds(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
