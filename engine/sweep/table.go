package sweep

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vitft/vitft/engine/metric"
)

// cells are a table's, header first. walk puts those of a row in the order of the columns.
func cells[T any](rows []T, walk func(row T, put func(column string, cell any))) [][]string {
	table := make([][]string, 1+len(rows))
	walk(*new(T), func(column string, _ any) { table[0] = append(table[0], column) })
	for i, row := range rows {
		walk(row, func(_ string, cell any) { table[i+1] = append(table[i+1], Format(cell)) })
	}
	return table
}

// HeadsCSV is a line a head, header first. A cell with nothing to say is empty.
func (s *Summary) HeadsCSV() [][]string {
	settings := map[string]Settings{}
	for _, l := range s.Configurations {
		settings[l.Configuration] = l.Settings
	}
	columns, nan := metric.Columns(), math.NaN()
	return cells(s.Heads, func(h HeadRow, put func(string, any)) {
		put("id", h.ID)
		put("configuration", h.Configuration)
		for _, key := range s.Keys {
			put(key, settings[h.Configuration][key])
		}
		put("seed", h.Seed)
		status := "done"
		if h.Error != "" {
			status = failed
		}
		put("status", status)
		for _, c := range columns {
			put(c.Key, h.Scores[c.Key])
		}
		put("selection", *cmp.Or(h.Selection, &nan))
		put("seconds", seconds(h.Seconds.total()))
		put("error", h.Error)
		put("warnings", h.Warnings)
	})
}

const failed = "failed"

// CSV is a line a configuration, header first: for each metric the mean over seeds and, in the column _std, the
// standard deviation.
func (s *Summary) CSV() [][]string {
	columns := metric.Columns()
	return cells(s.Configurations, func(l Line, put func(string, any)) {
		put("configuration", l.Configuration)
		for _, key := range s.Keys {
			put(key, l.Settings[key])
		}
		put("seeds", l.Seeds)
		put("failed", l.Failed)
		put("baseline", yes(l.Baseline))
		put("selected", yes(l.Selected))
		d := l.Compared()
		put("difference", d.Difference)
		put("difference_low", d.Low)
		put("difference_high", d.High)
		put("difference_seed_std", d.SeedStd)
		for _, c := range columns {
			put(c.Key, l.Metrics[c.Key].Mean)
			put(c.Key+"_std", l.Metrics[c.Key].Std)
		}
		put("selection", l.Selection.Mean)
		put("selection_std", l.Selection.Std)
		put("seconds", seconds(l.Seconds))
	})
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
	columns := slices.DeleteFunc(metric.Columns(), func(c metric.Column) bool { return c.Tables < size })
	rows := cells(s.Configurations, func(l Line, put func(string, any)) {
		putAll := func(lead, spread bool) {
			for _, c := range columns {
				if m := l.Metrics[c.Key]; c.Lead == lead && spread {
					put(c.Short, m.text())
				} else if c.Lead == lead {
					put(c.Short, decimals(m.Mean))
				}
			}
		}
		put("configuration", l.Configuration+l.Marks())
		putAll(true, true)
		put("difference [95 %]", l.Compared().text())
		put("± seeds", decimals(l.Compared().SeedStd))
		putAll(false, size != metric.Terminal)
		put("score", l.Selection.text())
		failures := ""
		if l.Failed > 0 {
			failures = fmt.Sprintf("%d of %d", l.Failed, l.Seeds)
		}
		put("failed", failures)
	})
	for k := len(rows[0]) - 1; k >= 0; k-- {
		if !slices.ContainsFunc(rows[1:], func(row []string) bool { return row[k] != "" }) {
			for i := range rows {
				rows[i] = slices.Delete(rows[i], k, k+1)
			}
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
	for _, l := range s.Configurations {
		if n := len(l.Warnings); n == 1 {
			lines = append(lines, fmt.Sprintf("warning: %s, %s", l.Configuration, l.Warnings[0]))
		} else if n > 1 {
			lines = append(lines, fmt.Sprintf("warning: %s, %d of %d seeds; the first, %s", l.Configuration, n, l.Seeds,
				l.Warnings[0]))
		}
	}
	return lines
}

func (c Comparison) text() string {
	switch {
	case math.IsNaN(c.Difference):
		return ""
	case math.IsNaN(c.Low):
		return fmt.Sprintf("%+.4f", c.Difference)
	}
	return fmt.Sprintf("%+.4f [%+.4f, %+.4f]", c.Difference, c.Low, c.High)
}

func (s Spread) text() string {
	text := decimals(s.Mean)
	if !math.IsNaN(s.Std) {
		text += fmt.Sprintf(" ± %.4f", s.Std)
	}
	return text
}

func decimals(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return fmt.Sprintf("%.4f", v)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func seconds(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
