package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"github.com/vitft/vitft/engine/metric"
)

const (
	tableMatrix  = 12   // up to so many classes the matrix is a table of numbers
	matrixMost   = 120  // classes that it shows
	matrixCells  = 2500 // that are not empty; the rest of very many are those with fewest images
	otherClasses = 8    // that a class is taken for, or is taken for it
)

// pair are classes of which one is taken for the other.
type pair struct {
	Label, Predicted metric.ClassMetrics
	Count            int
	Share            metric.Number // of the class's samples
}

// Wrong is the number of the mistakes.
func (r *page) Wrong() (n int) {
	for _, times := range r.wrong {
		n += times
	}
	return n
}

// pairs are all classes that are taken for others, the most often ones first.
func (r *page) pairs(of func(label, predicted string) bool) []pair {
	var list []pair
	for k, n := range r.wrong {
		if of == nil || of(k[0], k[1]) {
			label := r.classes[k[0]]
			share := float64(n) / float64(max(1, label.Samples))
			list = append(list, pair{label, r.classes[k[1]], n, metric.Number(share)})
		}
	}
	slices.SortFunc(list, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(percent(b.Share), percent(a.Share)),
			cmp.Compare(a.Label.Label, b.Label.Label), cmp.Compare(a.Predicted.Label, b.Predicted.Label))
	})
	return list
}

// Pairs are the classes most often taken for a certain other one.
func (r *page) Pairs() []pair { return cut(r.pairs(nil), worstPairs).Shown }

// ID is that of the part of the page that is about a class.
func (r *page) ID(label string) string { return r.ids[label] }

// matrix is which class is taken for which, classes with most training images first.
type matrix struct {
	Classes []metric.ClassMetrics
	Of      int           // classes, of which these are those with most mistakes
	Rows    []matrixRow   // where a table has room
	Plot    template.HTML // where it has not
}

type matrixRow struct {
	metric.ClassMetrics
	Cells []matrixCell
}

type matrixCell struct {
	Count int
	Right bool
	Level int // of its tint, 0 to 5
	Text  string
}

// Matrix is the confusion matrix.
func (r *page) Matrix() matrix {
	order := r.byFrequency()
	m := matrix{Classes: order, Of: len(order)}
	if len(order) > matrixMost {
		mistakes := map[string]int{}
		for k, n := range r.wrong {
			mistakes[k[0]] += n
			mistakes[k[1]] += n
		}
		slices.SortStableFunc(order, func(a, b metric.ClassMetrics) int {
			return cmp.Compare(mistakes[b.Label], mistakes[a.Label])
		})
		m.Classes = order[:matrixMost]
		slices.SortStableFunc(m.Classes, moreFrequent)
	}
	if len(order) > tableMatrix {
		m.Plot = r.matrixPlot(m.Classes)
		return m
	}
	for _, row := range m.Classes {
		cells := matrixRow{ClassMetrics: row}
		for _, column := range m.Classes {
			cells.Cells = append(cells.Cells, r.cell(row, column))
		}
		m.Rows = append(m.Rows, cells)
	}
	return m
}

func (r *page) cell(row, column metric.ClassMetrics) matrixCell {
	n, samples := r.wrong[[2]string{row.Label, column.Label}], row.Samples
	if row.Label == column.Label {
		n = r.right[row.Label]
		return matrixCell{n, true, level(n, samples), fmt.Sprintf("%s: %d of %d right", row.Label, n, samples)}
	}
	return matrixCell{n, false, level(n, samples),
		fmt.Sprintf("%s taken for %s: %d of %d", row.Label, column.Label, n, samples)}
}

// level is how strong the tint of a share is: even one image of many shows.
func level(n, of int) int {
	if n == 0 || of <= 0 {
		return 0
	}
	return max(1, min(5, int(math.Ceil(5*math.Sqrt(float64(n)/float64(of))))))
}

