package vit

import (
	"math"
	"slices"
)

// filter is a resampling kernel; support is its half width in samples.
type filter struct {
	support float64
	weight  func(x float64) float64
}

// filters are Pillow's (Resample.c), by Preprocess.Interpolation. Nearest neighbour has no kernel.
//
// Products are converted to float64 before they are added: that keeps the compiler from fusing the two on machines that
// could, so that weights are the same everywhere.
var filters = map[string]filter{
	"box":      {0.5, boxWeight},
	"bilinear": {1, bilinearWeight},
	"hamming":  {1, hammingWeight},
	"bicubic":  {2, bicubicWeight},
	"lanczos":  {3, lanczosWeight},
}

func boxWeight(x float64) float64 {
	if x > -0.5 && x <= 0.5 {
		return 1
	}
	return 0
}

func bilinearWeight(x float64) float64 {
	return max(0, 1-math.Abs(x))
}

func hammingWeight(x float64) float64 {
	x = math.Abs(x)
	switch {
	case x == 0:
		return 1
	case x >= 1:
		return 0
	}
	x *= math.Pi
	return math.Sin(x) / x * (0.54 + float64(0.46*math.Cos(x)))
}

func bicubicWeight(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64((float64((a+2)*x)-(a+3))*x*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * a
	}
	return 0
}

