package report

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sweepPage is what sweep.html is filled with.
type sweepPage struct {
	frame

	Ran    []setting
	Config []setting

	Columns []sweepColumn
	Rows    []sweepRow
	Lines   int    // configurations, of which Rows may be a part
	Base    string // the baseline
	Chosen  string // on what the selected ones were chosen, if any

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
	Name               string
	Baseline, Selected bool
	Failed             string
	Cells              []sweepCell
}

// sweepCell is a value as it is shown, its deviation or interval, and the value
// to sort by. All are empty where there is none.
type sweepCell struct{ Text, Around, Sort string }

func (s *Sweep) page() *sweepPage {
	p := &sweepPage{
		frame: newFrame(cmp.Or(s.config.get("name"), "Sweep "+filepath.Base(s.dir))),
		Ran:   s.whatRan(), Config: s.config, Lines: len(s.configurations), Figures: s.comparisons(),
	}
	if n := len(p.Figures); n > 0 {
		p.Drawn = p.Figures[n-1].To
	}
	if p.Lines > mostRows {
		p.Cut = mostRows
	}
	if b := s.baseline(); b != nil {
		p.Base = b.name
	}
	if slices.ContainsFunc(s.configurations, func(c configuration) bool { return c.selected }) {
		p.Chosen = selections[s.config.get("selection")]
	}
	p.Calibrated = slices.ContainsFunc(s.configurations, func(c configuration) bool { return drawable(c.metrics["ece_before"].mean) })
	p.Columns, p.Rows = s.table()
	p.Curves, p.MoreCurves = s.curves()
	p.Failures, p.MoreFailures = cut(s.failures, shownNotes)
	return p
}

// selections says on what the values of the key selection choose.
var selections = map[string]string{"val": "the validation images", "cv": "out-of-fold predictions on the training images"}

// whatRan is the experiment in short.
func (s *Sweep) whatRan() []setting {
	c := s.config
	var list []setting
	add := func(key, form string, a ...any) { list = append(list, setting{key, fmt.Sprintf(form, a...)}) }
	add("Training images", "%s", source(c.get("train")))
	if v := c.get("imbalance"); v != "" {
		add("Imbalance", "%s, seed %s", v, c.get("imbalance-seed"))
	}
	if v := c.get("val"); v != "" {
		add("Validation images", "%s", source(v))
	}
	add("Measured on", "%s", source(c.get("test")))
	add("Backbone", "%s, feature %s", source(c.get("backbone")), c.get("feature"))
	if v, tta := c.get("views"), c.get("tta"); v != "" && tta != "" {
		add("Views", "%s", views(v, tta))
	}
	if v := c.get("calibration"); v != "" && v != "none" {
		on := "out-of-fold logits of the training images, " + c.get("folds") + " folds"
		if c.get("val") != "" {
			on = "the validation images"
		}
		add("Calibration", "%s, fitted on %s", v, on)
	}
	add("Heads", "%s of %s, %s", thousands(s.heads), count(len(s.configurations), "configuration", "configurations"), failed(len(s.failures)))
	seeds, _ := cut(s.seeds, 20)
	add("Seeds", "%s", strings.Join(seeds, ", "))
	for _, x := range []struct{ key, name string }{{"loss", "Losses"}, {"kappa", "κ estimators"}, {"epochs", "Epochs"}} {
		values := s.values(x.key)
		if len(values) == 0 {
			values = []string{"the default of the loss"}
		}
		add(x.name, "%s", strings.Join(values, ", "))
	}
	if b := s.baseline(); b != nil {
		add("Baseline", "%s", b.name)
	}
	if on := selections[c.get("selection")]; on != "" {
		by := ""
		if keys := c.get("select-by"); keys != "" {
			by = ", the best of each " + strings.Trim(keys, "[]")
		}
		add("Selection", "by balanced accuracy on %s%s; never on the images measured on", on, by)
	} else {
		add("Selection", "none")
	}
	total := 0.0
	for _, c := range s.configurations {
		total += orZero(c.seconds)
	}
	add("Time", "%s, the sum over heads that are trained side by side", seconds(number(total)))
	return list
}

