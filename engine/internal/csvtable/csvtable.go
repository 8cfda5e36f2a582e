// Package csvtable writes CSV files and reads them by the names of their columns.
//
// Spreadsheets take a cell that begins with = + - @, a tab or a carriage return for a formula, and a path or a class
// name can come from anybody. Such a cell, unless it is a number, is written with an apostrophe before it, as is one
// that begins with apostrophes before one of those; reading takes one away again. So all texts come back as they were.
package csvtable

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"

	"github.com/vitft/vitft/internal/machine"
)

var (
	formula = regexp.MustCompile(`^'*[=+\-@\t\r]`)
	number  = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)
	guarded = regexp.MustCompile(`^'+[=+\-@\t\r]`)
)

// Guard makes a cell that spreadsheets take for what it is.
func Guard(cell string) string {
	if formula.MatchString(cell) && !number.MatchString(cell) {
		return "'" + cell
	}
	return cell
}

// Unguard is the text that Guard has made a cell of.
func Unguard(cell string) string {
	if guarded.MatchString(cell) {
		return cell[1:]
	}
	return cell
}

// Write makes a table of rows, header first.
func Write(rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = Guard(cell)
		}
		if err := out.Write(cells); err != nil {
			return nil, err
		}
	}
	out.Flush()
	return b.Bytes(), out.Error()
}

// Row is a line under the header. What is wrong with the cells that were read is kept for the end of the line.
type Row struct {
	at     map[string]int
	cells  []string
	faults []error
}

// Read calls each for every row of a table that has the needed columns and whose header check, if not nil, takes. It
// ends with the first row that has faults.
func Read(text []byte, needed []string, check func(header []string) error, each func(*Row)) error {
	// A row of empty cells takes some thirty times its text once it is read.
	if err := machine.Check(32*float64(len(text)), "a table of %d bytes", len(text)); err != nil {
		return err
	}
	in := csv.NewReader(bytes.NewReader(text))
	header, err := in.Read()
	if err == io.EOF {
		return errors.New("it is empty")
	} else if err != nil {
		return err
	}
	at := map[string]int{}
	for i, name := range header {
		if _, twice := at[name]; twice {
			return fmt.Errorf("its header has %s twice", name)
		}
		at[name] = i
	}
	for _, name := range needed {
		if _, ok := at[name]; !ok {
			return fmt.Errorf("its header has no %s", name)
		}
	}
	if check != nil {
		if err := check(header); err != nil {
			return err
		}
	}
	for {
		r := &Row{at: at}
		if r.cells, err = in.Read(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if each(r); r.faults != nil {
			line, _ := in.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, errors.Join(r.faults...))
		}
	}
}

// Fault says what is wrong with the row.
func (r *Row) Fault(format string, a ...any) { r.faults = append(r.faults, fmt.Errorf(format, a...)) }

// Text is a cell; "" where there is no such column.
func (r *Row) Text(column string) string {
	if i, ok := r.at[column]; ok {
		return Unguard(r.cells[i])
	}
	return ""
}

// Number is a cell that is a number; NaN if it is empty, infinite for one too large.
func (r *Row) Number(column string) float64 {
	text := r.Text(column)
	if text == "" {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		r.Fault("%s %q is no number", column, text)
	}
	return v
}

// Whole is a cell that is a whole number.
func (r *Row) Whole(column string) int {
	n, err := strconv.Atoi(r.Text(column))
	if err != nil {
		r.Fault("%s %q is no whole number", column, r.Text(column))
	}
	return n
}
