package report

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/sweep"
)

// sweepPage is what sweep.html is filled with.
type sweepPage struct {
	frame

	Varied  []run.Entry // of some settings all values
	Heads   int
	Failed  int
	Seeds   []string
	Seconds metric.Number

	Columns   []sweepColumn
	Rows      []sweepRow
	Lines     int    // configurations, of which Rows may be a part
	Base      string // the baseline
	Selection string // what the selected ones are chosen on, if any
	By        string // settings; of the configurations that agree in them one is selected
	Chosen    bool   // there are some

	Figures    []comparison
	Drawn      int // configurations in the figures
	Cut        int // of them for their accuracy, if there are more
	Calibrated bool

	Curves     []sweepCurve
	MoreCurves int

	Failures     []failure
	MoreFailures int
}

// sweepColumn is a column of the table, after the configuration's name.
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
		frame: newFrame(cmp.Or(s.config.Text("name"), "Sweep "+filepath.Base(string(s.dir))), s.config),
		Lines: len(s.configurations), Figures: s.comparisons(), Heads: len(s.summary.Heads), Failed: len(s.failures),
	}
	for _, x := range [][2]string{{"loss", "Losses"}, {"kappa", "κ estimators"}, {"epochs", "Epochs"}} {
		values := cmp.Or(strings.Join(s.values(x[0]), ", "), "the default of the loss")
		p.Varied = append(p.Varied, run.Entry{Key: x[1], Text: values})
	}
	for _, c := range s.configurations {
		p.Seconds += metric.Number(orZero(c.Seconds))
	}
	p.Seeds, _ = cut(s.seeds, 20)
	if n := len(p.Figures); n > 0 {
		p.Drawn = p.Figures[n-1].To
	}
	if p.Lines > mostRows {
		p.Cut = mostRows
	}
	if b := s.baseline(); b != nil {
		p.Base = b.Configuration
	}
	p.Selection = selections[s.config.Text("selection")]
	p.By = strings.Trim(s.config.Text("select-by"), "[]")
	for _, c := range s.configurations {
		p.Chosen = p.Chosen || c.Selected && p.Selection != ""
		p.Calibrated = p.Calibrated || drawable(c.Metrics["ece_before"].Mean)
	}
	p.Columns, p.Rows = s.table()
	p.Curves, p.MoreCurves = s.curves()
	p.Failures, p.MoreFailures = cut(s.failures, shownNotes)
	return p
}

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
	values, more := cut(values, 30)
	if more > 0 {
		values = append(slices.Clone(values), fmt.Sprintf("and %d more", more))
	}
	return values
}

// table is the summary. Columns that no configuration fills are left out; of very many configurations the most accurate
// are kept, in the order of the grid.
func (s *Sweep) table() ([]sweepColumn, []sweepRow) {
	type column struct {
		sweepColumn
		cell func(*configuration) sweepCell
	}
	of := func(m metric.Column) column {
		cell := func(c *configuration) sweepCell { return spreadCell(c.Metrics[m.Key]) }
		return column{sweepColumn{m.Title, m.Help}, cell}
	}
	var columns, others []column
	all := slices.DeleteFunc(metric.Columns(), func(m metric.Column) bool { return m.Tables < metric.Page })
	for _, m := range all {
		switch {
		case m.Lead:
			columns = append(columns, of(m))
		case m.After == "":
			if i := slices.IndexFunc(all, func(before metric.Column) bool { return before.After == m.Key }); i >= 0 {
				others = append(others, of(all[i]))
			}
			others = append(others, of(m))
		}
	}
	columns = slices.Concat(columns, []column{
		{sweepColumn{"Difference [95 %]", "of balanced accuracy from the baseline, paired by image"},
			(*configuration).differenceCell},
		{sweepColumn{"±\u00a0seeds", "standard deviation of the difference over seeds"},
			func(c *configuration) sweepCell { return valueCell(c.difference.SeedStd, 4) }},
	}, others, []column{
		{sweepColumn{"Score", "balanced accuracy on the data that selection looks at"},
			func(c *configuration) sweepCell { return spreadCell(c.Selection) }},
		{sweepColumn{"Seeds", "heads"}, func(c *configuration) sweepCell { return valueCell(float64(c.Seeds), 0) }},
		{sweepColumn{"Seconds", "of all seeds"}, func(c *configuration) sweepCell { return valueCell(c.Seconds, 1) }},
	})
	shown := s.ranked(tableClasses)
	rows := make([]sweepRow, 0, len(shown))
	for _, c := range s.configurations {
		if len(shown) < len(s.configurations) && !slices.Contains(shown, c) {
			continue
		}
		row := sweepRow{configuration: c}
		for _, column := range columns {
			row.Cells = append(row.Cells, column.cell(c))
		}
		rows = append(rows, row)
	}
	var titles []sweepColumn
	for k := len(columns) - 1; k >= 0; k-- {
		if slices.ContainsFunc(rows, func(r sweepRow) bool { return r.Cells[k].Text != "" }) {
			titles = append(titles, columns[k].sweepColumn)
			continue
		}
		for i := range rows {
			rows[i].Cells = slices.Delete(rows[i].Cells, k, k+1)
		}
	}
	slices.Reverse(titles)
	return titles, rows
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
	d := c.difference
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
