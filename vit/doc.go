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
//   - JPEG: arithmetic coding, 12 bits and lossless are not supported. Corrupt or truncated files are
//     errors where libjpeg would guess or paint the missing part grey.
//   - BMP: 1, 4, 8, 24 and 32 bits without compression. TIFF: first page; 1, 8 and 16 bits; grey,
//     palette and RGB(A); no CMYK, JPEG-in-TIFF or separate planes.
//   - Half of an odd margin is rounded as the library does that the preprocessing is from: to even by
//     torchvision, and so by timm, open_clip and Ultralytics, down by Hugging Face's processors.
package vit