// values are those that a key takes, in order, up to a line's worth.
func (s *Sweep) values(key string) []string {
	var values []string
	for i := range s.configurations {
		if v := s.setting(&s.configurations[i], key); v != "" && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	values, more := cut(values, 30)
	if more > 0 {
		values = append(slices.Clone(values), fmt.Sprintf("and %d more", more))
	}
	return values
}

func failed(n int) string {
	if n == 0 {
		return "none failed"
	}
	return thousands(n) + " failed"
}

// table is the summary. Columns that no configuration fills are left out; of
// very many configurations the most accurate are kept, in the order of the grid.
func (s *Sweep) table() ([]sweepColumn, []sweepRow) {
	metric := func(name string) func(*configuration) sweepCell {
		return func(c *configuration) sweepCell {
			m := c.metrics[name]
			cell := valueCell(m.mean, 4)
			if cell.Text != "" && drawable(m.std) {
				cell.Around = fmt.Sprintf("±%.4f", m.std)
			}
			return cell
		}
	}
	columns := []struct {
		sweepColumn
		cell func(*configuration) sweepCell
	}{
		{sweepColumn{"Balanced accuracy", "mean of the classes’ accuracies"}, metric("balanced_accuracy")},
		{sweepColumn{"Difference [95 %]", "of balanced accuracy from the baseline, paired by image"}, (*configuration).differenceCell},
		{sweepColumn{"±\u00a0seeds", "standard deviation of the difference over seeds"}, func(c *configuration) sweepCell { return valueCell(c.seedStd, 4) }},
		{sweepColumn{"Many", "accuracy of the classes with more than 100 training images"}, metric("many")},
		{sweepColumn{"Medium", "with 20 to 100"}, metric("medium")},
		{sweepColumn{"Few", "with fewer than 20"}, metric("few")},
		{sweepColumn{"Worst", "accuracy of the least accurate class"}, metric("worst_class")},
		{sweepColumn{"ECE before", "before calibration"}, metric("ece_before")},
		{sweepColumn{"ECE", "expected calibration error, 15 bins"}, metric("ece")},
		{sweepColumn{"ECE many before", "before calibration"}, metric("ece_before_many")},
		{sweepColumn{"ECE many", "of the images of classes with more than 100 training images"}, metric("ece_many")},
		{sweepColumn{"ECE medium before", "before calibration"}, metric("ece_before_medium")},
		{sweepColumn{"ECE medium", "with 20 to 100"}, metric("ece_medium")},
		{sweepColumn{"ECE few before", "before calibration"}, metric("ece_before_few")},
		{sweepColumn{"ECE few", "with fewer than 20"}, metric("ece_few")},
		{sweepColumn{"NLL before", "before calibration"}, metric("nll_before")},
		{sweepColumn{"NLL", "negative log-likelihood in nats"}, metric("nll")},
		{sweepColumn{"Score", "balanced accuracy on the data that selection looks at"}, metric("selection")},
		{sweepColumn{"Seeds", "heads"}, func(c *configuration) sweepCell {
			n := strconv.Itoa(c.seeds)
			return sweepCell{Text: n, Sort: n}
		}},
		{sweepColumn{"Seconds", "of all seeds"}, func(c *configuration) sweepCell { return valueCell(c.seconds, 1) }},
	}
	shown := s.ranked(tableClasses)
	rows := make([]sweepRow, 0, len(shown))
	for i := range s.configurations {
		c := &s.configurations[i]
		if len(shown) < len(s.configurations) && !slices.Contains(shown, c) {
			continue
		}
		row := sweepRow{Name: c.name, Baseline: c.baseline, Selected: c.selected}
		if c.failed > 0 {
			row.Failed = fmt.Sprintf("%d of %d failed", c.failed, c.seeds)
		}
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

func (c *configuration) differenceCell() sweepCell {
	cell := valueCell(c.difference, 4)
	if cell.Text == "" {
		return cell
	}
	cell.Text = signed(c.difference)
	if math.Round(c.difference*1e4) > 0 {
		cell.Text = "+" + cell.Text
	}
	if drawable(c.low) && drawable(c.high) {
		cell.Around = fmt.Sprintf("[%s, %s]", signed(c.low), signed(c.high))
	}
	return cell
}
