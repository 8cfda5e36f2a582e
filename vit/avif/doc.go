// Package avif decodes still pictures of AVIF files to Pillow's pixels: those of Image.open(f).convert("RGB").
//
//	c, err := avif.DecodeConfig(data)             // size, before memory is spent on pixels
//	pix, c, err := avif.Decode(ctx, nil, data)    // 3·Width·Height bytes of interleaved RGB
//
// AV1 itself is decoded by dav1d, compiled to WebAssembly and run by wazero: no cgo, no system library, memory of its
// own that cannot grow without bound, and an end when a context says so. dav1d/build.sh builds the file that is
// embedded, dav1d/picture.c is all that stands between. The boxes around a picture are read here, and its colours
// converted in the arithmetic of libyuv and libavif, whose pixels Pillow shows.
//
// # Caveats
//
//   - Of a file with a sequence it is the still picture that is shown; one without is unsupported.
//   - Colours that were multiplied by alpha stay so, and pictures of 12 bits with alpha can differ from
//     Pillow's.
//   - Rotation is told, not applied; clean apertures are not looked at, as in Pillow.
//   - While a row of blocks is decoded, the garbage collector waits.
package avif