func lanczosWeight(x float64) float64 {
	if -3 <= x && x < 3 {
		return sinc(x) * sinc(x/3)
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// precision is the number of fraction bits of a weight: 32 less 8 for the pixel and 2 for overshoot.
const precision = 32 - 8 - 2

// axis is one direction of a resampling: the samples that make up each wanted output sample.
type axis struct {
	spec  axisSpec
	taps  int     // input samples per output sample
	start []int   // the first of them, per output sample; start+taps ≤ in
	coef  []int32 // their weights, [len(start)][taps]

	weights []float64 // scratch
}

// axisSpec asks for the output samples [from, from+n) of a resampling of in samples to out.
type axisSpec struct {
	interpolation string
	in, out       int
	from, n       int
}

// prepare computes what spec asks for, unless it is there already.
func (a *axis) prepare(spec axisSpec) {
	if a.spec == spec {
		return
	}
	a.spec = spec
	if spec.interpolation == "nearest" {
		a.prepareNearest()
		return
	}
	f := filters[spec.interpolation]
	scale := float64(spec.in) / float64(spec.out)
	stretch := max(scale, 1) // when shrinking, the kernel covers all input samples
	support := f.support * stretch
	most := int(math.Ceil(support))*2 + 1

	a.start = resized(a.start, spec.n)
	a.weights = resized(a.weights, most)
	// Rows of coef have room for most weights first and are packed to the longest one after.
	a.coef = resized(a.coef, spec.n*most)
	a.taps = 1
	for i := range spec.n {
		center := float64((float64(spec.from+i) + 0.5) * scale)
		lo := max(0, int(center-support+0.5))
		hi := min(spec.in, int(center+support+0.5))
		w := a.weights[:hi-lo]
		sum := 0.0
		for j := range w {
			w[j] = f.weight((float64(lo+j) - center + 0.5) * (1 / stretch))
			sum += w[j]
		}
		row := a.coef[i*most : (i+1)*most]
		clear(row)
		for j, v := range w {
			if sum != 0 {
				v /= sum
			}
			row[j] = int32(float64(v*(1<<precision)) + math.Copysign(0.5, v))
		}
		// Weights that round to nothing at the ends need not be multiplied.
		first, last := 0, len(w)
		for first < last-1 && row[first] == 0 {
			first++
		}
		for last > first+1 && row[last-1] == 0 {
			last--
		}
		copy(row, row[first:last])
		clear(row[last-first:])
		a.start[i] = lo + first
		a.taps = max(a.taps, last-first)
	}
	a.pack(most)
}

// pack closes the gaps between rows of coef, and moves windows that would reach over the end.
func (a *axis) pack(stride int) {
	for i, start := range a.start {
		over := max(0, start+a.taps-a.spec.in)
		row := a.coef[i*a.taps : (i+1)*a.taps]
		copy(row[over:], a.coef[i*stride:i*stride+a.taps-over])
		clear(row[:over])
		a.start[i] = start - over
	}
	a.coef = a.coef[:len(a.start)*a.taps]
}

// prepareNearest picks one sample each; the position is summed up step by step, as Pillow does, which decides where a
// sample lies on the border between two.
func (a *axis) prepareNearest() {
	s := a.spec
	a.taps = 1
	a.start, a.coef = resized(a.start, s.n), resized(a.coef, s.n)
	scale := float64(s.in) / float64(s.out)
	at := float64(scale * 0.5)
	for i := range s.from + s.n {
		if i >= s.from {
			a.start[i-s.from] = min(int(at), s.in-1)
			a.coef[i-s.from] = 1 << precision
		}
		at += scale
	}
}

// reads is the range of input samples that the axis reads.
func (a *axis) reads() (lo, hi int) {
	return slices.Min(a.start), slices.Max(a.start) + a.taps
}

// clip rounds a sum of weighted bytes to a byte: index it with the sum's upper 10 bits, which are the whole part,
// modulo 1024 when negative.
var clip = func() (t [1024]byte) {
	for i := range t {
		t[i] = byte(clipped(i))
	}
	return
}()

// clipped is the pixel value for index i of clip and of tables like it.
func clipped(i int) int {
	if i >= 512 {
		return 0
	}
	return min(i, 255)
}

const half = 1 << (precision - 1) // rounds a sum

// horizontal resamples the rows [lo, hi) of img. Each becomes three rows of dst, one per channel.
func horizontal(dst []byte, img *RGB, a *axis, lo, hi int) {
	n := len(a.start)
	for y := lo; y < hi; y++ {
		src := img.row(y)
		r, g, b := dst[:n], dst[n:2*n], dst[2*n:3*n]
		dst = dst[3*n:]
		coef := a.coef
		for x, start := range a.start {
			k, p := coef[:a.taps], src[3*start:3*(start+a.taps)]
			coef = coef[a.taps:]
			sr, sg, sb := int32(half), int32(half), int32(half)
			for len(k) >= 4 && len(p) >= 12 {
				k4, p4 := (*[4]int32)(k), (*[12]byte)(p)
				sr += k4[0]*int32(p4[0]) + k4[1]*int32(p4[3]) + k4[2]*int32(p4[6]) + k4[3]*int32(p4[9])
				sg += k4[0]*int32(p4[1]) + k4[1]*int32(p4[4]) + k4[2]*int32(p4[7]) + k4[3]*int32(p4[10])
				sb += k4[0]*int32(p4[2]) + k4[1]*int32(p4[5]) + k4[2]*int32(p4[8]) + k4[3]*int32(p4[11])
				k, p = k[4:], p[12:]
			}
			for len(k) >= 1 && len(p) >= 3 {
				sr += k[0] * int32(p[0])
				sg += k[0] * int32(p[1])
				sb += k[0] * int32(p[2])
				k, p = k[1:], p[3:]
			}
			r[x] = clip[uint32(sr)>>precision]
			g[x] = clip[uint32(sg)>>precision]
			b[x] = clip[uint32(sb)>>precision]
		}
	}
}

// vertical resamples what horizontal made of the rows from lo on, and writes channel c of it through table c: dst is
// [3, len(a.start), width]. sums is scratch for one row.
func vertical(dst []float32, src []byte, lo, width int, a *axis, tables *[3][1024]float32, sums []int32) {
	sums = sums[:width]
	for y, start := range a.start {
		coef := a.coef[y*a.taps:][:a.taps]
		for c := range tables {
			table := &tables[c]
			rows := src[(3*(start-lo)+c)*width:]
			out := dst[(c*len(a.start)+y)*width:][:width]
			if a.taps == 4 { // bicubic enlargement, the most frequent case, needs no sums in memory
				lookRows4(out, rows, 3*width, coef, table)
				continue
			}
			addRows(sums, rows, 3*width, coef)
			for i, s := range sums {
				out[i] = table[uint32(s)>>precision]
			}
		}
	}
}

// lookRows4 sets out to what table has for the weighted sum of four rows, stride apart.
func lookRows4(out []float32, rows []byte, stride int, k []int32, table *[1024]float32) {
	n := len(out) // every row is cut to it, which frees the loop of bounds checks
	r0, r1, r2, r3 := rows[:n], rows[stride:][:n], rows[2*stride:][:n], rows[3*stride:][:n]
	k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
	for i := range out {
		s := half + k0*int32(r0[i]) + k1*int32(r1[i]) + k2*int32(r2[i]) + k3*int32(r3[i])
		out[i] = table[uint32(s)>>precision]
	}
}

// verticalFirst resamples img to dst, of the same width, for horizontal to go on with.
func verticalFirst(dst, img *RGB, a *axis, sums []int32) {
	dst.resize(img.Width, len(a.start))
	sums = sums[:3*img.Width]
	for y, start := range a.start {
		addRows(sums, img.Pix[start*len(sums):], len(sums), a.coef[y*a.taps:][:a.taps])
		out := dst.row(y)[:len(sums)]
		for i, s := range sums {
			out[i] = clip[uint32(s)>>precision]
		}
	}
}

// addRows sets sums to the weighted sum of rows, which are stride apart, in 22-bit fixed point.
func addRows(sums []int32, rows []byte, stride int, coef []int32) {
	for i := range sums {
		sums[i] = half
	}
	for ; len(coef) >= 4; coef = coef[4:] {
		addRows4(sums, rows, stride, coef)
		rows = rows[min(4*stride, len(rows)):]
	}
	for _, k := range coef {
		addRow(sums, rows, k)
		rows = rows[min(stride, len(rows)):]
	}
}

// addRow adds a weighted row to sums.
func addRow(sums []int32, row []byte, k int32) {
	row = row[:len(sums)]
	for i, v := range row {
		sums[i] += k * int32(v)
	}
}

// addRows4 adds four weighted rows, stride apart, to sums.
func addRows4(sums []int32, rows []byte, stride int, k []int32) {
	n := len(sums)
	r0, r1, r2, r3 := rows[:n], rows[stride:][:n], rows[2*stride:][:n], rows[3*stride:][:n]
	k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
	for i := range sums {
		sums[i] += k0*int32(r0[i]) + k1*int32(r1[i]) + k2*int32(r2[i]) + k3*int32(r3[i])
	}
}

// resized is s with n elements, whose content is undefined.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
