package run

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/jsontext"
	"github.com/vitft/vitft/internal/machine"
	"github.com/vitft/vitft/internal/userfile"
)

// The files of a run, in the order of their writing.
var (
	ConfigFile      = declare("config.yaml", Run|Required, "every setting", Config.encode, decodeConfig)
	EnvironmentFile = declare("environment.json", Run|Required, "what ran", toJSON[Environment], fromJSON[Environment])
	SkippedFile     = declare("skipped.csv", Run|Cleared, "images that were left out", encodeSkipped, decodeSkipped)
	HistoryFile     = declare("history.jsonl", Run|Cleared, "a line an epoch", encodeHistory, decodeHistory)
	KappaFile       = declare("kappa.csv", Run|Cleared, "κ of every class in every epoch", encodeKappa, decodeKappa)
	CheckpointFile  = streamed("checkpoint/state.gob", Run, "to go on training from", readCheckpoint)
	HeadFile        = declare("head.safetensors", Run|Required, "the head and its calibration", Head.encode, decodeHead)
	AdapterFile     = declare("adapter.safetensors", Run|Cleared, "what was learnt inside the backbone", asIs, asIs)
	LabelsFile      = declare("labels.txt", Run, "the classes in their order", toLines, fromLines)
	PredictionsFile = declare("predictions.csv", Run|Required, "a line an image", Predictions.encode, decodePredictions)
	PicturesFile    = declare("pictures.json", Run|Cleared, "photos of a report", toJSON[Pictures], fromJSON[Pictures])
	WarningsFile    = declare("warnings.txt", Run|Cleared, "what was warned of", toLines, fromLines)
	ModelFile       = declare(artifact.ModelFile, Run, "the whole classifier", asIs, asIs)
	CardFile        = declare(artifact.CardFile, Run, "the model card", asIs, asIs)
	ReportFile      = declare("report.html", Run|Sweep|Cleared, "everything for people", asIs, asIs)
	MetricsFile     = declare("metrics.json", Run|Required, "all metrics, last", toJSON[metric.Metrics], decodeMetrics)
)

// The files of a sweep: one for each head as it is finished, the tables last.
var (
	SweepFile   = declare("sweep.yaml", Sweep|Required, "experiment and settings", Config.encode, decodeConfig)
	HeadsFile   = declare("heads.csv", Sweep|Required|Cleared, "a line a head", encodeHeads, decodeHeads)
	SummaryFile = declare("summary.csv", Sweep|Required|Cleared, "a line a configuration",
		encodeSummary, sweep.ReadCSV)
	SummaryTextFile = declare("summary.md", Sweep|Cleared, "the same for people", asIs, asIs)
	headFiles       = declare("heads/*.json", Sweep, "a head each", encodeSweepHead, decodeSweepHead)
	headsUnderWay   = streamed("heads/*.gob", Sweep, "to go on training one from", readCheckpoint)
	headConfigs     = declare("heads/*.yaml", Sweep, "the run that trains one", Config.encode, decodeConfig)
)

// SweepHeadFile is the file of the head with an id.
func SweepHeadFile(id string) Typed[sweep.Head] { return headFiles.of(id) }

// SweepConfigFile is the file of the settings by which finetune trains the head with an id.
func SweepConfigFile(id string) Typed[Config] { return headConfigs.of(id) }

// SweepCheckpointFile is the file by which the training of the head with an id goes on.
func SweepCheckpointFile(id string) Typed[*Checkpoint] { return headsUnderWay.of(id) }

// of is the file of one head.
func (f Typed[T]) of(id string) Typed[T] {
	f.Name = strings.Replace(f.Name, "*", id, 1)
	return f
}

// Files are all of them.
var Files []File

// File is a file of a run's or a sweep's folder. It is written whole, beside its place, and renamed into it; history
// and κ also grow.
type File struct {
	Name  string // within the folder
	Is    Trait
	Holds string

	check func(f File, dir Folder) error
}

// Trait is what is true of a file.
type Trait int

// The traits.
const (
	Run      Trait = 1 << iota // it is in the folder of a run
	Sweep                      // of a sweep
	Required                   // of a finished one
	Cleared                    // when work begins anew in the folder
)

// Path is where the file is.
func (f File) Path(dir Folder) string { return place.Join(string(dir), filepath.FromSlash(f.Name)) }

// most is how many bytes the file may have. What is decoded takes many times their room: of YAML also much time.
func (f File) most() int64 {
	switch filepath.Ext(f.Name) {
	case ".yaml":
		return 4 * userfile.Small // lists of the experiment's file may be laid out in lines
	case ".safetensors", ".onnx", ".csv":
		return userfile.Large
	}
	return 4 * userfile.Text
}

// Exists says whether there is such a file.
func (f File) Exists(dir Folder) bool {
	_, err := os.Stat(f.Path(dir))
	return err == nil
}

// Check reads the file and refuses what Read would, whatever it holds.
func (f File) Check(dir Folder) error { return f.check(f, dir) }

