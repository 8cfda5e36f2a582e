package report

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// number is a value of metrics.json; null is NaN.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// metrics is metrics.json.
type metrics struct {
	Split   string `json:"split"`
	Samples int    `json:"samples"`

	Top1             number `json:"top1"`
	Top5             number `json:"top5"`
	BalancedAccuracy number `json:"balanced_accuracy"`
	MacroF1          number `json:"macro_f1"`
	WorstClass       number `json:"worst_class"`
	HarmonicMean     number `json:"harmonic_mean"`
	GeometricMean    number `json:"geometric_mean"`
	ECE              number `json:"ece"`
	MCE              number `json:"mce"`
	ClasswiseECE     number `json:"classwise_ece"`
	NLL              number `json:"nll"`
	Brier            number `json:"brier"`

	Groups      groupedMetrics `json:"groups"`
	Calibration *calibration   `json:"calibration"` // nil where probabilities are the softmax as it is
	PerClass    []classMetrics `json:"per_class"`

	Loss        string `json:"loss"`
	Epochs      int    `json:"epochs"`
	SwitchEpoch int    `json:"switch_epoch"`
	Seed        uint64 `json:"seed"`
	Seconds     struct {
		Encode   number `json:"encode"`
		Train    number `json:"train"`
		Evaluate number `json:"evaluate"`
	} `json:"seconds"`
}

type groupedMetrics struct {
	Many   groupMetrics `json:"many"`
	Medium groupMetrics `json:"medium"`
	Few    groupMetrics `json:"few"`
}

// all are the three groups in the order of all arrays by group.
func (g groupedMetrics) all() [3]groupMetrics { return [3]groupMetrics{g.Many, g.Medium, g.Few} }

type groupMetrics struct {
	Classes  int    `json:"classes"`
	Accuracy number `json:"accuracy"`
	ECE      number `json:"ece"`
}

// calibration is how probabilities were calibrated, with the metrics that they
// had before.
type calibration struct {
	Method      string    `json:"method"`
	FittedOn    string    `json:"fitted_on"`
	Temperature []float64 `json:"temperature"` // one, or one a class
	Before      struct {
		ECE          number         `json:"ece"`
		MCE          number         `json:"mce"`
		ClasswiseECE number         `json:"classwise_ece"`
		NLL          number         `json:"nll"`
		Brier        number         `json:"brier"`
		Groups       groupedMetrics `json:"groups"`
	} `json:"before"`
}

type classMetrics struct {
	Label      string `json:"label"`
	TrainCount int    `json:"train_count"`
	Samples    int    `json:"samples"`
	Accuracy   number `json:"accuracy"`
	Precision  number `json:"precision"`
	ECE        number `json:"ece"`
}

