package embedding

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/userfile"
)

// Source gives the vectors of files as features. It is a [feature.Source] of one view.
type Source struct {
	events  event.Events
	tables  map[string]*Table // by source
	made    *Made             // nil: not known
	dim     int
	vectors map[store.ID]vector
	sum     hash.Hash // of all vectors that are used, with their ids
}

// vector is a row's.
type vector struct {
	table  *Table
	row    int
	source string // of the table
}

func (v vector) values() []float32 { return v.table.Vectors[v.row*v.table.Dim:][:v.table.Dim] }
func (v vector) String() string    { return fmt.Sprintf("%s, row %d (from 0)", v.source, v.row) }

// splitOf is the part of a run that a split is, by the names that it goes by.
var splitOf = map[string]string{"train": "train", "training": "train", "val": "val", "valid": "val",
	"validation": "val", "dev": "val", "eval": "test", "test": "test", "testing": "test"}

// Are reports whether the sources of a run are embeddings. Images and embeddings together are refused.
func Are(s *dataset.Sources) (bool, error) {
	named := map[string]string{"train": s.Train, "val": s.Val, "test": s.Test}
	_, holdout := s.Holdout()
	var are, not []string
	for _, key := range []string{"train", "val", "test"} {
		switch source := named[key]; {
		case source == "" || key == "val" && holdout:
		case Is(source):
			are = append(are, key+" "+source)
		default:
			not = append(not, key+" "+source)
		}
	}
	if are != nil && not != nil {
		return true, fault.Config.Errorf("embeddings (%s) and images (%s) cannot be used together; make embeddings of "+
			"the images with vitft embed and the same backbone, or name images for both", strings.Join(are, ", "),
			strings.Join(not, ", "))
	}
	return are != nil, nil
}

// Open reads the training file of a run whose sources are embeddings, and lets s open its sets by it. Where the split
// column of that file has rows for validation or for tests that no source names, s names the file for them too.
func Open(s *dataset.Sources, ev event.Events) (*Source, error) {
	if err := s.Exist(); err != nil {
		return nil, err
	}
	x := &Source{events: ev, tables: map[string]*Table{}, vectors: map[store.ID]vector{}, sum: sha256.New()}
	s.From = x
	if s.Train == "" {
		return x, nil
	}
	t, err := x.table(s.Train)
	if err != nil {
		return nil, err
	}
	splits := t.splits()
	for _, part := range []string{"val", "test"} {
		into := map[string]*string{"val": &s.Val, "test": &s.Test}[part]
		switch n := splits[part]; {
		case n == 0 || len(splits) == 1 || *into == s.Train:
		case *into == "":
			*into = s.Train
			ev.Info("the split column has a set of its own", "set", part, "rows", n, "file", s.Train)
		default:
			ev.Warn("rows of a split are not used, since another set is named", "set", part, "rows", n, "file", s.Train)
		}
	}
	if left := splits[""]; len(splits) > 1 && left > 0 {
		ev.Warn("rows whose split is neither train nor val nor test are left out", "file", s.Train, "rows", left)
	}
	return x, nil
}

// table is the content of a source.
func (x *Source) table(source string) (*Table, error) {
	if t := x.tables[source]; t != nil {
		return t, nil
	}
	t, err := Read(source)
	if err != nil {
		return nil, err
	}
	switch {
	case x.dim != 0 && t.Dim != x.dim:
		return nil, fault.Data.Errorf("%s: its vectors have %d values, the others %d; make all of them with the same "+
			"backbone", source, t.Dim, x.dim)
	case !t.Made.Agrees(x.made):
		return nil, fault.Data.Errorf("%s: its vectors were made by %s, the others by %s; make all of them with the "+
			"same backbone and views", source, t.Made.describe(), x.made.describe())
	}
	if x.dim = t.Dim; x.made == nil {
		x.made = t.Made
	}
	x.tables[source] = t
	return t, nil
}

// Memory is the bytes of the vectors that are in memory.
func (x *Source) Memory() (n int64) {
	for _, t := range x.tables {
		if !t.mapped {
			n += 4 * int64(len(t.Vectors))
		}
	}
	return n
}

// splits counts the rows of each part of a run, "" for those of none.
func (t *Table) splits() map[string]int {
	n := map[string]int{}
	for _, r := range t.Rows {
		n[splitOf[strings.ToLower(r.Split)]]++
	}
	return n
}

