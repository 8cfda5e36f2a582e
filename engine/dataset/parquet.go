package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/vitft/vitft/engine/internal/imagepath"
	"github.com/vitft/vitft/engine/internal/parquetfile"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/userfile"
)

// parquetFile is a Parquet file with a column of images, of which some pages are in memory.
type parquetFile struct {
	file
	table  *parquetfile.File
	images *parquetfile.Column // nil: it lists paths
	others []string            // columns that may hold images too
}

// imageNames are what columns of images are called, as [plain] has it; the one that goes before the others first.
var imageNames = []string{"image", "img", "images", "photo", "picture", "jpg", "jpeg", "png", "webp", "bytes"}

// mostRows is how many rows there may be for each byte of a file. All have an image, or a path, of their own.
const mostRows = 8

func openParquet(f file) (*parquetFile, error) {
	p := &parquetFile{file: f}
	var err error
	if p.table, err = parquetfile.Open(&p.file, f.size()); err != nil {
		return nil, err
	}
	if rows := p.table.Rows(); rows > mostRows*f.size() {
		return nil, fmt.Errorf("damaged: it is said to have %d rows, in %d bytes", rows, f.size())
	}
	p.images, p.others, err = chosen(p.table, "images", imageNames, imageType, isImages)
	return p, err
}

func (p *parquetFile) find(name string) (int, bool) {
	i, found := byNumber(name, int(p.table.Rows()))
	return i, found && p.images != nil
}

func (p *parquetFile) image(row int) ([]byte, error) {
	content, err := p.images.Bytes(int64(row))
	switch {
	case err != nil:
	case content == nil:
		err = errors.New("no image: neither bytes nor a path")
	case len(content) > userfile.Image:
		err = fmt.Errorf("has %d bytes; the limit here is %d MiB", len(content), userfile.Image>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("row %d of %s: %w", row, p.path, err)
	}
	return content, nil
}

// isImages reports whether a column holds the bytes of images: binary values, or those in a structure {bytes, path}.
func isImages(c *parquetfile.Column) bool {
	return c.Plain() && c.Kind() == parquet.ByteArray && !c.Text() &&
		(len(c.Path) == 1 || len(c.Path) == 2 && c.Path[1] == "bytes")
}

// isLabels reports whether a column holds whole numbers, truths or text.
func isLabels(c *parquetfile.Column) bool {
	switch c.Kind() {
	case parquet.Int32, parquet.Int64, parquet.Boolean:
		return c.Plain() && len(c.Path) == 1
	}
	return isText(c)
}

func isText(c *parquetfile.Column) bool { return c.Plain() && c.Text() && len(c.Path) == 1 }

// hubFeature is what the Hugging Face hub's library says of a column in a file's metadata.
type hubFeature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
}

const (
	imageType = "Image"
	labelType = "ClassLabel"
)

// hubFeatures are those of a file's columns that have a type of their own; none where the file does not say, or has
// other things there.
func hubFeatures(table *parquetfile.File) map[string]hubFeature {
	var about struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	features := map[string]hubFeature{}
	if json.Unmarshal([]byte(table.Metadata("huggingface")), &about) == nil {
		for name, text := range about.Info.Features {
			var f hubFeature
			if json.Unmarshal(text, &f) == nil { // else it is a list of features
				features[name] = f
			}
		}
	}
	return features
}

// chosen is the column of images or labels: of those that can be, the one that the hub's library says is of the type,
// else the only one, else the one whose name comes first in the list. others are those that it was preferred to. It is
// nil where no column can be.
func chosen(table *parquetfile.File, what string, names []string, hubType string,
	can func(*parquetfile.Column) bool) (column *parquetfile.Column, others []string, err error) {
	features := hubFeatures(table)
	var all, typed []*parquetfile.Column
	for _, c := range table.Columns() {
		if !can(c) {
			continue
		}
		all = append(all, c)
		if hubType != "" && features[c.Path[0]].Type == hubType {
			typed = append(typed, c)
		}
	}
	if len(typed) > 0 {
		all = typed
	}
	rank := func(c *parquetfile.Column) int {
		at := slices.Index(names, plain(c.Path[0]))
		if at < 0 {
			return len(names)
		}
		return at
	}
	slices.SortStableFunc(all, func(a, b *parquetfile.Column) int { return rank(a) - rank(b) })
	if len(all) == 0 {
		return nil, nil, nil
	}
	known := rank(all[0]) < len(names)
	if len(typed) == 0 && what != "images" && !known { // a column of text or numbers may be anything
		return nil, nil, nil
	}
	for _, c := range all[1:] {
		if others = append(others, c.Path[0]); !known {
			return nil, nil, fmt.Errorf("several columns may be the %s: %s; call the one %s", what,
				strings.Join(append(others, all[0].Path[0]), ", "), names[0])
		}
	}
	others = slices.DeleteFunc(others, func(name string) bool {
		return len(typed) == 0 && !slices.Contains(names, plain(name))
	})
	return all[0], others, nil
}

