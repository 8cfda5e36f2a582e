package metric

import (
	"math"
	"slices"
	"strings"

	"github.com/vitft/vitft/calib"
)

// Row is one metric.
type Row struct {
	Key    string // in JSON and CSV
	Title  string // in tables
	Short  string // in tables with little room
	Help   string // one line
	Format Format
	Better Direction

	Calibrated bool // calibration changes it
	Lead       bool // stands before the others: what heads are compared by
	Brief      bool // is in the line over the terminal's table of groups
	Tables     Table

	// By group there is Part of each group's share, in tables under Prefix and the group's name; nil where there is
	// none.
	Part   func(*GroupMetrics) *Number
	Prefix string

	Field func(*Scores) *Number // where its value is
	Of    func(*Sample) float64 // its value; NaN where there is nothing to compute it from

	Within func(*Metrics) Interval // how well an accuracy is known; nil of what is none

	Note func(m *Metrics) (more string) // what these metrics add to Help; may be nil
}

// In is the value among scores.
func (r Row) In(s Scores) Number { return *r.Field(&s) }

// Text is the value for readers.
func (r Row) Text(m *Metrics) string { return r.Format.Text(r.In(m.Scores)) }

// Says is the help, with what there is to add of these metrics.
func (r Row) Says(m *Metrics) string {
	if r.Note == nil {
		return r.Help
	}
	return r.Help + r.Note(m)
}

// Direction is where better values are.
type Direction int

// The directions.
const (
	Higher Direction = iota
	Lower
)

// Format is how a value is written for readers.
type Format int

// The formats.
const (
	Share   Format = iota // in percent
	Decimal               // as it is
)

// Table is a table of a sweep. One that has little room has the columns of few metrics only, and those of a table are
// in all the larger ones too.
type Table int

// The tables, from the one with the most columns to that with the fewest.
const (
	NoTable  Table = iota
	File           // heads.csv and summary.csv
	Page           // report.html
	Markdown       // summary.md
	Terminal
)

// Rows are the metrics in the order of metrics.json.
var Rows = []Row{
	{Key: "top1", Title: "Top-1", Short: "top-1", Brief: true, Tables: File,
		Help:   "share of images whose class comes first",
		Field:  func(s *Scores) *Number { return &s.Top1 },
		Of:     func(s *Sample) float64 { return s.share(func(i int) bool { return s.Hit[i] }) },
		Within: func(m *Metrics) Interval { return Wilson(m.Top1, m.Samples) }},
	{Key: "top5", Title: "Top-5", Short: "top-5", Brief: true,
		Help:   "share of images whose class is among the first five",
		Field:  func(s *Scores) *Number { return &s.Top5 },
		Of:     func(s *Sample) float64 { return s.share(func(i int) bool { return s.before(i) < 5 }) },
		Within: func(m *Metrics) Interval { return Wilson(m.Top5, m.Samples) }},
	{Key: "balanced_accuracy", Title: "Balanced accuracy", Short: "balanced", Lead: true, Tables: Terminal,
		Help:   "mean of the classes’ accuracies: a rare class counts as much as a common one",
		Part:   func(g *GroupMetrics) *Number { return &g.Accuracy },
		Field:  func(s *Scores) *Number { return &s.BalancedAccuracy },
		Of:     func(s *Sample) float64 { return calib.Mean(s.Accuracy, nil) },
		Within: func(m *Metrics) Interval { return MeanInterval(m.PerClass) }},
	{Key: "macro_f1", Title: "Macro-F1", Short: "macro-F1", Brief: true,
		Help:  "mean over classes of F1, which also falls when other images are taken for the class",
		Field: func(s *Scores) *Number { return &s.MacroF1 }, Of: macroF1},
	{Key: "worst_class", Title: "Worst class", Short: "worst", Tables: Markdown,
		Help:  "accuracy of the least accurate class",
		Field: func(s *Scores) *Number { return &s.WorstClass }, Of: worst, Note: worstName, Within: worstWithin},
	{Key: "harmonic_mean", Title: "Harmonic mean",
		Help:  "of the classes’ accuracies; weak classes weigh most, and one at 0 makes it 0",
		Field: func(s *Scores) *Number { return &s.HarmonicMean },
		Of:    func(s *Sample) float64 { sum, n := s.sum(func(a float64) float64 { return 1 / a }); return n / sum }},
	{Key: "geometric_mean", Title: "Geometric mean", Help: "of the classes’ accuracies; 0 as soon as one class is at 0",
		Field: func(s *Scores) *Number { return &s.GeometricMean },
		Of:    func(s *Sample) float64 { sum, n := s.sum(math.Log); return math.Exp(sum / n) }},
	{Key: "ece", Title: "ECE", Short: "ECE", Format: Decimal, Better: Lower, Calibrated: true, Tables: Terminal,
		Help: "expected calibration error: mean distance between confidence and accuracy, in 15 bins",
		Part: func(g *GroupMetrics) *Number { return &g.ECE }, Prefix: "ECE ",
		Field: func(s *Scores) *Number { return &s.ECE },
		Of:    func(s *Sample) float64 { return calib.ECE(s.bins()) }},
	{Key: "mce", Title: "MCE", Format: Decimal, Better: Lower, Calibrated: true,
		Help:  "the same distance in the worst bin",
		Field: func(s *Scores) *Number { return &s.MCE },
		Of:    func(s *Sample) float64 { return calib.MCE(s.bins()) }},
	{Key: "classwise_ece", Title: "Class-wise ECE", Format: Decimal, Better: Lower, Calibrated: true,
		Help:  "ECE of each class’s own probability, mean over classes",
		Field: func(s *Scores) *Number { return &s.ClasswiseECE },
		Of:    func(s *Sample) float64 { return calib.ClasswiseECE(s.Probabilities, len(s.Count), s.Labels, Bins) }},
	{Key: "nll", Title: "NLL", Short: "NLL", Brief: true, Format: Decimal, Better: Lower, Calibrated: true,
		Tables: Page, Help: "negative log-likelihood of the true class, in nats",
		Field: func(s *Scores) *Number { return &s.NLL },
		Of:    func(s *Sample) float64 { return calib.NLL(s.Probabilities, len(s.Count), s.Labels) }},
	{Key: "brier", Title: "Brier", Format: Decimal, Better: Lower, Calibrated: true,
		Help:  "squared distance between the probabilities and the truth, from 0 to 2",
		Field: func(s *Scores) *Number { return &s.Brier },
		Of:    func(s *Sample) float64 { return calib.Brier(s.Probabilities, len(s.Count), s.Labels) }},
}