// matrixPlot is the matrix of many classes.
func (r *page) matrixPlot(classes []metric.ClassMetrics) template.HTML {
	n := len(classes)
	p := newPlot("taken for", "true class")
	limit(&p.X, 0.5, float64(n)+0.5)
	limit(&p.Y, 0.5, float64(n)+0.5)
	at := map[string]int{}
	below, beside := axisNames{turned: true}, axisNames{beside: true}
	for i, c := range classes {
		at[c.Label] = i
		name := shorten(c.Label, 18)
		below.names, below.at = append(below.names, name), append(below.at, float64(i+1))
		beside.names, beside.at = append(beside.names, name), append(beside.at, float64(n-i))
	}
	room, height := vg.Length(6), vg.Length(590)
	if n <= namedClasses {
		room, height = 101, height+10 // for names of 18 characters
		p.Add(below, beside)
	}
	below.reserve(&p.X, room)
	beside.reserve(&p.Y, room)
	var cells spots
	cell := func(row, column metric.ClassMetrics) {
		c := r.cell(row, column)
		if c.Level == 0 {
			return
		}
		x, y := float64(at[column.Label]+1), float64(n-at[row.Label])
		look := fmt.Sprint("wrong l", c.Level)
		if c.Right {
			look = fmt.Sprint("right l", c.Level)
		}
		cells = append(cells, spot{x0: x - 0.47, y0: y - 0.47, x1: x + 0.47, y1: y + 0.47, look: look, text: c.Text,
			to: r.ids[row.Label]})
	}
	inside := func(label, predicted string) bool {
		_, is := at[label]
		_, also := at[predicted]
		return is && also
	}
	shown := map[string][]metric.ClassMetrics{}
	for _, x := range cut(r.pairs(inside), matrixCells).Shown {
		shown[x.Label.Label] = append(shown[x.Label.Label], x.Predicted)
	}
	for _, row := range classes { // in the order in which arrow keys go through them
		columns := append(shown[row.Label], row)
		slices.SortFunc(columns, func(a, b metric.ClassMetrics) int { return at[a.Label] - at[b.Label] })
		for _, column := range columns {
			cell(row, column)
		}
	}
	var between []plot.Plotter // the groups
	for i := 1; i < n; i++ {
		if classes[i].Shot() != classes[i-1].Shot() {
			v, w := float64(i)+0.5, float64(n-i)+0.5
			between = append(between, segment(v, p.Y.Min, v, p.Y.Max, line(rule, 0.7, nil)),
				segment(p.X.Min, w, p.X.Max, w, line(rule, 0.7, nil)))
		}
	}
	p.Add(between...)
	p.Add(cells)
	return render("Confusion matrix: a row a true class, a column the class that it is taken for", 620,
		panel{p, height})
}

// classDetail is what the page says of a class.
type classDetail struct {
	metric.ClassMetrics
	ID        string
	Cover     *picture  // a training image; nil where there is none
	Photos    []picture // more of them
	Wrong     int       // of its samples
	TakenFor  part[pair]
	TakenFrom part[pair] // what is taken for it
	Mistakes  []mistake
}

// Details are those of the classes in the table.
func (r *page) Details() []classDetail {
	photos := map[string][]picture{}
	for _, p := range r.pictures.Photos {
		if p.Set == "train" && len(p.JPEG) > 0 && len(photos[p.Label]) < ofEach(len(r.PerClass)) {
			photos[p.Label] = append(photos[p.Label], r.pictureOf(p))
		}
	}
	from, to := map[string][]pair{}, map[string][]pair{}
	for _, x := range r.pairs(nil) {
		from[x.Label.Label] = append(from[x.Label.Label], x)
		to[x.Predicted.Label] = append(to[x.Predicted.Label], x)
	}
	var list []classDetail
	for _, c := range r.Classes() {
		d := classDetail{ClassMetrics: c, ID: r.ids[c.Label],
			TakenFor: cut(from[c.Label], otherClasses), TakenFrom: cut(to[c.Label], otherClasses)}
		if own := photos[c.Label]; own != nil {
			d.Cover, d.Photos = &own[0], own[1:]
		}
		for _, x := range from[c.Label] {
			d.Wrong += x.Count
		}
		for _, m := range r.byClass[c.Label] {
			if m := r.mistake(m); m.Image != "" {
				d.Mistakes = append(d.Mistakes, m)
			}
		}
		list = append(list, d)
	}
	return list
}
