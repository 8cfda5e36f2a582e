package sweep

import (
	"encoding/json"
	"math"

	"gonum.org/v1/gonum/stat"

	"github.com/vitft/vitft/engine/metric"
)

// Comparison is how much better one configuration is than another.
type Comparison struct {
	Difference float64 // of balanced accuracy
	Low, High  float64 // its 95 % confidence interval
	SeedStd    float64 // standard deviation of the difference over the seeds; NaN for one seed
	Seeds      int     // that both have, and that enter
}

// z95 is the two-sided 95 % quantile of the normal distribution.
const z95 = 1.96

// Compare compares the predictions a[s] and b[s] of two configurations, of one head a seed s, on the same images with
// those labels.
//
// Image i counts with d_i, the mean over the seeds of [a right] − [b right]. The difference is the mean over the C
// classes of the classes' means of d, and its standard error is that of a sample stratified by class (Cochran, Sampling
// Techniques, 1977, eq. 5.6):
//
//	SE² = Σ_c s_c²/n_c / C²
//
// with s_c² the variance of d in class c (n_c − 1). A class of one image gives no variance and takes the pooled one of
// the others. The interval is ±1.96 SE: it says how far another draw of test images could move the difference between
// these very heads. What another draw of seeds could do is in SeedStd.
func Compare(a, b [][]int, labels []int, classes int) Comparison {
	seeds := len(a)
	perImage := make([][]float64, classes)
	perSeed := make([]float64, seeds)
	counts := make([]float64, classes)
	filled := 0.0
	for _, y := range labels {
		if counts[y]++; counts[y] == 1 {
			filled++
		}
	}
	for i, y := range labels {
		d := 0.0
		for s := range seeds {
			one := right(a[s][i], y) - right(b[s][i], y)
			d += one / float64(seeds)
			perSeed[s] += one / counts[y] / filled
		}
		perImage[y] = append(perImage[y], d)
	}
	c := Comparison{Seeds: seeds}
	var variances, pooled, freedom float64 // Σ s²/n over classes of two images or more; what the pooled variance is of
	var alone float64
	for _, d := range perImage {
		switch n := float64(len(d)); {
		case n == 0:
		case n == 1:
			c.Difference += d[0] / filled
			alone++
		default:
			mean, variance := stat.MeanVariance(d, nil)
			c.Difference += mean / filled
			variances += variance / n
			pooled += variance * (n - 1)
			freedom += n - 1
		}
	}
	if alone > 0 {
		variances += alone * pooled / freedom // NaN if every class is of one image
	}
	se := math.Sqrt(variances) / filled
	c.Low, c.High = c.Difference-z95*se, c.Difference+z95*se
	c.SeedStd = spread(perSeed).Std
	return c
}

// MarshalJSON writes NaN as null.
func (c Comparison) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"difference": metric.Number(c.Difference), "low": metric.Number(c.Low),
		"high": metric.Number(c.High), "seed_std": metric.Number(c.SeedStd), "seeds": c.Seeds})
}

// Spread is a mean over seeds with its standard deviation (n − 1). Both are NaN without values, Std also for a single
// one.
type Spread struct{ Mean, Std float64 }

// MarshalJSON writes NaN as null.
func (s Spread) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"mean": metric.Number(s.Mean), "std": metric.Number(s.Std)})
}

func spread(values []float64) Spread {
	if len(values) < 2 {
		return Spread{stat.Mean(values, nil), math.NaN()}
	}
	mean, std := stat.MeanStdDev(values, nil)
	return Spread{mean, std}
}

func right(predicted, label int) float64 {
	if predicted == label {
		return 1
	}
	return 0
}
