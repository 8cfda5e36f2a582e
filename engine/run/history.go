package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/head"
)

// History is history.jsonl and kappa.csv of a run under way, which grow by an epoch at a time.
type History struct {
	classes       []string
	epochs, kappa *os.File
}

// OpenHistory begins both files anew with the epochs that are done, so that they agree with the state that training
// goes on from, whatever an interrupted run has left.
func (d Folder) OpenHistory(classes []string, done []head.Epoch) (*History, error) {
	h := &History{classes: classes}
	var kappa []KappaRow
	for _, e := range done {
		kappa = append(kappa, h.rows(e)...)
	}
	err := errors.Join(HistoryFile.Write(d, done), KappaFile.Write(d, kappa))
	if err == nil {
		h.epochs, err = os.OpenFile(HistoryFile.Path(d), os.O_APPEND|os.O_WRONLY, 0)
	}
	if err == nil {
		h.kappa, err = os.OpenFile(KappaFile.Path(d), os.O_APPEND|os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Add adds an epoch.
func (h *History) Add(e head.Epoch) error {
	line, err := encodeHistory([]head.Epoch{e})
	if err != nil {
		return err
	}
	rows, err := toCSV(kappaCells(h.rows(e)))
	if err != nil {
		return err
	}
	_, err = h.epochs.Write(line)
	_, kappaErr := h.kappa.Write(rows)
	return errors.Join(err, kappaErr)
}

// Close closes what is open.
func (h *History) Close() error {
	var errs []error
	for _, f := range []*os.File{h.epochs, h.kappa} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

func (h *History) rows(e head.Epoch) []KappaRow {
	var rows []KappaRow
	for k, v := range e.Kappa {
		rows = append(rows, KappaRow{e.Number, e.Phase, h.classes[k], v})
	}
	return rows
}

func encodeHistory(epochs []head.Epoch) ([]byte, error) {
	lines := []byte{}
	for _, e := range epochs {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		lines = append(append(lines, line...), '\n')
	}
	return lines, nil
}

func decodeHistory(text []byte) ([]head.Epoch, error) {
	var epochs []head.Epoch
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var e head.Epoch
		if err := d.Decode(&e); err == io.EOF {
			return epochs, nil
		} else if err != nil {
			return nil, fmt.Errorf("after %d epochs: %w", len(epochs), err)
		}
		epochs = append(epochs, e)
	}
}

// KappaRow is κ of a class in an epoch.
type KappaRow struct {
	Epoch int
	Phase head.Phase
	Class string
	calib.Kappa
}

var kappaColumns = []string{"epoch", "phase", "class", "kappa", "std_err", "samples", "bins", "skipped", "shrunk"}

func kappaCells(rows []KappaRow) [][]string {
	var cells [][]string
	for _, r := range rows {
		cells = append(cells, []string{strconv.Itoa(r.Epoch), string(r.Phase), r.Class, format(r.Value), format(r.StdErr),
			strconv.Itoa(r.Samples), strconv.Itoa(r.Bins), strconv.FormatBool(r.Skipped), strconv.FormatBool(r.Shrunk)})
	}
	return cells
}

func encodeKappa(rows []KappaRow) ([]byte, error) {
	return toCSV(append([][]string{kappaColumns}, kappaCells(rows)...))
}

func decodeKappa(text []byte) (rows []KappaRow, err error) {
	err = csvtable.Read(text, kappaColumns, nil, func(r *csvtable.Row) {
		v := calib.Kappa{Value: r.Number("kappa"), StdErr: r.Number("std_err"), Samples: r.Whole("samples"), Bins: r.Whole("bins"),
			Skipped: r.Text("skipped") == "true", Shrunk: r.Text("shrunk") == "true"}
		if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			r.Fault("kappa %q is no finite number", r.Text("kappa"))
		}
		rows = append(rows, KappaRow{r.Whole("epoch"), head.Phase(r.Text("phase")), r.Text("class"), v})
	})
	return rows, err
}

// format writes the shortest text that reads back as v; nothing for NaN.
func format(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
