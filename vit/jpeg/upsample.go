package jpeg

// upsampling is a way to spread samples over pixels.
type upsampling uint8

// The triangle filters are there for factors of 2. H2V1 means: two pixels across, one down.
const (
	upsampleBox upsampling = iota // repeat
	upsampleNone
	upsampleH2V1
	upsampleH2V2
	upsampleH1V2
)

// plane is the samples of a component, or some rows of them.
type plane struct {
	pix           []byte
	stride        int
	top           int // number of pix's first row in the component
	width, height int // samples that show some of the picture
	across, down  int // pixels per sample
	kind          upsampling
}

// layOut sets all but the place of the samples, for a component with sampling factors h and v.
func (p *plane) layOut(width, height, h, v, maxH, maxV int) {
	p.top = -1 // the row above
	p.width, p.height = ceilDiv(width*h, maxH), ceilDiv(height*v, maxV)
	p.across, p.down = maxH/h, maxV/v
	p.kind = chooseUpsampling(p.across, p.down, p.width)
}

// chooseUpsampling is libjpeg-turbo's choice (jdsample.c).
func chooseUpsampling(across, down, width int) upsampling {
	switch wide := width > 2; {
	case across == 1 && down == 1:
		return upsampleNone
	case across == 2 && down == 1 && wide:
		return upsampleH2V1
	case across == 2 && down == 2 && wide:
		return upsampleH2V2
	case across == 1 && down == 2:
		return upsampleH1V2
	}
	return upsampleBox
}

// block is where the samples of a block begin.
func (p *plane) block(x, y int) []byte {
	return p.pix[(8*y-p.top)*p.stride+8*x:]
}

// next moves on by rows, keeping the last one as the first.
func (p *plane) next(rows int) {
	copy(p.pix, p.pix[rows*p.stride:][:p.stride])
	p.top += rows
}

// row is row y of the component itself; beyond the first and the last these are repeated.
func (p *plane) row(y int) []byte {
	y = min(max(y, 0), p.height-1) - p.top
	return p.pix[y*p.stride:][:p.width]
}

// upsampled is row y of the picture, in buf unless it is a row of p.
func (p *plane) upsampled(y int, buf []byte) []byte {
	near := p.row(y / p.down)
	far := y/p.down - 1 + y&1*2 // rows in between are 3/4 of the near one and 1/4 of the far one
	switch p.kind {
	case upsampleNone:
		return near
	case upsampleH2V1:
		h2v1(buf, near)
	case upsampleH2V2:
		h2v2(buf, near, p.row(far))
	case upsampleH1V2:
		h1v2(buf, near, p.row(far), 1+y&1)
	default:
		if p.across == 1 {
			return near
		}
		for i, v := range near {
			for j := range p.across {
				buf[i*p.across+j] = v
			}
		}
	}
	return buf
}

// The filters round halves alternately up and down, so as not to make the picture lighter. in and near have three
// samples at least, except for h1v2; out has room for two a sample.

func h2v1(out, in []byte) {
	n := len(in)
	out = out[:2*n]
	left, this := int32(in[0]), int32(in[1])
	out[0] = in[0]
	out[1] = byte((3*left + this + 2) >> 2)
	for i, v := range in[2:] {
		right := int32(v)
		pair := (*[2]byte)(out[2*i+2:])
		pair[0] = byte((3*this + left + 1) >> 2)
		pair[1] = byte((3*this + right + 2) >> 2)
		left, this = this, right
	}
	out[2*n-2] = byte((3*this + left + 1) >> 2)
	out[2*n-1] = in[n-1]
}

func h2v2(out, near, far []byte) {
	n := len(near)
	far, out = far[:n], out[:2*n]
	left := 3*int32(near[0]) + int32(far[0])
	this := 3*int32(near[1]) + int32(far[1])
	out[0] = byte((4*left + 8) >> 4)
	out[1] = byte((3*left + this + 7) >> 4)
	near, far = near[2:], far[2:]
	for i, v := range near {
		right := 3*int32(v) + int32(far[i])
		pair := (*[2]byte)(out[2*i+2:])
		pair[0] = byte((3*this + left + 8) >> 4)
		pair[1] = byte((3*this + right + 7) >> 4)
		left, this = this, right
	}
	out[2*n-2] = byte((3*this + left + 8) >> 4)
	out[2*n-1] = byte((4*this + 7) >> 4)
}

func h1v2(out, near, far []byte, round int) {
	far, out = far[:len(near)], out[:len(near)]
	for i, v := range near {
		out[i] = byte((3*int(v) + int(far[i]) + round) >> 2)
	}
}