// readParquet reads a table of images and labels as the Hugging Face hub has them, or one that lists paths.
func (a *archives) readParquet(f file) error {
	p, err := openParquet(f)
	if err != nil {
		return err
	}
	if p.images == nil && len(a.samples) > 0 {
		return errors.New("it lists paths, and is not the only file of the set: name it alone")
	} else if p.images == nil {
		if err = a.readList(f.path); isColumns(err) {
			err = fmt.Errorf("no column of images (bytes, or {bytes, path}), and none of paths: %w", err)
		}
		return err
	}
	labels, others, err := p.labels()
	if err != nil {
		return err
	}
	for _, name := range others {
		a.columns = append(a.columns, labels.Path[0]+" rather than "+name)
	}
	for _, name := range p.others {
		a.columns = append(a.columns, p.images.Path[0]+" rather than "+name)
	}
	names := hubFeatures(p.table)[labels.Path[0]].Names
	if len(unique(slices.Clone(names))) < len(names) {
		return errors.New("a class name appears twice in its metadata")
	}
	if a.read > 0 && !slices.Equal(names, a.classes) {
		return errors.New("other names of classes than in the file before it")
	}
	a.classes = names
	a.numbered = names == nil
	elsewhere, err := p.paths()
	if err != nil {
		return err
	}
	splits, err := p.splits()
	if err != nil {
		return err
	}
	kept := texts{}
	return labels.Each(func(row int64, v parquet.Value) error {
		split := ""
		if splits != nil {
			split = splits[row]
		}
		label, err := labelOf(labels, names, v)
		if err != nil && splits != nil && roleOf(split) != a.part { // then it will be passed over, or found empty
			label, err = "", nil
		}
		if err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
		item := p.item(p, strconv.FormatInt(row, 10), int(row))
		if path := elsewhere[row]; path != "" {
			item = Item{Path: path}
		}
		return a.add(sample{Item: item, label: kept.of(label), split: split})
	})
}

// splits are what rows say of the part that they are of; none where there is no column of such, or of several.
func (p *parquetFile) splits() (splits []string, err error) {
	isSplit := func(c *parquetfile.Column) bool { return isLabels(c) && c.Kind() != parquet.Boolean }
	column, _, err := chosen(p.table, "parts", splitColumns, "", isSplit)
	if err != nil || column == nil {
		return nil, err
	}
	names, kept := hubFeatures(p.table)[column.Path[0]].Names, texts{}
	err = column.Each(func(_ int64, v parquet.Value) error {
		split, err := labelOf(column, names, v)
		if err != nil {
			split = "" // none
		}
		splits = append(splits, kept.of(split))
		return nil
	})
	return splits, err
}

// ofPart keeps the rows of the part that is read, where files say which those are.
func (a *archives) ofPart() error {
	by := map[string]int{}
	for _, s := range a.samples {
		by[s.split]++
	}
	parts := partsIn(by)
	if parts == nil {
		return nil
	}
	if parts[a.part] == 0 {
		return fmt.Errorf("it has no row of %s by its column of parts, but %s", a.part, some(numbers(by)))
	}
	all := len(a.samples)
	a.selected = true
	a.samples = slices.DeleteFunc(a.samples, func(s sample) bool { return roleOf(s.split) != a.part })
	maps.DeleteFunc(by, func(split string, _ int) bool { return roleOf(split) == a.part })
	a.find(TakenPart, numbers(by), "of %d rows of %s the %d of %s are taken; others are", all, a.source, len(a.samples),
		a.part)
	return nil
}

// counts says how often each text is there.
func counts(texts []string) map[string]int {
	of := map[string]int{}
	for _, text := range texts {
		of[text]++
	}
	return of
}

var errNoLabels = errors.New("no column of labels: call it label")

// labels is the column of labels, and those that it was preferred to.
func (p *parquetFile) labels() (*parquetfile.Column, []string, error) {
	labels, others, err := chosen(p.table, "labels", labelNames, labelType, isLabels)
	if err == nil && labels == nil {
		err = fmt.Errorf("%w; the columns are %s", errNoLabels, some(columnsOf(p.table)))
		for _, c := range p.table.Columns() {
			if len(c.Path) == 1 && slices.Contains(labelNames, plain(c.Path[0])) {
				err = fmt.Errorf("%w; column %s is of the type %v, and labels are texts or whole numbers (a table "+
					"with a label missing may have made fractions of them)", errNoLabels, c.Name(), c.Kind())
			}
		}
	}
	return labels, others, err
}

