package avif

import (
	"fmt"
)

// samples is a picture's planes with 8 bits a sample or, where no fixed arithmetic is for them, as many as they have.
type samples struct {
	width, height int
	layout, bits  int
	planes        [3][]uint16
	strides       [3]int
	colours       colours
	alpha         bool
}

// fixed is a conversion in libyuv's fixed-point arithmetic: 6 bits behind the point, chroma from -128.
type fixed struct{ ub, ug, vg, vr, yg, yb int32 }

// conversions are libyuv's, by matrix and range. Its factors are 7 bits, so that 128 stands for more.
var conversions = map[bool]map[int]fixed{
	false: {
		1: {128, 14, 34, 115, 18997, -1160}, // BT.709
		6: {128, 25, 52, 102, 18997, -1160}, // BT.601
		9: {128, 12, 42, 107, 19003, -1160}, // BT.2020
	},
	true: {
		1: {119, 12, 30, 101, 16320, 32},
		6: {113, 22, 46, 90, 16320, 32},
		9: {120, 11, 37, 94, 16320, 32},
	},
}

// conversion finds the one for a picture's colours, if there is one.
func (c colours) conversion() (fixed, bool) {
	matrix := c.kind()
	if matrix == 2 || matrix == 5 { // unspecified, and another name of BT.601's
		matrix = 6
	}
	f, ok := conversions[c.full][matrix]
	return f, ok
}

// check refuses colours that libavif converts to nothing, too.
func (s *samples) check() error {
	m := s.colours.matrix
	_, known := coefficients[s.colours.kind()]
	switch {
	case m == 0 && s.layout != 0 && s.layout != 3:
		return FormatError("RGB with halved planes")
	case m == 0, m == 8 && s.colours.full:
		return nil
	case !known:
		return UnsupportedError(fmt.Sprintf("a matrix of colours %d with primaries %d", m, s.colours.primaries))
	}
	return nil
}

// kind is the matrix, or where that follows from the primaries, what follows.
func (c colours) kind() int {
	if c.matrix != 12 {
		return c.matrix
	}
	switch c.primaries {
	case 1, 2:
		return 1
	case 5, 6:
		return 6
	case 9:
		return 9
	case 12:
		return displayP3
	}
	return c.matrix
}

// rgb converts rows to dst as libavif does with libyuv, for Pillow: fixed-point arithmetic where libyuv has it, floats
// elsewhere; chroma is spread by a triangle filter.
func (s *samples) rgb(dst []byte) {
	f, ok := s.colours.conversion()
	grey := s.layout == 0
	if !ok && grey && s.colours.matrix == 0 {
		f, ok = conversions[s.colours.full][6]
	}
	if !ok || grey && !s.alpha {
		s.floats(dst)
		return
	}
	// More than 8 bits are cut to 8 first, but for 10 with alpha, which libyuv converts as they are.
	shift, deep := s.bits-8, s.bits == 10 && s.alpha && !grey
	if deep {
		shift = 0
	}
	cb, cr := make([]uint16, s.width+1), make([]uint16, s.width+1)
	for y := range s.height {
		luma := s.planes[0][y*s.strides[0]:][:s.width]
		if grey {
			for x := range s.width {
				cb[x], cr[x] = 128, 128
			}
		} else {
			s.chroma(cb, 1, y, shift)
			s.chroma(cr, 2, y, shift)
		}
		row := dst[3*y*s.width:][:3*s.width]
		for x, v := range luma {
			l, u, w := int32(v>>shift)*0x101, int32(cb[x]), int32(cr[x])
			if deep {
				l, u, w = int32(v)<<6|int32(v)>>4, u>>2, w>>2
			}
			y1 := l*f.yg>>16 + f.yb
			u, w = u-128, w-128
			p := (*[3]byte)(row[3*x:])
			p[0], p[1], p[2] = clamp((y1+w*f.vr)>>6), clamp((y1-u*f.ug-w*f.vg)>>6), clamp((y1+u*f.ub)>>6)
		}
	}
}

func clamp(v int32) byte { return byte(min(max(v, 0), 255)) }

