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

	Groups struct {
		Many   groupMetrics `json:"many"`
		Medium groupMetrics `json:"medium"`
		Few    groupMetrics `json:"few"`
	} `json:"groups"`
	PerClass []classMetrics `json:"per_class"`

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

// groups are the three groups in the order of all arrays by group.
func (m *metrics) groups() [3]groupMetrics {
	return [3]groupMetrics{m.Groups.Many, m.Groups.Medium, m.Groups.Few}
}

type groupMetrics struct {
	Classes  int    `json:"classes"`
	Accuracy number `json:"accuracy"`
	ECE      number `json:"ece"`
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
}

func (s *spread) mean() float64 { return s.sum / float64(s.classes) }

func (s *spread) deviation() float64 {
	m := s.mean()
	return math.Sqrt(max(0, s.squares/float64(s.classes)-m*m))
}

// prediction is a line of predictions.csv; label and predicted are indices of
// metrics.PerClass.
type prediction struct {
	path             string
	label, predicted int
	confidence       float64
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
	for _, f := range []struct {
		name  string
		parse func(io.Reader) error
	}{
		{"metrics.json", r.parseMetrics}, // first: it names the classes
		{"config.yaml", r.parseConfig},
		{"environment.json", func(in io.Reader) error { return json.NewDecoder(in).Decode(&r.environment) }},
		{"predictions.csv", r.parsePredictions},
		{"history.jsonl", r.parseHistory},
		{"kappa.csv", r.parseKappa},
		{"warnings.txt", r.parseWarnings},
		{"skipped.csv", r.parseSkipped},
	} {
		if f.name == "metrics.json" && metricsJSON != nil {
			continue
		}
		path := filepath.Join(r.dir, f.name)
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = f.parse(bufio.NewReaderSize(file, 1<<16))
		file.Close()
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

func (r *Run) parseConfig(in io.Reader) error {
	var node yaml.Node
	if err := yaml.NewDecoder(in).Decode(&node); err != nil {
		return err
	}
	if len(node.Content) != 1 || node.Content[0].Kind != yaml.MappingNode {
		return errors.New("it is no list of keys and values")
	}
	pairs := node.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		r.config = append(r.config, setting{pairs[i].Value, pairs[i+1].Value})
	}
	return nil
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
	return readCSV(in, []string{"path", "label", "predicted", "confidence"}, func(row []string) error {
		label, known := index[row[1]]
		predicted, also := index[row[2]]
		if !known || !also {
			return fmt.Errorf("label %q or %q is no class of metrics.json", row[1], row[2])
		}
		// Confidences are float32: read as such they fall into the bins they were counted in.
		confidence, err := strconv.ParseFloat(row[3], 32)
		if err != nil || !(confidence >= 0 && confidence <= 1) {
			return fmt.Errorf("confidence %q is not in [0, 1]", row[3])
		}
		r.predictions = append(r.predictions, prediction{strings.Clone(row[0]), label, predicted, confidence})
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
