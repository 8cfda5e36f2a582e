package embedding

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// writeNPZ writes arrays as numpy.load reads them without pickle: features, labels as numbers of classes, sha256 as
// bytes, and texts.
func writeNPZ(path string, t *Table, gather Gather) error {
	return atomicfile.Write(path, func(to io.Writer) error {
		z := zip.NewWriter(to)
		add := func(name string, header []byte, fill func(w io.Writer) error) error {
			w, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
			if err == nil {
				_, err = w.Write(header)
			}
			if err == nil {
				err = fill(w)
			}
			return err
		}
		labels, classes := t.numbers(t.Classes, label)
		n := len(t.Rows)
		column := func(text func(Row) string) []string {
			all := make([]string, n)
			for i, r := range t.Rows {
				all[i] = text(r)
			}
			return all
		}
		addTexts := func(name string, texts []string) error {
			width := 1
			for _, s := range texts {
				width = max(width, utf8.RuneCountInString(s))
			}
			return add(name, arrayHeader("<U"+strconv.Itoa(width), len(texts)), func(w io.Writer) error {
				for _, s := range texts {
					cell := make([]byte, 0, 4*width)
					for _, r := range s {
						cell = binary.LittleEndian.AppendUint32(cell, uint32(r))
					}
					if _, err := w.Write(cell[:4*width]); err != nil {
						return err
					}
				}
				return nil
			})
		}
		steps := []func() error{
			func() error {
				return add("features", arrayHeader("<f4", n, t.Dim),
					func(w io.Writer) error { return t.writeVectors(w, gather) })
			},
			func() error {
				return add("labels", arrayHeader("<i8", n),
					func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, labels) })
			},
			func() error {
				return add("sha256", arrayHeader("|u1", n, len(store.ID{})), func(w io.Writer) error {
					for _, r := range t.Rows {
						if _, err := w.Write(r.ID[:]); err != nil {
							return err
						}
					}
					return nil
				})
			},
			func() error { return addTexts("classes", classes) },
			func() error { return addTexts("paths", column(func(r Row) string { return text(r.Path) })) },
			func() error { return addTexts("splits", column(split)) },
			func() error { return addTexts("made", []string{toJSON(t.Made)}) },
			z.Close,
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *Table) writeVectors(w io.Writer, gather Gather) error {
	return t.each(gather, func(_ int, vectors []float32) error {
		return binary.Write(w, binary.LittleEndian, vectors)
	})
}

// readNPZ reads the arrays of a file that numpy.savez wrote.
func readNPZ(path string) (*Table, error) {
	f, info, err := place.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("it is no sound .npz file: %w", err)
	}
	var names []string
	for _, e := range z.File {
		names = append(names, strings.TrimSuffix(e.Name, ".npy"))
	}
	open := func(any []string, read func(r io.Reader, a array, most int64) error) (bool, error) {
		at := among(names, any)
		if at < 0 {
			return false, nil
		}
		r, err := z.File[at].Open()
		if err != nil {
			return true, fmt.Errorf("array %s: %w", names[at], err)
		}
		defer r.Close()
		a, err := readArray(r)
		if err == nil {
			err = read(r, a, int64(min(z.File[at].UncompressedSize64, uint64(info.Size())*deflateMost)))
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r) // at the end of which its sum is checked
		}
		if err != nil {
			return true, fmt.Errorf("array %s: %w", names[at], err)
		}
		return true, nil
	}
	t := new(Table)
	is, err := open(slices.Concat(vectorNames, []string{"x"}), func(r io.Reader, a array, most int64) (err error) {
		if t.Vectors, err = a.vectors(r, most); err == nil {
			t.Rows, t.Dim = make([]Row, a.shape[0]), a.shape[1]
		}
		return err
	})
	if err == nil && !is {
		err = fmt.Errorf("no array of vectors (%s); its arrays are %s", strings.Join(vectorNames, ", "),
			strings.Join(names, ", "))
	}
	if err != nil {
		return nil, err
	}
	texts := func(names []string, set func(i int, text string) error) (bool, error) {
		return open(names, func(r io.Reader, a array, most int64) error {
			all, err := a.texts(r, most)
			if err == nil && len(all) != len(t.Rows) {
				err = fmt.Errorf("it has %d values for %d vectors", len(all), len(t.Rows))
			}
			for i := 0; i < len(all) && err == nil; i++ {
				if err = set(i, all[i]); err != nil {
					err = rowError(i, "%w", err)
				}
			}
			return err
		})
	}
	list := func(name string) (all []string, err error) {
		_, err = open([]string{name}, func(r io.Reader, a array, most int64) error {
			all, err = a.texts(r, most)
			return err
		})
		return all, err
	}
	made, err := list("made")
	if err == nil {
		t.Classes, err = list("classes")
	}
	if err == nil && len(made) == 1 {
		err = t.about(func(key string) (string, bool) { return made[0], key == madeKey })
	}
	if err != nil {
		return nil, err
	}
	is, err = texts(labelNames, func(i int, text string) (err error) {
		t.Rows[i].Label, err = named(t.Classes, text)
		return err
	})
	if err == nil && !is {
		err = fmt.Errorf("no array of labels (%s); its arrays are %s", strings.Join(labelNames, ", "),
			strings.Join(names, ", "))
	}
	if err == nil {
		_, err = texts(pathNames, func(i int, text string) error { t.Rows[i].Path = text; return nil })
	}
	if err == nil {
		_, err = texts(splitNames, func(i int, text string) error { t.Rows[i].Split = text; return nil })
	}
	if err == nil {
		_, err = open(idNames, func(r io.Reader, a array, most int64) error { return t.readIDs(r, a, most) })
	}
	return t, err
}