// Headline are the rows as they are shown to readers: those that lead first.
func Headline() []Row {
	others := slices.DeleteFunc(slices.Clone(Rows), func(r Row) bool { return r.Lead })
	return append(slices.DeleteFunc(slices.Clone(Rows), func(r Row) bool { return !r.Lead }), others...)
}

func worst(s *Sample) float64 {
	least := math.NaN()
	for _, a := range s.Accuracy {
		if !(least <= a) && !math.IsNaN(a) {
			least = a
		}
	}
	return least
}

func worstName(m *Metrics) string {
	for _, c := range m.PerClass {
		if c.Accuracy == m.WorstClass {
			return ", here " + c.Label
		}
	}
	return ""
}

// macroF1 follows scikit-learn: the mean over the classes that occur as label or prediction.
func macroF1(s *Sample) float64 {
	sum, n := 0.0, 0.0
	for k, hits := range s.Hits {
		if occurrences := s.Count[k] + s.Taken[k]; occurrences > 0 {
			sum += 2 * float64(hits) / float64(occurrences)
			n++
		}
	}
	return sum / n
}

// Column is a value in the tables of a sweep: a metric, a group's share of one, or either before calibration.
type Column struct {
	Row          // with the column's own Key (in CSV, such as ece_before_few), Title, Short, Help and Tables
	After string // of one before calibration: the key of what it became
	Of    func(*Metrics) float64
}

// Columns are those of the largest table of a sweep, those before calibration last.
func Columns() []Column {
	var after, before []Column
	add := func(c Column, keyBefore string) {
		after = append(after, c)
		if !c.Calibrated {
			return
		}
		b := c
		b.Key, b.Title, b.Short, b.Help = keyBefore, c.Title+" before", c.Short+" before", c.Help+", before calibration"
		b.Lead, b.After = false, c.Key
		if !strings.HasSuffix(keyBefore, "_before") { // of a group
			b.Tables = min(b.Tables, Markdown)
		}
		b.Of = func(m *Metrics) float64 {
			if m.Calibration == nil {
				return math.NaN()
			}
			return c.Of(&Metrics{Scores: m.Calibration.Before.Scores, Groups: m.Calibration.Before.Groups})
		}
		before = append(before, b)
	}
	for _, r := range Rows {
		if r.Tables == NoTable {
			continue
		}
		add(Column{Row: r, Of: func(m *Metrics) float64 { return float64(r.In(m.Scores)) }}, r.Key+"_before")
		for _, g := range calib.Shots() {
			if r.Part == nil {
				break
			}
			c := Column{Row: r, Of: func(m *Metrics) float64 { return float64(*r.Part(&m.Groups[g])) }}
			c.Key, c.Short, c.Lead = g.String(), r.Prefix+g.String(), false
			if r.Prefix != "" {
				c.Key = r.Key + "_" + c.Key
			}
			c.Title, c.Help = strings.ToUpper(c.Short[:1])+c.Short[1:], "of classes with "+g.Range()+" training images"
			add(c, r.Key+"_before_"+g.String())
		}
	}
	return slices.Concat(after, before)
}