// chroma makes a row of chroma as wide as the picture.
func (s *samples) chroma(out []uint16, plane, y, shift int) {
	stride := s.strides[plane]
	at := func(row, x int) int32 { return int32(s.planes[plane][row*stride+x] >> shift) }
	if s.layout == 3 {
		for x := range s.width {
			out[x] = uint16(at(y, x))
		}
		return
	}
	last := (s.width+1)/2 - 1
	near, far := y, y
	if s.layout == 1 {
		near = y / 2
		if far = near - 1 + y%2*2; far < 0 || far > (s.height+1)/2-1 {
			far = near
		}
	}
	// The first and the last column lie at the edge.
	edge := func(x int) uint16 {
		if near == far {
			return uint16(at(near, x))
		}
		return uint16((3*at(near, x) + at(far, x) + 2) >> 2)
	}
	out[0] = edge(0)
	for x := range last {
		n0, n1 := at(near, x), at(near, x+1)
		if near == far {
			out[2*x+1], out[2*x+2] = uint16((3*n0+n1+2)>>2), uint16((n0+3*n1+2)>>2)
			continue
		}
		f0, f1 := at(far, x), at(far, x+1)
		out[2*x+1] = uint16((9*n0 + 3*n1 + 3*f0 + f1 + 8) >> 4)
		out[2*x+2] = uint16((3*n0 + 9*n1 + f0 + 3*f1 + 8) >> 4)
	}
	out[s.width-1] = edge(last)
}

// coefficients are the parts of red and blue in luma of a matrix.
var coefficients = map[int][2]float32{
	1: {0.2126, 0.0722}, 4: {0.30, 0.11}, 5: {0.299, 0.114}, 6: {0.299, 0.114}, 7: {0.212, 0.087}, 9: {0.2627, 0.0593},
	2: {0.299, 0.114}, displayP3: {0.2289746, 0.0792869},
}

// displayP3 is no number of a matrix, but one that follows from primaries.
const displayP3 = 1000

// floats is libavif's own conversion.
func (s *samples) floats(dst []byte) {
	most := float32(int(1)<<s.bits - 1)
	identity, ycgco := s.colours.matrix == 0, s.colours.matrix == 8
	k := coefficients[s.colours.kind()]
	kr, kb := k[0], k[1]
	kg := 1 - kr - kb
	biasY, rangeY, rangeUV := float32(0), most, most
	if !s.colours.full {
		shift := s.bits - 8
		biasY, rangeY, rangeUV = float32(int(16)<<shift), float32(int(219)<<shift), float32(int(224)<<shift)
	}
	biasUV := float32(int(1) << (s.bits - 1))
	if identity {
		rangeUV, biasUV = rangeY, biasY
	}
	top := uint16(int(1)<<s.bits - 1)
	luma := func(v uint16) float32 { return (float32(min(v, top)) - biasY) / rangeY }
	diff := func(v uint16) float32 { return (float32(min(v, top)) - biasUV) / rangeUV }
	for y := range s.height {
		for x := range s.width {
			l := luma(s.planes[0][y*s.strides[0]+x])
			r, g, b := l, l, l
			if s.layout != 0 {
				u, v := s.spread(1, x, y, diff), s.spread(2, x, y, diff)
				switch {
				case identity:
					r, g, b = v, l, u
				case ycgco:
					t := l - u
					r, g, b = t+v, l+u, t-v
				default: // conversions keep processors from rounding product and sum at once
					r, b = l+float32(2*(1-kr)*v), l+float32(2*(1-kb)*u)
					g = l - (2*(float32(kr*(1-kr)*v)+float32(kb*(1-kb)*u)))/kg
				}
			}
			p := (*[3]byte)(dst[3*(y*s.width+x):])
			p[0], p[1], p[2] = unit(r), unit(g), unit(b)
		}
	}
}

func unit(v float32) byte {
	if !(v > 0) {
		return 0
	}
	return byte(0.5 + float32(min(v, 1)*255))
}

// spread is chroma at a pixel: 9/16 of the nearest sample, 3/16 of each of its neighbours, and 1/16 of the one between.
func (s *samples) spread(plane, x, y int, value func(uint16) float32) float32 {
	stride := s.strides[plane]
	if s.layout == 3 {
		return value(s.planes[plane][y*stride+x])
	}
	beside, beyond := 0, 0
	if x > 0 && (x < s.width-1 || x%2 == 0) {
		beside = x%2*2 - 1
	}
	row := y
	if s.layout == 1 {
		row = y / 2
		if y > 0 && (y < s.height-1 || y%2 == 0) {
			beyond = (y%2*2 - 1) * stride
		}
	}
	at := row*stride + x/2
	p := s.planes[plane]
	return float32(value(p[at])*(9.0/16)) + float32(value(p[at+beside])*(3.0/16)) +
		float32(value(p[at+beyond])*(3.0/16)) + float32(value(p[at+beside+beyond])*(1.0/16))
}
