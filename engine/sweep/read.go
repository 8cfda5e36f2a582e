package sweep

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/metric"
)

// ReadCSV reads what CSV has written, settings as texts. A metric that has no column there is NaN.
func ReadCSV(rows [][]string) (*Summary, error) {
	s := &Summary{}
	names := map[string]bool{}
	t, err := newTable(rows, "configuration", "seconds")
	if err != nil {
		return nil, err
	}
	end := slices.Index(t.header, lineColumns[0])
	if t.header[0] != "configuration" || end < 1 || len(t.header) < end+len(lineColumns) ||
		!slices.Equal(t.header[end:end+len(lineColumns)], lineColumns) {
		return nil, fmt.Errorf("its header is not configuration, …, %s", strings.Join(lineColumns, ", "))
	}
	s.Keys = t.header[1:end]
	err = t.each(func(r *record) {
		l := Line{
			Configuration: r.text("configuration"), Settings: Settings{}, Metrics: map[string]Spread{},
			Seeds: r.count("seeds"), Failed: r.count("failed"), Baseline: r.text("baseline") == yes(true), Selected: r.text("selected") == yes(true),
			Selection: r.spread("selection"), Seconds: r.number("seconds"),
		}
		if names[l.Configuration] {
			r.fault("configuration %q is there twice", l.Configuration)
		}
		names[l.Configuration] = true
		for _, key := range s.Keys {
			l.Settings[key] = r.text(key)
		}
		if d := r.number("difference"); !math.IsNaN(d) {
			l.Difference = &Comparison{d, r.number("difference_low"), r.number("difference_high"), r.number("difference_seed_std"), 0}
		}
		for _, c := range metric.Columns() {
			l.Metrics[c.Key] = r.spread(c.Key)
		}
		s.Configurations = append(s.Configurations, l)
	})
	if err == nil && len(s.Configurations) == 0 {
		err = errors.New("it has no configurations")
	}
	return s, err
}

// ReadHeads adds the heads that HeadsCSV has written, as far as they are in it: without predictions and settings.
func (s *Summary) ReadHeads(rows [][]string) error {
	t, err := newTable(rows, "id", "configuration", "seed", "status", "error")
	if err != nil {
		return err
	}
	index := map[string]int{}
	for i, l := range s.Configurations {
		index[l.Configuration] = i
	}
	return t.each(func(r *record) {
		i, known := index[r.text("configuration")]
		if !known {
			r.fault("%q is no configuration of the summary", r.text("configuration"))
		}
		h := Row{Head: Head{ID: r.text("id")}, Configuration: i, Scores: map[string]float64{}}
		if h.Seed, err = strconv.ParseUint(r.text("seed"), 10, 64); err != nil {
			r.fault("seed %q is no whole number from 0", r.text("seed"))
		}
		if r.text("status") == failed {
			h.Error = cmp.Or(r.text("error"), failed)
		}
		if v := r.number("selection"); !math.IsNaN(v) {
			h.Head.Selection = &v
		}
		for _, c := range metric.Columns() {
			h.Scores[c.Key] = r.number(c.Key)
		}
		s.Heads = append(s.Heads, h)
	})
}

// csvTable is a CSV file with a header.
type csvTable struct {
	header []string
	rows   [][]string
	at     map[string]int // of a column
}

func newTable(rows [][]string, needed ...string) (*csvTable, error) {
	if len(rows) == 0 {
		return nil, errors.New("it is empty")
	}
	t := &csvTable{rows[0], rows[1:], map[string]int{}}
	for i, name := range t.header {
		if _, twice := t.at[name]; twice {
			return nil, fmt.Errorf("its header has %s twice", name)
		}
		t.at[name] = i
	}
	for _, name := range needed {
		if _, ok := t.at[name]; !ok {
			return nil, fmt.Errorf("its header has no %s", name)
		}
	}
	return t, nil
}

// each reads all rows, up to one with faults.
func (t *csvTable) each(read func(*record)) error {
	for i, cells := range t.rows {
		r := &record{at: t.at, cells: cells}
		if read(r); r.faults != nil {
			return fmt.Errorf("line %d: %w", i+2, errors.Join(r.faults...))
		}
	}
	return nil
}

// record is a row. What is wrong with the cells that were read is kept for the end.
type record struct {
	at     map[string]int
	cells  []string
	faults []error
}

func (r *record) fault(format string, a ...any) {
	r.faults = append(r.faults, fmt.Errorf(format, a...))
}

func (r *record) text(column string) string {
	if i, ok := r.at[column]; ok {
		return r.cells[i]
	}
	return ""
}

// number reads a cell; NaN if it is empty, not finite, or beyond any metric.
func (r *record) number(column string) float64 {
	text := r.text(column)
	if text == "" {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		r.fault("%s %q is no number", column, text)
	}
	if !(math.Abs(v) < 1e9) {
		return math.NaN()
	}
	return v
}

func (r *record) spread(column string) Spread {
	return Spread{r.number(column), r.number(column + "_std")}
}

func (r *record) count(column string) int {
	n, err := strconv.Atoi(r.text(column))
	if err != nil || n < 0 {
		r.fault("%s %q is no count", column, r.text(column))
	}
	return n
}