// environment is the part of environment.json that is shown.
type environment struct {
	Vitft   string `json:"vitft"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Cores   int    `json:"cores"`
	Runtime struct {
		Version string `json:"version"`
	} `json:"runtime_library"`
	Provider struct {
		Asked string `json:"asked"`
		Ran   string `json:"ran"`
		Note  string `json:"note"`
	} `json:"provider"`
	Backbone struct {
		Name    string `json:"name"`
		SHA256  string `json:"sha256"`
		Feature struct {
			Tensor  string `json:"tensor"`
			Pooling string `json:"pooling"`
			Dim     int    `json:"dim"`
		} `json:"feature"`
		Preprocess struct {
			Width         int    `json:"width"`
			Height        int    `json:"height"`
			Resize        string `json:"resize"`
			Interpolation string `json:"interpolation"`
		} `json:"preprocess"`
	} `json:"backbone"`
}

// settings are the keys of config.yaml in their order.
type settings []setting

type setting struct{ Key, Value string }

func (s settings) get(key string) string {
	for _, x := range s {
		if x.Key == key {
			return x.Value
		}
	}
	return ""
}

// epoch is a line of history.jsonl.
type epoch struct {
	Number int       `json:"epoch"`
	Phase  string    `json:"phase"`
	Loss   number    `json:"loss"`
	LR     number    `json:"lr"`
	Train  accuracy  `json:"train"`
	Val    *accuracy `json:"val"`
}

type accuracy struct {
	Balanced *float64 `json:"balanced_accuracy"`
	Many     *float64 `json:"many"`
	Medium   *float64 `json:"medium"`
	Few      *float64 `json:"few"`
}

// kappaEpoch is κ of one epoch of kappa.csv, by group.
type kappaEpoch struct {
	number int
	phase  string
	groups [3]spread
}

// spread gathers the mean and the standard deviation over the classes of a group.
type spread struct {
	classes, skipped, shrunk int
	sum, squares             float64
	errors                   int     // of the classes, have a standard error
	errorSum                 float64 // of those
}

func (s *spread) mean() float64 { return s.sum / float64(s.classes) }

func (s *spread) deviation() float64 {
	m := s.mean()
	return math.Sqrt(max(0, s.squares/float64(s.classes)-m*m))
}

// stdErr is the mean standard error of the classes that have one.
func (s *spread) stdErr() float64 { return s.errorSum / float64(s.errors) }

// prediction is a line of predictions.csv; label and predicted are indices of
// metrics.PerClass.
type prediction struct {
	path             string
	label, predicted int
	confidence       float64
	before           float64 // the confidence before calibration, where there is one
}

type skippedImage struct{ Set, Path, Reason string }

// read reads all files of the folder. What is missing is said at once.
func (r *Run) read(metricsJSON []byte) error {
	required := []string{"config.yaml", "environment.json", "predictions.csv"}
	if metricsJSON == nil {
		required = append(required, "metrics.json")
	}
	var missing []string
	for _, name := range required {
		if _, err := os.Stat(filepath.Join(r.dir, name)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("%w: %s is no finished run: it has no %s; name a folder that vitft finetune has finished", ErrData, r.dir, strings.Join(missing, ", "))
	}
	if metricsJSON != nil {
		if err := r.parseMetrics(bytes.NewReader(metricsJSON)); err != nil {
			return fmt.Errorf("%w: metrics of %s: %w", ErrData, r.dir, err)
		}
	}
	files := []file{
		{"metrics.json", r.parseMetrics}, // first: it names the classes
		{"config.yaml", r.parseConfig},
		{"environment.json", func(in io.Reader) error { return json.NewDecoder(in).Decode(&r.environment) }},
		{"predictions.csv", r.parsePredictions},
		{"history.jsonl", r.parseHistory},
		{"kappa.csv", r.parseKappa},
		{"warnings.txt", r.parseWarnings},
		{"skipped.csv", r.parseSkipped},
	}
	if metricsJSON != nil {
		files = files[1:]
	}
	return readFiles(r.dir, files)
}

// file is a file of a folder and what reads it.
type file struct {
	name  string
	parse func(io.Reader) error
}

// readFiles reads those files that there are.
func readFiles(dir string, files []file) error {
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		in, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = f.parse(bufio.NewReaderSize(in, 1<<16))
		in.Close()
		if err != nil {
			return fmt.Errorf("%w: %s is damaged: %w", ErrData, path, err)
		}
	}
	return nil
}

func (r *Run) parseMetrics(in io.Reader) error {
	if err := json.NewDecoder(in).Decode(&r.metrics); err != nil {
		return err
	}
	if len(r.metrics.PerClass) == 0 {
		return errors.New("it names no classes")
	}
	return nil
}

func (r *Run) parseConfig(in io.Reader) (err error) {
	r.config, err = parseSettings(in)
	return err
}

// parseSettings reads a YAML map. What is no scalar is kept in YAML's flow
// style, a list's elements a line each.
func parseSettings(in io.Reader) (settings, error) {
	var node yaml.Node
	if err := yaml.NewDecoder(in).Decode(&node); err != nil {
		return nil, err
	}
	if len(node.Content) != 1 || node.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no list of keys and values")
	}
	var list settings
	pairs := node.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		value := pairs[i+1]
		lines := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode && slices.ContainsFunc(value.Content, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode }) {
			lines = value.Content
		}
		var text []string
		for _, n := range lines {
			if n.Kind == yaml.ScalarNode {
				text = append(text, n.Value)
				continue
			}
			n.Style = yaml.FlowStyle
			flow, err := yaml.Marshal(n)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", pairs[i].Value, err)
			}
			text = append(text, strings.Join(strings.Fields(string(flow)), " "))
		}
		list = append(list, setting{pairs[i].Value, strings.Join(text, "\n")})
	}
	return list, nil
}

func (r *Run) parseHistory(in io.Reader) error {
	for d := json.NewDecoder(in); ; {
		var e epoch
		if err := d.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("after %d epochs: %w", len(r.history), err)
		}
		r.history = append(r.history, e)
	}
}

func (r *Run) parsePredictions(in io.Reader) error {
	index := r.classIndex()
	columns := []string{"path", "label", "predicted", "confidence"}
	if r.metrics.Calibration != nil {
		columns = append(columns, "confidence_before")
	}
	return readCSV(in, columns, func(row []string) error {
		label, known := index[row[1]]
		predicted, also := index[row[2]]
		if !known || !also {
			return fmt.Errorf("label %q or %q is no class of metrics.json", row[1], row[2])
		}
		p := prediction{path: strings.Clone(row[0]), label: label, predicted: predicted}
		for i, value := range []*float64{&p.confidence, &p.before}[:len(columns)-3] {
			// Confidences are float32: read as such they fall into the bins they were counted in.
			v, err := strconv.ParseFloat(row[3+i], 32)
			if err != nil || !(v >= 0 && v <= 1) {
				return fmt.Errorf("%s %q is not in [0, 1]", columns[3+i], row[3+i])
			}
			*value = v
		}
		r.predictions = append(r.predictions, p)
		return nil
	})
}

func (r *Run) parseKappa(in io.Reader) error {
	index := r.classIndex()
	columns := []string{"epoch", "phase", "class", "kappa", "std_err", "samples", "bins", "skipped", "shrunk"}
	return readCSV(in, columns, func(row []string) error {
		number, err := strconv.Atoi(row[0])
		if err != nil {
			return fmt.Errorf("epoch %q is no number", row[0])
		}
		k, known := index[row[2]]
		if !known {
			return fmt.Errorf("%q is no class of metrics.json", row[2])
		}
		value, err := strconv.ParseFloat(row[3], 64)
		if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
			return fmt.Errorf("kappa %q is no finite number", row[3])
		}
		if n := len(r.kappa); n == 0 || r.kappa[n-1].number != number {
			r.kappa = append(r.kappa, kappaEpoch{number: number, phase: strings.Clone(row[1])})
		}
		s := &r.kappa[len(r.kappa)-1].groups[groupOf(r.metrics.PerClass[k].TrainCount)]
		s.classes++
		s.sum += value
		s.squares += value * value
		if e, err := strconv.ParseFloat(row[4], 64); err == nil && drawable(e) {
			s.errors++
			s.errorSum += e
		}
		if row[7] == "true" {
			s.skipped++
		}
		if row[8] == "true" {
			s.shrunk++
		}
		return nil
	})
}

func (r *Run) parseWarnings(in io.Reader) error {
	text, err := io.ReadAll(in)
	if text := strings.TrimSpace(string(text)); text != "" {
		r.warnings = strings.Split(text, "\n")
	}
	return err
}

func (r *Run) parseSkipped(in io.Reader) error {
	return readCSV(in, []string{"set", "path", "reason"}, func(row []string) error {
		r.skipped = append(r.skipped, skippedImage{strings.Clone(row[0]), strings.Clone(row[1]), strings.Clone(row[2])})
		return nil
	})
}

func (r *Run) classIndex() map[string]int {
	index := make(map[string]int, len(r.metrics.PerClass))
	for k, c := range r.metrics.PerClass {
		index[c.Label] = k
	}
	return index
}

// readCSV calls add for every row after the header, which must begin with
// columns. The row is valid during the call.
func readCSV(in io.Reader, columns []string, add func(row []string) error) error {
	c := csv.NewReader(in)
	c.ReuseRecord = true
	for first := true; ; first = false {
		row, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if first {
			if len(row) < len(columns) || strings.Join(row[:len(columns)], ",") != strings.Join(columns, ",") {
				return fmt.Errorf("its header is not %s", strings.Join(columns, ","))
			}
			continue
		}
		if err := add(row); err != nil {
			line, _ := c.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}
