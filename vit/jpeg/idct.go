package jpeg

import "encoding/binary"

// block is 8×8 coefficients in rows, the constant one first.
type block [64]int16

// Factors of the one-dimensional transform of C. Loeffler, A. Ligtenberg and G. Moschytz (Practical fast 1-D DCT
// algorithms with 11 multiplications, ICASSP 1989), in 13-bit fixed point: the choice of libjpeg's "islow" transform
// (jidctint.c). Integer arithmetic being exact, its result depends on these integers and on where it is rounded, not on
// the order of the sums.
const (
	fraction = 13 // bits of the factors
	spare    = 2  // more bits that values keep between columns and rows

	f0_298631336 = 2446
	f0_390180644 = 3196
	f0_541196100 = 4433
	f0_765366865 = 6270
	f0_899976223 = 7373
	f1_175875602 = 9633
	f1_501321110 = 12299
	f1_847759065 = 15137
	f1_961570560 = 16069
	f2_053119869 = 16819
	f2_562915447 = 20995
	f3_072711026 = 25172
)

// safeSum is a sum of coefficients' magnitudes up to which no value between columns and rows leaves 16 bits: a
// coefficient adds at most 4·√2·cos(π/16) < 5.55 times its magnitude to one.
const safeSum = 5900

// inverse writes the samples that the coefficients stand for to dst, whose rows are stride apart. nonzero has a bit for
// each coefficient that may be other than zero, sum is their magnitudes' sum.
func (b *block) inverse(nonzero uint64, sum int32, dst []byte, stride int) {
	if nonzero&^1 == 0 {
		level := int32(b[0] << spare) // wraps
		sample := clamp((level+1<<(spare+2))>>(spare+3) + 128)
		row := uint64(sample) * 0x0101010101010101
		for i := range 8 {
			binary.LittleEndian.PutUint64(dst[i*stride:], row)
		}
		return
	}
	var between [64]int32
	b.columns(nonzero, &between)
	if sum > safeSum {
		b.limit(nonzero, &between)
	}
	rows(&between, nonzero&0xf0f0f0f0f0f0f0f0 == 0, dst, stride)
}

// columns is the transform of the columns. Those without coefficients below the first row are constant.
func (b *block) columns(nonzero uint64, out *[64]int32) {
	below := nonzero >> 8
	below |= below >> 32
	below |= below >> 16
	below |= below >> 8
	const shift = fraction - spare
	for i := range 8 {
		x0 := int32(b[i])
		if below>>i&1 == 0 {
			v := x0 << spare
			out[i], out[8+i], out[16+i], out[24+i] = v, v, v, v
			out[32+i], out[40+i], out[48+i], out[56+i] = v, v, v, v
			continue
		}
		x1, x2, x3 := int32(b[8+i]), int32(b[16+i]), int32(b[24+i])
		var e0, e1, e2, e3, o0, o1, o2, o3 int32
		if nonzero>>32 == 0 {
			e0, e1, e2, e3, o0, o1, o2, o3 = low(x0<<fraction+1<<(shift-1), x1, x2, x3)
		} else {
			x4, x5, x6, x7 := int32(b[32+i]), int32(b[40+i]), int32(b[48+i]), int32(b[56+i])
			e0, e1, e2, e3 = even(x0, x2, x4, x6, 1<<(shift-1))
			o0, o1, o2, o3 = odd(x1, x3, x5, x7)
		}
		out[i], out[56+i] = (e0+o0)>>shift, (e0-o0)>>shift
		out[8+i], out[48+i] = (e1+o1)>>shift, (e1-o1)>>shift
		out[16+i], out[40+i] = (e2+o2)>>shift, (e2-o2)>>shift
		out[24+i], out[32+i] = (e3+o3)>>shift, (e3-o3)>>shift
	}
}

// limit makes of the values between columns and rows what the SIMD code's 16 bits hold.
func (b *block) limit(nonzero uint64, between *[64]int32) {
	for i, v := range between {
		if nonzero>>8 == 0 { // then it takes a short cut
			between[i] = int32(int16(v))
		} else {
			between[i] = min(max(v, -1<<15), 1<<15-1)
		}
	}
}

// rows is the transform of the rows; narrow means that the right half of the coefficients is zero.
func rows(in *[64]int32, narrow bool, dst []byte, stride int) {
	const (
		shift = fraction + spare + 3
		grey  = 128<<shift + 1<<(shift-1)
	)
	for i := range 8 {
		x := (*[8]int32)(in[8*i:])
		var e0, e1, e2, e3, o0, o1, o2, o3 int32
		if narrow {
			e0, e1, e2, e3, o0, o1, o2, o3 = low(x[0]<<fraction+grey, x[1], x[2], x[3])
		} else {
			e0, e1, e2, e3 = even(x[0], x[2], x[4], x[6], grey)
			o0, o1, o2, o3 = odd(x[1], x[3], x[5], x[7])
		}
		out := (*[8]byte)(dst[i*stride:])
		out[0], out[7] = clamp((e0+o0)>>shift), clamp((e0-o0)>>shift)
		out[1], out[6] = clamp((e1+o1)>>shift), clamp((e1-o1)>>shift)
		out[2], out[5] = clamp((e2+o2)>>shift), clamp((e2-o2)>>shift)
		out[3], out[4] = clamp((e3+o3)>>shift), clamp((e3-o3)>>shift)
	}
}

// even is the part of coefficients 0, 2, 4 and 6 in samples 0 to 3, plus what rounds them. The sum and the difference
// of two coefficients have 16 bits and wrap, in odd too.
func even(x0, x2, x4, x6, round int32) (e0, e1, e2, e3 int32) {
	z := (x2 + x6) * f0_541196100
	a, b := z+x2*f0_765366865, z-x6*f1_847759065
	sum := int32(int16(x0+x4))<<fraction + round
	difference := int32(int16(x0-x4))<<fraction + round
	return sum + a, difference + b, difference - b, sum - a
}

// odd is the part of coefficients 1, 3, 5 and 7.
func odd(x1, x3, x5, x7 int32) (o0, o1, o2, o3 int32) {
	z3, z4 := int32(int16(x7+x3)), int32(int16(x5+x1))
	z5 := (z3 + z4) * f1_175875602
	z3, z4 = z5-z3*f1_961570560, z5-z4*f0_390180644
	z1, z2 := (x7+x1)*f0_899976223, (x5+x3)*f2_562915447
	return x1*f1_501321110 - z1 + z4,
		x3*f3_072711026 - z2 + z3,
		x5*f2_053119869 - z2 + z4,
		x7*f0_298631336 - z1 + z3
}

// low is both parts where coefficients 4 to 7 are zero; x0 is scaled and rounded.
func low(x0, x1, x2, x3 int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	a, b := x2*(f0_541196100+f0_765366865), x2*f0_541196100
	e0, e1, e2, e3 = x0+a, x0+b, x0-b, x0-a
	z := (x1 + x3) * f1_175875602
	z3, z4 := z-x3*f1_961570560, z-x1*f0_390180644
	return e0, e1, e2, e3,
		x1*(f1_501321110-f0_899976223) + z4,
		x3*(f3_072711026-f2_562915447) + z3,
		z4 - x3*f2_562915447,
		z3 - x1*f0_899976223
}

func clamp(v int32) byte {
	if uint32(v) > 255 {
		return byte(^v >> 31) // 255 above, 0 below
	}
	return byte(v)
}
