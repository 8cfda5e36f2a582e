package report

import (
	"cmp"
	"context"
	"slices"

	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/plaintext"
)

const (
	classPhotos  = 6    // training photos of a class that are shown, and mistakes
	photosInAll  = 500  // of both kinds, where each class has one
	mostPhotos   = 1000 // of both kinds
	mapPoints    = 1500
	photoSide    = 64  // pixels
	mistakeSide  = 144 // of the worst mistakes
	leastMap     = 3   // images that a map is made of
	photoQuality = 72  // of JPEG
)

// Images are those of a set, of which a report shows some.
type Images struct {
	Set    string
	Paths  []string
	Labels []int
	Open   func(i int) ([]byte, error)
}

// Gather makes what pictures.json holds: copies of some training photos of each class and of mistakes among the images
// that were judged, and a map of their features, which are asked for by their rows.
func Gather(classes []string, train, judged Images, predictions []run.Prediction,
	features func(rows []int) ([]float32, error)) (run.Pictures, error) {
	var p run.Pictures
	type wanted struct {
		of        *Images
		row, side int
	}
	var list []wanted
	rows := map[string]int{}
	for i, path := range judged.Paths {
		rows[path] = i
	}
	worst, byClass := mistakesOf(predictions, classes)
	for _, m := range worst {
		list = append(list, wanted{&judged, rows[m.Path], mistakeSide})
		delete(rows, m.Path)
	}
	for _, class := range classes {
		for _, m := range byClass[class] {
			if row, also := rows[m.Path]; also {
				list = append(list, wanted{&judged, row, photoSide})
			}
		}
	}
	for _, some := range someOf(train.Labels, len(classes)) {
		for _, row := range some {
			list = append(list, wanted{&train, row, photoSide})
		}
	}
	p.Photos = make([]run.Photo, len(list))
	par.For(context.Background(), len(list), 0, func(i int) { // which never ends
		w := list[i]
		photo := run.Photo{Set: w.of.Set, Path: plaintext.Valid(w.of.Paths[w.row]), Label: classes[w.of.Labels[w.row]]}
		content, err := w.of.Open(w.row)
		if err == nil {
			photo.JPEG, err = thumbnail(content, w.side)
		}
		if err != nil {
			photo.Why = err.Error()
		}
		p.Photos[i] = photo
	})
	p.Photos = slices.DeleteFunc(p.Photos, func(photo run.Photo) bool { // why there is none is said of the worst only
		return photo.JPEG == nil && !slices.ContainsFunc(worst, func(m run.Prediction) bool {
			return photo.Set == judged.Set && photo.Path == plaintext.Valid(m.Path)
		})
	})
	var err error
	p.Map, err = mapOf(judged, features)
	return p, err
}

// ofEach is how many pictures of a kind each of so many classes has.
func ofEach(classes int) int { return max(1, min(classPhotos, photosInAll/max(1, classes))) }

// someOf are rows of each class, some of all.
func someOf(labels []int, classes int) [][]int {
	byClass := make([][]int, classes)
	for i, y := range labels {
		byClass[y] = append(byClass[y], i)
	}
	most := ofEach(classes)
	for k, rows := range byClass[:min(classes, mostPhotos)] {
		some := make([]int, min(most, len(rows)))
		for i := range some {
			some[i] = rows[i*len(rows)/len(some)]
		}
		byClass[k] = some
	}
	return byClass[:min(classes, mostPhotos)]
}

// mistakesOf are the wrong predictions with the highest confidence: of all classes, and some of each.
func mistakesOf(predictions []run.Prediction, classes []string) (worst []run.Prediction,
	byClass map[string][]run.Prediction) {
	wrong := slices.DeleteFunc(slices.Clone(predictions), func(p run.Prediction) bool { return p.Label == p.Predicted })
	slices.SortStableFunc(wrong, func(a, b run.Prediction) int { return cmp.Compare(b.Confidence, a.Confidence) })
	byClass = map[string][]run.Prediction{}
	left := mostPhotos
	for _, p := range wrong {
		if of := byClass[p.Label]; len(of) < ofEach(len(classes)) && left > 0 {
			byClass[p.Label] = append(of, p)
			left--
		}
	}
	return cut(wrong, worstImages).Shown, byClass
}

// mapOf puts images on a map, evenly chosen where there are many.
func mapOf(judged Images, features func(rows []int) ([]float32, error)) (run.Map, error) {
	n := len(judged.Paths)
	m := run.Map{Of: n}
	if n < leastMap {
		return m, nil
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(judged.Labels[a], judged.Labels[b]) })
	rows := make([]int, min(n, mapPoints))
	for i := range rows {
		rows[i] = order[i*n/len(rows)]
	}
	slices.Sort(rows)
	x, err := features(rows)
	if err != nil {
		return m, err
	}
	places, variance, ok := project(x, len(rows))
	if !ok {
		return m, nil
	}
	m.Variance = [2]metric.Number{metric.Number(variance[0]), metric.Number(variance[1])}
	for i, row := range rows {
		path := plaintext.Valid(judged.Paths[row])
		m.Points = append(m.Points, run.Point{Path: path, X: places[i][0], Y: places[i][1]})
	}
	return m, nil
}