// Delete removes the file, if it is there.
func (f File) Delete(dir Folder) error {
	if err := disk.Delete(f.Path(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Damaged is err as an error about the file, which is not damaged where memory is short.
func (f File) Damaged(dir Folder, err error) error {
	if machine.Short(err) {
		return fmt.Errorf("read %s: %w", f.Path(dir), err)
	}
	return fault.Data.Errorf("%s is damaged: %w", f.Path(dir), err)
}

// Typed is a file whose content is a T.
type Typed[T any] struct {
	File
	encode func(T) ([]byte, error)
	decode func([]byte) (T, error)
	stream func(r io.ReaderAt, size int64) (T, error) // in their place where the content is not to be in memory at once
}

func declare[T any](name string, is Trait, holds string,
	encode func(T) ([]byte, error), decode func([]byte) (T, error)) Typed[T] {
	return listed(Typed[T]{File{Name: name, Is: is, Holds: holds}, encode, decode, nil})
}

func streamed[T streamer](name string, is Trait, holds string, from func(io.ReaderAt, int64) (T, error)) Typed[T] {
	return listed(Typed[T]{File{Name: name, Is: is, Holds: holds}, nil, nil, from})
}

// streamer writes itself piece by piece, with a sum of its own.
type streamer interface{ stream(w io.Writer) error }

func listed[T any](f Typed[T]) Typed[T] {
	f.check = func(as File, dir Folder) error {
		one := f
		one.File = as
		_, _, err := one.load(dir)
		return err
	}
	Files = append(Files, f.File)
	return f
}

// load reads the file, and checks it by the sums of its folder if that has some.
func (f Typed[T]) load(dir Folder) (content T, sums artifact.Sums, err error) {
	if sums, err = artifact.ReadSums(string(dir)); err != nil {
		return content, sums, err
	}
	if f.stream != nil {
		content, err = f.pieces(dir, sums)
		return content, sums, err
	}
	text, err := userfile.Read(f.Path(dir), f.most())
	if err == nil {
		err = sums.Check(string(dir), f.Name, text)
	}
	if err != nil {
		return content, sums, err
	}
	if content, err = f.decode(text); err != nil {
		err = f.Damaged(dir, err)
	}
	return content, sums, err
}

// pieces reads the file piece by piece; what it holds must fit the machine.
func (f Typed[T]) pieces(dir Folder, sums artifact.Sums) (content T, err error) {
	file, info, err := userfile.Open(f.Path(dir))
	if err != nil {
		return content, err
	}
	defer file.Close()
	if err := machine.Check(float64(info.Size()), "reading %s", f.Path(dir)); err != nil {
		return content, err
	}
	if err := sums.CheckReader(string(dir), f.Name, file); err != nil {
		return content, err
	}
	if content, err = f.stream(file, info.Size()); err != nil {
		err = f.Damaged(dir, err)
	}
	return content, err
}

// Write writes the file, and its sum in a folder that has sums; none for content with nothing to say, such as no
// warnings.
func (f Typed[T]) Write(dir Folder, content T) error {
	if large, is := any(content).(streamer); is {
		return atomicfile.Write(f.Path(dir), large.stream)
	}
	text, err := f.encode(content)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path(dir), err)
	}
	if text == nil {
		return nil
	}
	if err := atomicfile.WriteBytes(f.Path(dir), text); err != nil {
		return err
	}
	sums, err := artifact.ReadSums(string(dir))
	if sums == nil {
		return err
	}
	sums[f.Name] = artifact.SumOf(text)
	return dir.writeSums(sums)
}

// Read reads the file, and checks it in a folder that has sums. A missing one that is not required is the zero value.
func (f Typed[T]) Read(dir Folder) (T, error) {
	content, sums, err := f.load(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.Is&Required == 0 && sums[f.Name] == "":
		return content, nil
	case errors.Is(err, fs.ErrNotExist):
		return content, cmp.Or(dir.Complete(f.File), err)
	}
	return content, err
}

// Into reads the file into content.
func (f Typed[T]) Into(content *T, dir Folder) (err error) {
	*content, err = f.Read(dir)
	return err
}

// grow appends to a file, which Write has begun.
func (f File) grow(dir Folder, content []byte) error {
	file, err := disk.OpenToWrite(f.Path(dir), os.O_APPEND)
	if err != nil {
		return err
	}
	_, err = disk.To{File: file}.Write(content)
	return errors.Join(err, file.Close())
}

func asIs(b []byte) ([]byte, error) { return b, nil }

func toJSON[T any](v T) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

func fromJSON[T any](text []byte) (v T, err error) {
	err = json.Unmarshal(text, &v)
	return v, jsontext.Explain(err)
}

func decodeMetrics(text []byte) (metric.Metrics, error) {
	m, err := fromJSON[metric.Metrics](text)
	if err == nil && len(m.PerClass) == 0 {
		err = errors.New("it names no classes")
	}
	if err == nil && m.Inside != nil && m.Frozen != nil && len(m.Frozen.Accuracy) != len(m.PerClass) {
		err = fmt.Errorf("it has the accuracies of %d classes and of %d", len(m.PerClass), len(m.Frozen.Accuracy))
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

func encodeSummary(s *sweep.Summary) ([]byte, error) { return csvtable.Write(s.CSV()) }
func encodeHeads(s *sweep.Summary) ([]byte, error)   { return csvtable.Write(s.HeadsCSV()) }

// decodeHeads gives a summary of nothing but heads.
func decodeHeads(text []byte) (*sweep.Summary, error) {
	heads, err := sweep.ReadHeads(text)
	return &sweep.Summary{Heads: heads}, err
}
