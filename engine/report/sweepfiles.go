package report

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// configuration is a line of summary.csv, with its lines of heads.csv.
type configuration struct {
	name               string
	settings           []string // by Sweep.keys
	seeds, failed      int
	baseline, selected bool

	// The difference of balanced accuracy from the baseline with its 95 %
	// interval and its standard deviation over seeds; NaN where there is none.
	difference, low, high, seedStd float64

	metrics map[string]meanStd // by column
	seconds float64

	accuracies []float64 // balanced, of each head that was trained
}

// meanStd is a mean over seeds with the standard deviation; NaN where there is none.
type meanStd struct{ mean, std float64 }

func (c *configuration) balanced() meanStd { return c.metrics["balanced_accuracy"] }

// failure is a head that could not be trained.
type failure struct{ Configuration, Seed, Why string }

func (s *Sweep) parseConfig(in io.Reader) (err error) {
	s.config, err = parseSettings(in)
	return err
}

// The columns of summary.csv: configuration, those of the settings, these, then
// M and M_std for each metric, and seconds.
var summaryColumns = []string{"seeds", "failed", "baseline", "selected", "difference", "difference_low", "difference_high", "difference_seed_std"}

// shownMetrics are those that the page needs.
var shownMetrics = []string{"balanced_accuracy", "many", "medium", "few", "worst_class", "ece", "ece_many", "ece_medium", "ece_few", "nll",
	"ece_before", "ece_before_many", "ece_before_medium", "ece_before_few", "nll_before", "selection"}

func (s *Sweep) parseSummary(in io.Reader) error {
	names := map[string]bool{}
	err := readColumns(in, func(header []string) error {
		end := slices.Index(header, summaryColumns[0])
		if header[0] != "configuration" || end < 1 || len(header) < end+len(summaryColumns) || !slices.Equal(header[end:end+len(summaryColumns)], summaryColumns) {
			return fmt.Errorf("its header is not configuration, …, %s", strings.Join(summaryColumns, ", "))
		}
		s.keys = slices.Clone(header[1:end])
		return need(header, append(slices.Clone(shownMetrics), "seconds"))
	}, func(row record) error {
		c := configuration{name: row.text("configuration"), metrics: map[string]meanStd{}}
		if names[c.name] {
			return fmt.Errorf("configuration %q is there twice", c.name)
		}
		names[c.name] = true
		for _, key := range s.keys {
			c.settings = append(c.settings, row.text(key))
		}
		c.seeds, c.failed = row.count("seeds"), row.count("failed")
		c.baseline, c.selected = row.text("baseline") == "yes", row.text("selected") == "yes"
		c.difference, c.low, c.high = row.number("difference"), row.number("difference_low"), row.number("difference_high")
		c.seedStd, c.seconds = row.number("difference_seed_std"), row.number("seconds")
		for _, name := range shownMetrics {
			c.metrics[name] = meanStd{row.number(name), row.number(name + "_std")}
		}
		s.configurations = append(s.configurations, c)
		return row.fault()
	})
	if err == nil && len(s.configurations) == 0 {
		return errors.New("it has no configurations")
	}
	return err
}

func (s *Sweep) parseHeads(in io.Reader) error {
	index := map[string]int{}
	for i, c := range s.configurations {
		index[c.name] = i
	}
	seeds := map[string]bool{}
	return readColumns(in, func(header []string) error {
		return need(header, []string{"configuration", "seed", "status", "balanced_accuracy", "error"})
	}, func(row record) error {
		i, known := index[row.text("configuration")]
		if !known {
			return fmt.Errorf("%q is no configuration of %s", row.text("configuration"), summaryFile)
		}
		s.heads++
		if seed := row.text("seed"); !seeds[seed] {
			seeds[seed] = true
			s.seeds = append(s.seeds, seed)
		}
		c := &s.configurations[i]
		if row.text("status") == "failed" {
			s.failures = append(s.failures, failure{c.name, row.text("seed"), row.text("error")})
		} else if v := row.number("balanced_accuracy"); drawable(v) {
			c.accuracies = append(c.accuracies, v)
		}
		return row.fault()
	})
}

// need says which columns a header lacks.
func need(header, columns []string) error {
	var missing []string
	for _, name := range columns {
		if !slices.Contains(header, name) {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("its header has no %s", strings.Join(missing, ", "))
	}
	return nil
}

// record is a row of a CSV file. What is wrong with the cells that were read is
// kept for the end.
type record struct {
	columns map[string]int
	cells   []string
	faults  *[]error
}

func (r record) text(column string) string {
	if i, ok := r.columns[column]; ok {
		return strings.Clone(r.cells[i])
	}
	return ""
}

// number reads a cell; NaN if it is empty or not finite.
func (r record) number(column string) float64 {
	text := r.text(column)
	if text == "" {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		*r.faults = append(*r.faults, fmt.Errorf("%s %q is no number", column, text))
	}
	if !drawable(v) {
		return math.NaN()
	}
	return v
}

func (r record) count(column string) int {
	n, err := strconv.Atoi(r.text(column))
	if err != nil || n < 0 {
		*r.faults = append(*r.faults, fmt.Errorf("%s %q is no count", column, r.text(column)))
	}
	return n
}

func (r record) fault() error { return errors.Join(*r.faults...) }

// readColumns calls check for the header and add for every row after it.
func readColumns(in io.Reader, check func(header []string) error, add func(record) error) error {
	c := csv.NewReader(in)
	header, err := c.Read()
	if err == io.EOF {
		return errors.New("it is empty")
	}
	if err != nil {
		return err
	}
	if err := check(header); err != nil {
		return err
	}
	columns := map[string]int{}
	for i, name := range header {
		if _, twice := columns[name]; twice {
			return fmt.Errorf("its header has %s twice", name)
		}
		columns[name] = i
	}
	c.ReuseRecord = true
	for {
		row, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := add(record{columns, row, new([]error)}); err != nil {
			at, _ := c.FieldPos(0)
			return fmt.Errorf("line %d: %w", at, err)
		}
	}
}