// Set is a part of a run as a data set: the rows of its split, all of them where there is one split, or none.
func (x *Source) Set(source string, o dataset.Options) (*dataset.Dataset, []dataset.Finding, error) {
	t, err := x.table(source)
	if err != nil {
		return nil, nil, err
	}
	part, splits := o.Part, t.splits()
	if len(splits) > 1 && splits[part] == 0 {
		return nil, nil, fault.Data.Errorf("%s has no rows for %s: its split column has %s", source, part,
			strings.Join(slices.Sorted(maps.Keys(t.named())), ", "))
	}
	var rows []dataset.Row
	for i, r := range t.Rows {
		if len(splits) > 1 && splitOf[strings.ToLower(r.Split)] != part {
			continue
		}
		v := vector{t, i, source}
		if r.ID == (store.ID{}) {
			r.ID = identify(v.values())
		}
		if old, known := x.vectors[r.ID]; known && !slices.Equal(old.values(), v.values()) {
			return nil, nil, fault.Data.Errorf("%s has another vector than %s, for the same image by its SHA-256; "+
				"make both with the same backbone, or leave out the column sha256", v, old)
		} else if !known {
			x.vectors[r.ID] = v
			x.sum.Write(r.ID[:])
			_ = binary.Write(x.sum, binary.LittleEndian, v.values()) // a hash takes everything
		}
		rows = append(rows, dataset.Row{Path: r.Path, Label: r.Label, ID: r.ID})
	}
	return dataset.Of(source, rows, t.Classes, o)
}

// named counts the rows of each split by its name.
func (t *Table) named() map[string]int {
	n := map[string]int{}
	for _, r := range t.Rows {
		n[r.Split]++
	}
	return n
}

// identify is the hash of a vector.
func identify(values []float32) store.ID {
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, values)
	return store.ID(h.Sum(nil))
}

// Made is what made the vectors; nil: not known.
func (x *Source) Made() *Made { return x.made }

// Key tells these vectors and others apart.
func (x *Source) Key() string { return "embeddings " + hex.EncodeToString(x.sum.Sum(nil)) }

// Dim is the length of a vector.
func (x *Source) Dim() int { return x.dim }

// Ensure is the set of rows: all are there.
func (x *Source) Ensure(ctx context.Context, name string, d *dataset.Dataset, n int) (*feature.Set, error) {
	if n != 1 {
		return nil, fault.Config.Errorf("%d views of embeddings, which have one", n)
	}
	scan, err := d.Scan(ctx, dataset.ScanOptions{})
	if err != nil {
		return nil, err
	}
	return &feature.Set{Name: name, Data: d, Scan: scan}, nil
}

// Gather writes the vectors of rows to dst.
func (x *Source) Gather(_ context.Context, ids []store.ID, _ int, dst []float32) error {
	for i, id := range ids {
		v, known := x.vectors[id]
		if !known {
			return fmt.Errorf("row %d of %d: %w", i, len(ids), store.ErrMissing)
		}
		copy(dst[i*x.dim:(i+1)*x.dim], v.values())
	}
	return nil
}

// Forecast says that nothing is to be encoded.
func (x *Source) Forecast(_ context.Context, name string, d *dataset.Dataset, _ int) (feature.Forecast, error) {
	return feature.Forecast{What: name, Images: len(d.Items)}, nil
}

// LookOver says what there is. Copies among the rows are warnings.
func (x *Source) LookOver(ctx context.Context, d *dataset.Sets, _ feature.Needed) (o feature.Outlook, err error) {
	_, err = feature.EnsureAll(ctx, x, d, feature.Needed{Train: 1, Val: 1, Test: 1}, x.events)
	o.Count(d.Train)
	return o, err
}

// Bytes are those of the image that a row is of, if it is where the row says.
func (x *Source) Bytes(id store.ID, item dataset.Item) ([]byte, error) {
	content, err := place.Read(item.Path, userfile.Image)
	if err == nil && sha256.Sum256(content) != id {
		err = errors.New("it is not the image that the embedding is of")
	}
	if err != nil {
		return nil, fmt.Errorf("there is no picture of an embedding: %w", err)
	}
	return content, nil
}

// Close lets go of nothing.
func (x *Source) Close() error { return nil }
