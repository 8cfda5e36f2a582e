// Package avif decodes still pictures of AVIF files to Pillow's pixels: those of Image.open(f).convert("RGB").
//
//	c, err := avif.DecodeConfig(data)             // size, before memory is spent on pixels
//	pix, c, err := avif.Decode(ctx, nil, data)    // 3·Width·Height bytes of interleaved RGB
//
// AV1 itself is decoded by dav1d, compiled to WebAssembly without a change and run by wazero: no cgo, no system library,
// memory of its own that cannot grow without bound, and an end when a context says so. dav1d/build.sh builds the file that is
// embedded, dav1d/picture.c is all that stands between. Boxes around the picture are read here, and its colours converted in
// the arithmetic of libyuv and libavif, whose pixels Pillow shows.
package avif
