// Package jpeg decodes JPEG files to exactly the pixels that libjpeg-turbo gives, and so Pillow: those of
// Image.open(f).convert("RGB").
//
//	c, err := jpeg.DecodeConfig(data)        // size, before memory is spent on pixels
//	pix, c, err := jpeg.Decode(nil, data)    // 3·Width·Height bytes of interleaved RGB
//
// The standard leaves the inverse DCT, chroma upsampling and colour conversion to the decoder, and decoders differ by
// several levels. Here each follows libjpeg-turbo's defaults in integer arithmetic: the "islow" inverse DCT,
// triangle-filter ("fancy") chroma upsampling where that library has such a filter and repetition elsewhere,
// fixed-point YCbCr to RGB. On coefficients beyond what an encoder makes of a picture, where its C and SIMD code
// differ, arithmetic wraps and saturates like its x86-64 SIMD code, which is what Pillow's wheels run.
//
// Read are baseline, extended sequential and progressive files of 8 bits with Huffman codes: grey, YCbCr, RGB, CMYK and
// YCCK, with the sampling factors that libjpeg reads. CMYK counts as inverted and becomes RGB by Pillow's formula.
//
// # Caveats
//
//   - The caller limits the size: a file of n bytes can announce, and get memory for, 8·n blocks of
//     64 samples. DecodeConfig tells the size at the cost of reading the header.
//   - Arithmetic coding, 12 bits and lossless files are UnsupportedErrors.
//   - Corrupt scans give what libjpeg guesses: bits that are no code count as 0, a restart marker that
//     is missing or out of turn is looked for as it does, and what lacks data before a marker is grey.
//     Stray bytes between segments are skipped.
//   - A file that ends without an end marker is an error, unless eight bytes or more stand in its place
//     (libjpeg is content with fewer if they happen to suffice). So is a progressive one that ends
//     before the low frequencies are complete, which libjpeg smooths over.
//   - The orientation that EXIF data ask for is not applied.
package jpeg