// labelOf is the label that a value stands for. A number stands for a name where there are names.
func labelOf(c *parquetfile.Column, names []string, v parquet.Value) (string, error) {
	var n int64
	switch {
	case v.IsNull():
		return "", errors.New("no label")
	case c.Text():
		return strings.TrimSpace(string(v.ByteArray())), nil
	case c.Kind() == parquet.Boolean:
		return strconv.FormatBool(v.Boolean()), nil
	case c.Kind() == parquet.Int32:
		n = int64(v.Int32())
	default:
		n = v.Int64()
	}
	switch {
	case n < 0:
		return "", fmt.Errorf("label %d, which stands for none: take a part of the data set that has labels", n)
	case names == nil:
		return strconv.FormatInt(n, 10), nil
	case n >= int64(len(names)):
		return "", fmt.Errorf("label %d, of %d classes", n, len(names))
	}
	return names[n], nil
}

// unlabelled reports whether a file is a Parquet file whose first row has no label.
func unlabelled(path string) bool {
	f, err := newFile(path)
	if err != nil || kindOf(path) != parquetKind {
		return false
	}
	p, err := openParquet(f)
	if err != nil {
		return false
	}
	labels, _, err := p.labels()
	if err != nil {
		return errors.Is(err, errNoLabels)
	}
	none := false
	_ = labels.Each(func(_ int64, v parquet.Value) error {
		_, err := labelOf(labels, nil, v)
		none = err != nil
		return io.EOF
	})
	return none
}

// paths are those of images that are not in the table, by row: of rows that have no bytes but a path, relative to the
// file, as far as the file says how many those are.
func (p *parquetFile) paths() (map[int64]string, error) {
	nulls, rows := p.images.Nulls()
	absent := map[int64]bool{}
	first, some := int64(0), false
	for g := range nulls {
		for row := first; row < first+rows[g] && nulls[g] == rows[g]; row++ {
			absent[row] = true
		}
		some = some || nulls[g] > 0 && nulls[g] < rows[g]
		first += rows[g]
	}
	if some {
		if err := p.images.Each(func(row int64, v parquet.Value) error {
			if v.IsNull() {
				absent[row] = true
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	paths := map[int64]string{}
	for _, c := range p.table.Columns() {
		if len(absent) == 0 || len(c.Path) != 2 || c.Path[0] != p.images.Path[0] || c.Path[1] != "path" || !c.Text() {
			continue
		}
		if err := c.Each(func(row int64, v parquet.Value) error {
			if absent[row] && !v.IsNull() && len(v.ByteArray()) > 0 {
				paths[row] = p.beside(string(v.ByteArray()))
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// beside is a path that a table has, from where the table is.
func (p *parquetFile) beside(path string) string {
	return imagepath.Under(place.Dir(p.path), path)
}

// columnsOf names the columns of a table.
func columnsOf(table *parquetfile.File) (names []string) {
	for _, c := range table.Columns() {
		names = append(names, c.Name())
	}
	return names
}

// openTable finds the columns of a list in Parquet.
func (l *list) openTable() error {
	f, err := newFile(l.path)
	if err != nil {
		return err
	}
	table, err := parquetfile.Open(&f, f.size())
	if err != nil {
		return err
	}
	if err := l.choose(columnsOf(table)); err != nil {
		return err
	}
	for _, at := range []int{l.columns.path, l.label, l.split} {
		if at >= 0 && !isLabels(table.Columns()[at]) {
			return fmt.Errorf("column %s holds neither text nor whole numbers", table.Columns()[at].Name())
		}
	}
	l.each = func(add func(sample) error) error { return l.rows(table, add) }
	return nil
}

// rows reads a list in Parquet, a column after the other.
func (l *list) rows(table *parquetfile.File, add func(sample) error) error {
	kept := texts{}
	cells := func(at int) (all []string, err error) {
		if at < 0 {
			return make([]string, table.Rows()), nil
		}
		c := table.Columns()[at]
		names := hubFeatures(table)[c.Path[0]].Names
		err = c.Each(func(row int64, v parquet.Value) error {
			cell, err := labelOf(c, names, v)
			if err != nil {
				return fmt.Errorf("row %d: column %s: %w", row, c.Name(), err)
			}
			all = append(all, kept.of(cell))
			return nil
		})
		return all, err
	}
	labels, err := cells(l.label)
	if err != nil {
		return err
	}
	splits, err := cells(l.split)
	if err != nil {
		return err
	}
	return table.Columns()[l.columns.path].Each(func(row int64, v parquet.Value) error {
		path, err := labelOf(table.Columns()[l.columns.path], nil, v)
		if err != nil {
			return fmt.Errorf("row %d: no path", row)
		}
		return add(sample{Item: Item{Path: path}, label: labels[row], split: splits[row]})
	})
}
