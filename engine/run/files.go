package run

import (
	"bytes"
	"encoding/csv"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/internal/atomicfile"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
)

// The files of a run, in the order of their writing.
var (
	ConfigFile = declare(File{Name: "config.yaml", In: Run, Required: true,
		Holds: "every setting; finetune --config on it repeats the run"}, Config.encode, decodeConfig)
	EnvironmentFile = declare(File{Name: "environment.json", In: Run, Required: true,
		Holds: "what the run ran with beyond its settings"}, toJSON[Environment], fromJSON[Environment])
	SkippedFile = declare(File{Name: "skipped.csv", In: Run, Cleared: true,
		Holds: "images that could not be read"}, encodeSkipped, decodeSkipped)
	HistoryFile = declare(File{Name: "history.jsonl", In: Run, Cleared: true,
		Holds: "a line an epoch"}, encodeHistory, decodeHistory)
	KappaFile = declare(File{Name: "kappa.csv", In: Run, Cleared: true,
		Holds: "κ of every class in every epoch"}, encodeKappa, decodeKappa)
	CheckpointFile = declare(File{Name: "checkpoint/state.gob", In: Run, Cure: "start the run anew without --resume",
		Holds: "what an interrupted training continues from"}, encodeCheckpoint, decodeCheckpoint)
	HeadFile = declare(File{Name: "head.safetensors", In: Run, Required: true,
		Holds: "the trained head, and the temperatures of its calibration"}, Head.encode, decodeHead)
	LabelsFile = declare(File{Name: "labels.txt", In: Run,
		Holds: "the classes in the order of the outputs"}, toLines, fromLines)
	PredictionsFile = declare(File{Name: "predictions.csv", In: Run, Required: true,
		Holds: "what the classifier says of every measured image"}, Predictions.encode, decodePredictions)
	WarningsFile = declare(File{Name: "warnings.txt", In: Run, Cleared: true,
		Holds: "what the run warned of"}, toLines, fromLines)
	ModelFile = declare(File{Name: "model.onnx", In: Run,
		Holds: "the whole classifier"}, toBytes, fromBytes)
	CardFile = declare(File{Name: "README.md", In: Run,
		Holds: "the model card"}, toBytes, fromBytes)
	ReportFile = declare(File{Name: "report.html", In: Run | Sweep, Cleared: true,
		Holds: "everything for people"}, toBytes, fromBytes)
	MetricsFile = declare(File{Name: "metrics.json", In: Run, Required: true,
		Holds: "all metrics; a run that has it is finished"}, toJSON[metric.Metrics], decodeMetrics)
)

// The files of a sweep: a file for each head as it is finished, the tables last.
var (
	SweepFile = declare(File{Name: "sweep.yaml", In: Sweep, Required: true,
		Holds: "the experiment with the settings that all heads share"}, Config.encode, decodeConfig)
	HeadsFile = declare(File{Name: "heads.csv", In: Sweep, Required: true, Cleared: true,
		Holds: "a line a head"}, toCSV, fromCSV)
	SummaryFile = declare(File{Name: "summary.csv", In: Sweep, Required: true, Cleared: true,
		Holds: "a line a configuration"}, toCSV, fromCSV)
	SummaryTextFile = declare(File{Name: "summary.md", In: Sweep, Cleared: true,
		Holds: "the same as a table"}, toBytes, fromBytes)
)

// headFiles are one head of a sweep each.
var headFiles = declare(File{Name: "heads/*.json", In: Sweep,
	Holds: "a head: settings, metrics, predictions"}, toJSON[sweep.Head], fromJSON[sweep.Head])

// SweepHeadFile is the file of the head with an id.
func SweepHeadFile(id string) Typed[sweep.Head] {
	f := headFiles
	f.Name = strings.Replace(f.Name, "*", id, 1)
	return f
}

// Files are all of them.
var Files []File

// File is a file of a run's or a sweep's folder. It is written whole, beside its place, and renamed into it; history
// and κ also grow.
type File struct {
	Name     string // within the folder
	Holds    string
	In       Kind
	Required bool   // what is finished has it
	Cleared  bool   // what begins anew in a folder removes it
	Cure     string // of a damaged one
}

// Kind is whose folder a file is in.
type Kind int

