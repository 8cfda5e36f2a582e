package avif

import (
	"context"
	"fmt"
)

// DecodeConfig reads a file's head.
func DecodeConfig(data []byte) (Config, error) {
	f, err := parse(data)
	if err != nil {
		return Config{}, err
	}
	p, err := f.picture()
	return p.config, err
}

// Memory is how many bytes decoding takes at most, the RGB pixels aside.
func (c Config) Memory() int64 {
	perPixel := int64(34)
	if c.Deep {
		perPixel = 54
	}
	return perPixel*int64(c.coded) + 24<<20
}

// Decode reads a file into RGB pixels, three bytes each, rows from the top without padding. They are in dst if its
// capacity suffices, else in a new slice. It ends when ctx does.
func Decode(ctx context.Context, dst, data []byte) (pix []byte, c Config, err error) {
	f, err := parse(data)
	if err != nil {
		return nil, c, err
	}
	p, err := f.picture()
	if err != nil {
		return nil, c, err
	}
	s := &samples{width: p.config.Width, height: p.config.Height, alpha: p.alpha}
	for i, id := range p.tiles {
		body, err := f.content(id)
		if err != nil {
			return nil, c, err
		}
		if err := s.add(ctx, body, &p, i); err != nil {
			return nil, c, err
		}
	}
	if n := 3 * s.width * s.height; cap(dst) < n {
		dst = make([]byte, n)
	} else {
		dst = dst[:n]
	}
	s.rgb(dst)
	return dst, p.config, nil
}

// add decodes a tile and puts its samples in their place.
func (s *samples) add(ctx context.Context, body []byte, p *picture, i int) error {
	t, err := decode(ctx, body, p.tileW*p.tileH)
	if err != nil {
		return err
	}
	defer t.close()
	if t.width != p.tileW || t.height != p.tileH {
		return FormatError(fmt.Sprintf("a picture of %d×%d pixels where %d×%d are said", t.width, t.height, p.tileW,
			p.tileH))
	}
	if i == 0 {
		s.layout, s.bits, s.colours = t.layout, t.bits, p.colours
		if !s.colours.known {
			s.colours = t.colours
		}
		if err := s.check(); err != nil {
			return err
		}
		whole := frame{width: s.width, height: s.height, layout: s.layout}
		for j := range s.planes {
			w, h := whole.planeSize(j)
			s.strides[j], s.planes[j] = w, make([]uint16, w*h)
		}
	} else if t.layout != s.layout || t.bits != s.bits {
		return FormatError("tiles of different kinds")
	}
	whole := frame{width: s.width, height: s.height, layout: s.layout}
	for j := range s.planes {
		w, h := t.planeSize(j)
		allW, allH := whole.planeSize(j)
		x0, y0 := i%p.columns*w, i/p.columns*h
		if w == 0 || x0 >= allW || y0 >= allH {
			continue
		}
		w, h = min(w, allW-x0), min(h, allH-y0)
		for y := range h {
			src, to := t.planes[j][y*t.strides[j]:], s.planes[j][(y0+y)*s.strides[j]+x0:][:w]
			if t.bits == 8 {
				for x := range to {
					to[x] = uint16(src[x])
				}
				continue
			}
			for x := range to {
				to[x] = uint16(src[2*x]) | uint16(src[2*x+1])<<8
			}
		}
	}
	return nil
}
