package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/engine/sweep"
	"github.com/vitft/vitft/head"
)

// BeginHistory begins history.jsonl and kappa.csv anew with the epochs that are done, so that they agree with the state
// that training goes on from, whatever an interrupted run has left.
func (d Folder) BeginHistory(classes []string, done ...head.Epoch) error {
	return errors.Join(HistoryFile.Write(d, done), KappaFile.Write(d, kappaRows(classes, done...)))
}

// AddEpoch adds an epoch to both.
func (d Folder) AddEpoch(classes []string, e head.Epoch) error {
	line, err := encodeHistory([]head.Epoch{e})
	if err != nil {
		return err
	}
	rows, err := csvtable.Write(kappaCells(kappaRows(classes, e)))
	return errors.Join(err, HistoryFile.grow(d, line), KappaFile.grow(d, rows))
}

func kappaRows(classes []string, epochs ...head.Epoch) []KappaRow {
	var rows []KappaRow
	for _, e := range epochs {
		for k, v := range e.Kappa {
			rows = append(rows, KappaRow{e.Number, e.Phase, classes[k], v})
		}
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
		var row []string
		for _, v := range []any{r.Epoch, r.Phase, r.Class, r.Value, r.StdErr, r.Samples, r.Bins, r.Skipped, r.Shrunk} {
			row = append(row, sweep.Format(v))
		}
		cells = append(cells, row)
	}
	return cells
}

func encodeKappa(rows []KappaRow) ([]byte, error) {
	return csvtable.Write(append([][]string{kappaColumns}, kappaCells(rows)...))
}

func decodeKappa(text []byte) (rows []KappaRow, err error) {
	err = csvtable.Read(text, kappaColumns, nil, func(r *csvtable.Row) {
		v := calib.Kappa{Value: r.Number("kappa"), StdErr: r.Number("std_err"), Samples: r.Whole("samples"),
			Bins: r.Whole("bins"), Skipped: r.Text("skipped") == "true", Shrunk: r.Text("shrunk") == "true"}
		if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			r.Fault("kappa %q is no finite number", r.Text("kappa"))
		}
		rows = append(rows, KappaRow{r.Whole("epoch"), head.Phase(r.Text("phase")), r.Text("class"), v})
	})
	return rows, err
}