// The kinds of folder.
const (
	Run Kind = 1 << iota
	Sweep
)

// Path is where the file is.
func (f File) Path(dir Folder) string { return filepath.Join(string(dir), filepath.FromSlash(f.Name)) }

// Exists says whether there is such a file.
func (f File) Exists(dir Folder) bool {
	_, err := os.Stat(f.Path(dir))
	return err == nil
}

// Damaged is err as an error about the file.
func (f File) Damaged(dir Folder, err error) error {
	if f.Cure != "" {
		err = fmt.Errorf("%w; %s", err, f.Cure)
	}
	return fault.Data.Errorf("%s is damaged: %w", f.Path(dir), err)
}

// Typed is a file whose content is a T.
type Typed[T any] struct {
	File
	encode func(T) ([]byte, error)
	decode func([]byte) (T, error)
}

func declare[T any](f File, encode func(T) ([]byte, error), decode func([]byte) (T, error)) Typed[T] {
	Files = append(Files, f)
	return Typed[T]{f, encode, decode}
}

// Write writes the file; none for content with nothing to say, such as no warnings.
func (f Typed[T]) Write(dir Folder, content T) error {
	text, err := f.encode(content)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path(dir), err)
	}
	if text == nil {
		return nil
	}
	return dir.write(f.Name, text)
}

// Read reads the file. A missing one that is not required is the zero value.
func (f Typed[T]) Read(dir Folder) (content T, err error) {
	text, err := dir.read(f.Name)
	if errors.Is(err, fs.ErrNotExist) && f.Required {
		return content, dir.unfinished(f.In, f.Name)
	} else if errors.Is(err, fs.ErrNotExist) {
		return content, nil
	} else if err != nil {
		return content, err
	}
	if content, err = f.decode(text); err != nil {
		return content, f.Damaged(dir, err)
	}
	return content, nil
}

// read and write are the only ways to the content of a file, but for appending.
func (d Folder) read(name string) ([]byte, error) { return os.ReadFile(File{Name: name}.Path(d)) }

func (d Folder) write(name string, content []byte) error {
	return atomicfile.Write(File{Name: name}.Path(d), func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

func toBytes(b []byte) ([]byte, error)   { return b, nil }
func fromBytes(b []byte) ([]byte, error) { return b, nil }

func toJSON[T any](v T) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

func fromJSON[T any](text []byte) (v T, err error) {
	err = json.Unmarshal(text, &v)
	return v, err
}

func decodeMetrics(text []byte) (metric.Metrics, error) {
	m, err := fromJSON[metric.Metrics](text)
	if err == nil && len(m.PerClass) == 0 {
		err = errors.New("it names no classes")
	}
	return m, err
}

func toLines(lines []string) ([]byte, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	return []byte(strings.Join(lines, "\n") + "\n"), nil
}

func fromLines(text []byte) ([]string, error) {
	if s := strings.TrimSpace(string(text)); s != "" {
		return strings.Split(s, "\n"), nil
	}
	return nil, nil
}

func toCSV(rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	err := csv.NewWriter(&b).WriteAll(rows)
	return b.Bytes(), err
}

func fromCSV(text []byte) ([][]string, error) { return csv.NewReader(bytes.NewReader(text)).ReadAll() }

// fromTable calls add for every row after the header, which must begin with columns.
func fromTable(text []byte, columns []string, add func(row []string) error) error {
	rows := csv.NewReader(bytes.NewReader(text))
	for first := true; ; first = false {
		row, err := rows.Read()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case first && (len(row) < len(columns) || strings.Join(row[:len(columns)], ",") != strings.Join(columns, ",")):
			return fmt.Errorf("its header is not %s", strings.Join(columns, ","))
		case first:
			continue
		}
		if err := add(row); err != nil {
			line, _ := rows.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// Checkpoint is what an interrupted training continues from: gob keeps every float bit for bit, NaN included.
type Checkpoint struct {
	Key     string // of the feature store: other features would not fit
	Samples int
	Seconds float64 // of training so far
	State   head.State
}

func encodeCheckpoint(c *Checkpoint) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(c)
	return b.Bytes(), err
}

func decodeCheckpoint(content []byte) (*Checkpoint, error) {
	c := new(Checkpoint)
	return c, gob.NewDecoder(bytes.NewReader(content)).Decode(c)
}