// deflateMost is the largest factor by which deflate can shrink.
const deflateMost = 1032

// readIDs reads an array [n, 32] of bytes.
func (t *Table) readIDs(r io.Reader, a array, most int64) error {
	if want := []int{len(t.Rows), len(store.ID{})}; !slices.Equal(a.shape, want) || a.size != 1 || a.fortran {
		return fmt.Errorf("it is %v of %d bytes each; it must be %v of bytes", a.shape, a.size, want)
	}
	for i := range t.Rows {
		if _, err := io.ReadFull(r, t.Rows[i].ID[:]); err != nil {
			return fmt.Errorf("cut short: %w", err)
		}
	}
	return nil
}

// named is the class that a label is: itself, unless it is the number of one that has a name.
func named(classes []string, text string) (string, error) {
	n, err := strconv.Atoi(text)
	switch {
	case classes == nil || err != nil:
		return text, missing(text)
	case n < 0 || n >= len(classes):
		return "", fmt.Errorf("%d is no class; the file names %d, from 0", n, len(classes))
	}
	return classes[n], nil
}

// besides is the table of rows that belongs to a .npy file.
func besides(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".csv" }

// The columns of that table; number is the place of the label in the list of classes, whose order it tells.
var besideColumns = []string{"path", "label", "split", "sha256", "number"}

// writeNPY writes the table of rows and then the vectors, of which there are none in between: one cannot be taken for
// those of the other.
func writeNPY(path string, t *Table, gather Gather) error {
	labels, _ := t.numbers(t.Classes, label)
	rows := [][]string{besideColumns}
	for i, r := range t.Rows {
		rows = append(rows, []string{r.Path, r.Label, r.Split, hex.EncodeToString(r.ID[:]),
			strconv.FormatInt(labels[i], 10)})
	}
	table, err := csvtable.Write(rows)
	if err != nil {
		return err
	}
	if err := artifact.Free(besides(path)); err != nil {
		return err
	}
	if err := disk.Delete(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := atomicfile.WriteBytes(besides(path), table); err != nil {
		return err
	}
	return atomicfile.Write(path, func(to io.Writer) error {
		if _, err := to.Write(arrayHeader("<f4", len(t.Rows), t.Dim)); err != nil {
			return err
		}
		return t.writeVectors(to, gather)
	})
}

func readNPY(path string) (*Table, error) {
	here, err := place.Fetch(path) // which can be mapped
	if err != nil {
		return nil, err
	}
	f, info, err := userfile.Open(here)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := new(Table)
	a, err := readArray(f)
	if err == nil {
		err = t.vectorsOf(a, f, info.Size())
	}
	if err != nil {
		return nil, err
	}
	if n, _ := f.Read(make([]byte, 1)); n > 0 {
		return nil, errors.New("it goes on after its last value")
	}
	t.Dim, t.Rows = a.shape[1], make([]Row, 0, min(a.shape[0], len(t.Vectors)))
	text, err := place.Read(besides(path), userfile.Large)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Data.Errorf("there is no %s beside it, with a line path,label,split for each of its %d rows",
			filepath.Base(besides(path)), a.shape[0])
	} else if err != nil {
		return nil, err
	}
	order := map[string]int{}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	err = csvtable.Read(text, []string{"label"}, nil, func(row *csvtable.Row) {
		r := Row{Path: row.Text("path"), Label: row.Text("label"), Split: row.Text("split")}
		if err := errors.Join(missing(r.Label), r.setID(row.Text("sha256"))); err != nil {
			row.Fault("label, sha256: %w", err)
		}
		if n, err := strconv.Atoi(row.Text("number")); err == nil {
			order[r.Label] = n
		}
		t.Rows = append(t.Rows, r)
	})
	if err == nil && len(t.Rows) != a.shape[0] {
		err = fmt.Errorf("it has %d rows for %d vectors in %s", len(t.Rows), a.shape[0], filepath.Base(path))
	}
	if err != nil {
		return nil, fault.Data.Errorf("%s: %w", besides(path), err)
	}
	for name := range order {
		t.Classes = append(t.Classes, name)
	}
	slices.SortFunc(t.Classes, func(a, b string) int { return order[a] - order[b] })
	return t, nil
}
