package vit

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
)

func gifConfig(data []byte) (int, int, error) {
	c, err := gif.DecodeConfig(bytes.NewReader(data))
	return c.Width, c.Height, err
}

// readGIF reads the first frame onto the canvas. What the frame leaves free takes the palette's transparent colour, or
// its first one, as in Pillow.
func readGIF(data []byte, img *RGB) error {
	// Package gif blackens the transparent colour, which Pillow's convert("RGB") keeps; so it is shown a copy that
	// names none.
	free := 0
	if flags := gifTransparency(data); flags != 0 {
		free = int(data[flags+3])
		data = bytes.Clone(data)
		data[flags] &^= 1
	}
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return err
	}
	m, err := gif.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	frame := m.(*image.Paletted)
	img.fromImage(frame)
	if img.Width != config.Width || img.Height != config.Height {
		var colour color.Color = color.Black
		if free < len(frame.Palette) {
			colour = frame.Palette[free]
		}
		r, g, b := rgb(colour)
		img.extend(config.Width, config.Height, frame.Rect.Min.X, frame.Rect.Min.Y, [3]byte{r, g, b})
	}
	return nil
}

// gifTransparency is the place of the flags of the first frame's graphic control extension if they say that a colour is
// transparent, else 0.
func gifTransparency(data []byte) int {
	if len(data) < 13 {
		return 0
	}
	i := 13
	if data[10]&0x80 != 0 { // global palette
		i += 3 << (1 + data[10]&7)
	}
	for i+6 < len(data) && data[i] == 0x21 { // extensions
		if data[i+1] == 0xf9 && data[i+2] == 4 && data[i+3]&1 != 0 {
			return i + 3
		}
		for i += 2; i < len(data) && data[i] != 0; {
			i += 1 + int(data[i])
		}
		i++
	}
	return 0
}
