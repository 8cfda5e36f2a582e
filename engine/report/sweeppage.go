package report

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
)

// sweepPage is what sweep.html is filled with.
type sweepPage struct {
	*Sweep
	Title  string
	Config run.Config

	Varied  []run.Entry // of some settings all values
	Heads   int
	Failed  int
	Seeds   []uint64
	Seconds metric.Number

	Columns   []sweepColumn
	Rows      []sweepRow
	Lines     int            // configurations, of which Rows may be a part
	Base      *configuration // the baseline, or nil
	Selection string         // what the selected ones are chosen on, if any
	By        string         // settings; of the configurations that agree in them one is selected
	Chosen    bool           // there are some

	Figures    []comparison
	Most       int // configurations in the figures, but for some that are always there
	Calibrated bool

	Curves   part[sweepCurve]
	Failures part[sweep.HeadRow]
	Warnings part[sweep.HeadRow]
}

type sweepColumn struct{ Title, Means string }

type sweepRow struct {
	*configuration
	Cells []sweepCell
}

// sweepCell is a value as it is shown, its deviation or interval, and the value to sort by. All are empty where there
// is none.
type sweepCell struct{ Text, Around, Sort string }

func (s *Sweep) page() *sweepPage {
	p := &sweepPage{
		Sweep: s, Title: cmp.Or(s.config.Text("name"), "Sweep "+filepath.Base(string(s.dir))), Config: s.config,
		Heads: len(s.summary.Heads), Failed: len(s.failures), Seeds: cut(s.seeds, 20).Shown,
		Lines: len(s.configurations), Base: s.base, Selection: selections[s.config.Text("selection")],
		By: strings.Trim(s.config.Text("select-by"), "[]"), Figures: s.comparisons(), Most: mostRows,
		Curves: s.curves(), Failures: cut(s.failures, shownNotes), Warnings: cut(s.doubtful, shownNotes),
	}
	for _, x := range [][2]string{{"loss", "Losses"}, {"kappa", "κ estimators"}, {"epochs", "Epochs"}} {
		values := cmp.Or(strings.Join(s.values(x[0]), ", "), "the default of the loss")
		p.Varied = append(p.Varied, run.Entry{Key: x[1], Text: values})
	}
	for _, c := range s.configurations {
		p.Seconds += metric.Number(orZero(c.Seconds))
		p.Chosen = p.Chosen || c.Selected && p.Selection != ""
		p.Calibrated = p.Calibrated || drawable(c.Metrics["ece_before"].Mean)
	}
	p.Columns, p.Rows = s.table()
	return p
}

// Shots are the groups that have classes.
func (p *sweepPage) Shots() []calib.Shot {
	return slices.DeleteFunc(calib.Shots(), func(g calib.Shot) bool {
		return !slices.ContainsFunc(p.configurations, func(c *configuration) bool {
			return drawable(c.Metrics[g.String()].Mean)
		})
	})
}

// Settings are the experiment and its settings as they are shown.
func (p *sweepPage) Settings() run.Config { return namesOf(p.Config).settings(p.Config) }

// Note is a text of the sweep as it is shown.
func (p *sweepPage) Note(text string) string { return namesOf(p.Config).in(text) }

// selections says on what the values of the key selection choose.
var selections = map[string]string{
	"val": "the validation images", "cv": "out-of-fold predictions on the training images",
}

// values are those that a key takes, in order, up to a line's worth.
func (s *Sweep) values(key string) []string {
	var values []string
	for _, c := range s.configurations {
		if v := s.setting(c, key); v != "" && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	few := cut(values, 30)
	if few.More > 0 {
		return append(slices.Clone(few.Shown), fmt.Sprintf("and %d more", few.More))
	}
	return values
}

// table is the summary. Columns that no configuration fills are left out; of very many configurations the most accurate
// are kept, in the order of the grid.
func (s *Sweep) table() ([]sweepColumn, []sweepRow) {
	all := slices.DeleteFunc(metric.Columns(), func(m metric.Column) bool { return m.Tables < metric.Page })
	var lead, others []metric.Column
	for _, m := range all {
		switch {
		case m.Lead:
			lead = append(lead, m)
		case m.After == "":
			if i := slices.IndexFunc(all, func(before metric.Column) bool { return before.After == m.Key }); i >= 0 {
				others = append(others, all[i])
			}
			others = append(others, m)
		}
	}
	var columns []sweepColumn
	var rows []sweepRow
	shown := s.ranked(tableClasses)
	for _, c := range s.configurations {
		if len(shown) < len(s.configurations) && !slices.Contains(shown, c) {
			continue
		}
		row := sweepRow{configuration: c}
		columns = nil
		put := func(title, means string, cell sweepCell) {
			columns, row.Cells = append(columns, sweepColumn{title, means}), append(row.Cells, cell)
		}
		for _, m := range lead {
			put(m.Title, m.Help, spreadCell(c.Metrics[m.Key]))
		}
		put("Difference [95 %]", "of balanced accuracy from the baseline, paired by image", c.differenceCell())
		put("±\u00a0seeds", "standard deviation of the difference over seeds", valueCell(c.Compared().SeedStd, 4))
		for _, m := range others {
			put(m.Title, m.Help, spreadCell(c.Metrics[m.Key]))
		}
		put("Score", "balanced accuracy on the data that selection looks at", spreadCell(c.Selection))
		put("Seeds", "heads", valueCell(float64(c.Seeds), 0))
		put("Seconds", "of all seeds", valueCell(c.Seconds, 1))
		rows = append(rows, row)
	}
	for k := len(columns) - 1; k >= 0; k-- {
		if !slices.ContainsFunc(rows, func(r sweepRow) bool { return r.Cells[k].Text != "" }) {
			columns = slices.Delete(columns, k, k+1)
			for i := range rows {
				rows[i].Cells = slices.Delete(rows[i].Cells, k, k+1)
			}
		}
	}
	return columns, rows
}

func valueCell(v float64, decimals int) sweepCell {
	if !drawable(v) {
		return sweepCell{}
	}
	return sweepCell{Text: strconv.FormatFloat(v, 'f', decimals, 64), Sort: strconv.FormatFloat(v, 'g', -1, 64)}
}

func spreadCell(m sweep.Spread) sweepCell {
	cell := valueCell(m.Mean, 4)
	if cell.Text != "" && drawable(m.Std) {
		cell.Around = fmt.Sprintf("±%.4f", m.Std)
	}
	return cell
}

func (c *configuration) differenceCell() sweepCell {
	d := c.Compared()
	cell := valueCell(d.Difference, 4)
	if cell.Text == "" {
		return cell
	}
	cell.Text = signed(d.Difference)
	if math.Round(d.Difference*1e4) > 0 {
		cell.Text = "+" + cell.Text
	}
	if drawable(d.Low) && drawable(d.High) {
		cell.Around = fmt.Sprintf("[%s, %s]", signed(d.Low), signed(d.High))
	}
	return cell
}
