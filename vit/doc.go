// Package vit goes from an encoded image to the feature vector of a vision transformer.
//
// Three steps, each usable alone:
//
//	img, err := vit.Decode(data)             // file bytes  → 8-bit RGB
//	err = preprocess.Image(img, pixels)      // RGB         → [3,H,W] float32
//	err = encoder.Encode(ctx, n, load, done) // many images → features, through a Model
//
// Preprocess.Bytes does the first two in one call and without garbage of its own.
//
// # Pixels are Pillow's
//
// Pretrained backbones saw images that Pillow decoded and resampled, and other pixels cost accuracy quietly. Decode
// therefore follows Image.open(f).convert("RGB") to the last bit, in all formats: alpha is dropped and not composited,
// palettes are looked up, CMYK takes Pillow's formula, and JPEG has a decoder of its own, package vit/jpeg, that
// computes what libjpeg-turbo computes. Resampling agrees to the last bit too: two passes of 22-bit fixed point, 8 bits
// per channel between them, filter support widened when shrinking. Reference is Pillow 13, which takes the passes of
// tall images in another order than its predecessors: up to one level apart. testdata/make_fixtures.py, here and in
// jpeg, made the fixtures that the tests compare with.
//
// DecoderID names this behaviour. It is part of Preprocess.Key, so a feature store never mixes features of different
// pixels.
//
// # Caveats
//
//   - 16-bit images keep the high byte. Pillow does so for colour; its conversion of 16-bit grey clips
//     at 255 instead, which leaves a white picture, and is not followed.
//   - Colour profiles and gamma chunks are ignored, as Pillow's convert does.
//   - Broken files that Pillow loads are read: PNG without an end, with wrong checksums or too many
//     pixels, GIF frames larger than the screen, corrupt JPEG scans. Those that it refuses as cut off
//     are refused. The caveats of vit/jpeg and vit/avif hold.
//   - JPEG: arithmetic coding, 12 bits, lossless and DNL are not supported.
//   - TIFF: first page; not YCbCr but in JPEG, LAB, 12 bits, JPEG with alpha or inks, fax in two
//     dimensions by group 3, Zstandard, LZMA, WebP. Where Pillow misreads (separate planes of 16 bits,
//     compressed floats of big-endian files; 4- and 8-bit BMP whose palette is black and white) it is
//     not followed. Raw photos, which look like TIFF, are refused by name.
//   - AVIF: still pictures. HEIC is refused by name, as by Pillow: its decoders are under the LGPL, and
//     HEVC under patents.
//   - Half of an odd margin is rounded as the library does that the preprocessing is from: to even by
//     torchvision, and so by timm, open_clip and Ultralytics, down by Hugging Face's processors.
package vit
