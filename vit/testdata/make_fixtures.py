#!/usr/bin/env python3
"""Makes the fixtures that the tests of package vit compare with.

    python3 make_fixtures.py [FOLDER WITH PHOTOS]

Needs numpy, Pillow (made with 13.0.0, libjpeg-turbo 3.2.0, libwebp 1.6.0) and, for JPEG samplings that
Pillow cannot write, the shared library libturbojpeg. Writes, beside itself:

  images/NAME        an image file
  expected/NAME.png  its pixels by Image.open(f).convert("RGB"), turned by ImageOps.exif_transpose
  resample.json      SHA-256 of Image.resize of noise, for many sizes and filters
  photos.json        with FOLDER: samples and means of its photos, decoded and preprocessed
"""
import ctypes
import ctypes.util
import hashlib
import io
import json
import pathlib
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
images, expected = here / "images", here / "expected"
for folder in images, expected:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()


def scene(w, h):
    """Gradients, hard coloured edges and a little noise: what chroma upsampling gets wrong shows."""
    y, x = np.mgrid[:h, :w].astype(float)
    a = np.stack([255 * x / w, 255 * y / h, 255 * (1 - x / w)], -1)
    a[(x // 5 + y // 7) % 3 == 0] = (230, 20, 40)
    a[(x - w / 2) ** 2 + (y - h / 2) ** 2 < (h / 4) ** 2] = (10, 90, 240)
    a += np.random.default_rng(w * 1000 + h).normal(0, 6, a.shape)
    return Image.fromarray(a.clip(0, 255).astype(np.uint8))


def keep(name, data, pixels=None):
    """Stores a file and what Pillow sees in it; pixels is for the few cases where vit differs on purpose."""
    (images / name).write_bytes(data)
    if pixels is None:
        with Image.open(io.BytesIO(data)) as im:
            pixels = ImageOps.exif_transpose(im).convert("RGB")
    pixels.save(expected / (name + ".png"), optimize=True)


def saved(im, fmt, **options):
    b = io.BytesIO()
    im.save(b, fmt, **options)
    return b.getvalue()


# JPEG ----------------------------------------------------------------------------------------------

def turbojpeg(a, pixel_format, sampling, quality=90):
    """libjpeg-turbo's encoder; sampling 0 to 5: 4:4:4, 4:2:2, 4:2:0, grey, 4:4:0, 4:1:1."""
    lib = ctypes.CDLL(ctypes.util.find_library("turbojpeg") or "libturbojpeg.so.0")
    lib.tjInitCompress.restype = ctypes.c_void_p
    out, size = ctypes.c_void_p(), ctypes.c_ulong()
    a = np.ascontiguousarray(a)
    h, w, _ = a.shape
    if lib.tjCompress2(ctypes.c_void_p(lib.tjInitCompress()), a.ctypes.data_as(ctypes.c_void_p), w, 0, h,
                       pixel_format, ctypes.byref(out), ctypes.byref(size), sampling, quality, 0):
        raise RuntimeError("tjCompress2")
    return ctypes.string_at(out, size.value)


RGB, CMYK = 0, 11
for w, h in (27, 19), (64, 48), (5, 3), (1, 1), (2, 9), (3, 2), (16, 17):
    for number, name in enumerate(("444", "422", "420")):
        keep(f"{name}-{w}x{h}.jpg", saved(scene(w, h), "JPEG", quality=90, subsampling=number))
for w, h in (27, 19), (5, 3), (1, 1):
    keep(f"440-{w}x{h}.jpg", turbojpeg(scene(w, h), RGB, 4))
    keep(f"411-{w}x{h}.jpg", turbojpeg(scene(w, h), RGB, 5))
keep("progressive-420.jpg", saved(scene(27, 19), "JPEG", quality=85, progressive=True))
keep("progressive-444.jpg", saved(scene(27, 19), "JPEG", quality=85, progressive=True, subsampling=0))
keep("low-quality.jpg", saved(scene(27, 19), "JPEG", quality=20))
keep("grey.jpg", saved(scene(27, 19).convert("L"), "JPEG"))
keep("grey-progressive.jpg", saved(scene(27, 19).convert("L"), "JPEG", progressive=True))
keep("restart.jpg", saved(scene(27, 19), "JPEG", restart_marker_blocks=1))
keep("rgb.jpg", saved(scene(27, 19), "JPEG", keep_rgb=True))
inks = np.concatenate([np.asarray(scene(27, 19)), np.asarray(scene(27, 19).convert("L"))[..., None] // 2], -1)
cmyk = saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=90)
keep("cmyk.jpg", cmyk)
adobe = cmyk.index(b"\xff\xee")
keep("cmyk-without-adobe-marker.jpg", cmyk[:adobe] + cmyk[adobe + 16:])
keep("ycck-444.jpg", turbojpeg(inks, CMYK, 0))
keep("ycck-420.jpg", turbojpeg(inks, CMYK, 2))
for o in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = o
    keep(f"orientation-{o}.jpg", saved(scene(11, 7), "JPEG", quality=95, subsampling=0, exif=exif))


# PNG -----------------------------------------------------------------------------------------------

def png(w, h, depth, colour, rows, interlace=0, extra=b""):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlace))
            + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def unfiltered(a):
    return b"".join(b"\0" + row.tobytes() for row in a)


im = scene(27, 19)
alpha = Image.fromarray(np.random.default_rng(1).integers(0, 256, (19, 27)).astype(np.uint8))
rgba = im.copy()
rgba.putalpha(alpha)
la = Image.merge("LA", (im.convert("L"), alpha))
keep("rgb.png", saved(im, "PNG"))
keep("rgba.png", saved(rgba, "PNG"))
keep("la.png", saved(la, "PNG"))
keep("grey8.png", saved(im.convert("L"), "PNG"))
keep("grey1.png", saved(im.convert("1"), "PNG"))
keep("palette8.png", saved(im.quantize(200), "PNG"))
keep("palette4.png", saved(im.quantize(13), "PNG"))
keep("palette2.png", saved(im.quantize(4), "PNG"))
keep("palette-transparent.png", saved(im.quantize(32), "PNG", transparency=bytes(range(32))))
keep("rgb-transparent-colour.png", saved(im, "PNG", transparency=im.getpixel((3, 3))))
rng = np.random.default_rng(2)
for depth in 2, 4:
    keep(f"grey{depth}.png", png(36, 5, depth, 0, unfiltered(rng.integers(0, 256, (5, 36 * depth // 8)).astype(np.uint8))))
for name, colour, channels in ("rgb16", 2, 3), ("rgba16", 6, 4), ("la16", 4, 2):
    keep(name + ".png", png(19, 11, 16, colour, unfiltered(rng.integers(0, 65536, (11, 19, channels)).astype(">u2"))))
wide = rng.integers(0, 65536, (11, 19)).astype(">u2")
keep("grey16.png", png(19, 11, 16, 0, unfiltered(wide)), Image.fromarray((wide >> 8).astype(np.uint8)).convert("RGB"))
a = np.asarray(im)
passes = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
keep("interlaced.png", png(27, 19, 8, 2, b"".join(unfiltered(a[y::dy, x::dx]) for x, y, dx, dy in passes), interlace=1))
exif = Image.Exif()
exif[0x0112] = 6
keep("orientation.png", saved(scene(11, 7), "PNG", exif=exif))

# WebP ----------------------------------------------------------------------------------------------

for w, h in (27, 19), (64, 48), (5, 3), (1, 1), (2, 2), (16, 17):
    keep(f"lossy-{w}x{h}.webp", saved(scene(w, h), "WEBP", quality=80))
keep("low-quality.webp", saved(im, "WEBP", quality=5))
keep("lossy-alpha.webp", saved(rgba, "WEBP", quality=80))
keep("lossless.webp", saved(im, "WEBP", lossless=True))
keep("lossless-alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True))
keep("lossless-palette.webp", saved(im.quantize(13).convert("RGB"), "WEBP", lossless=True))
keep("animated.webp", saved(im, "WEBP", quality=80, save_all=True, append_images=[im.rotate(90)]))


def riff(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def uint24(*values):
    return b"".join(struct.pack("<I", v)[:3] for v in values)


for name, fmt in ("lossy", {"quality": 80}), ("lossless", {"lossless": True}):  # first frame at (4, 2) of a larger canvas
    frame = saved(scene(11, 7), "WEBP", **fmt)[12:]
    keep(f"offset-{name}.webp", riff(b"RIFF", b"WEBP" + riff(b"VP8X", bytes([2, 0, 0, 0]) + uint24(19, 12))
         + riff(b"ANIM", bytes(6)) + riff(b"ANMF", uint24(2, 1, 10, 6, 100) + b"\0" + frame)))
keep("orientation.webp", saved(scene(11, 7), "WEBP", lossless=True, exif=exif))

# GIF, BMP, TIFF ------------------------------------------------------------------------------------

gif = saved(im.quantize(100), "GIF", interlace=0)
keep("plain.gif", gif)
keep("interlaced.gif", saved(im.quantize(100), "GIF", interlace=1))
transparent = saved(im.quantize(100), "GIF", transparency=7, interlace=0)
keep("transparent.gif", transparent)
keep("animated.gif", saved(im.quantize(60), "GIF", save_all=True, append_images=[im.rotate(180).quantize(60)]))
canvas = struct.pack("<HH", 31, 23)
keep("small-frame.gif", gif[:6] + canvas + gif[10:])
keep("small-frame-transparent.gif", transparent[:6] + canvas + transparent[10:])

keep("rgb.bmp", saved(im, "BMP"))
keep("rgba.bmp", saved(rgba, "BMP"))
keep("palette.bmp", saved(im.quantize(100), "BMP"))
keep("grey.bmp", saved(im.convert("L"), "BMP"))
keep("bilevel.bmp", saved(im.convert("1"), "BMP"))

for compression in "raw", "tiff_lzw", "tiff_adobe_deflate", "packbits":
    keep(f"{compression}.tiff", saved(im, "TIFF", compression=compression))
keep("predictor.tiff", saved(im, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
keep("rgba.tiff", saved(rgba, "TIFF"))
keep("palette.tiff", saved(im.quantize(100), "TIFF"))
keep("grey.tiff", saved(im.convert("L"), "TIFF"))
keep("bilevel.tiff", saved(im.convert("1"), "TIFF"))
keep("fax4-black-is-zero.tiff", saved(im.convert("1"), "TIFF", compression="group4"))
keep("fax4-white-is-zero.tiff", saved(im.convert("1"), "TIFF", compression="group4", tiffinfo={262: 0}))
keep("fax3.tiff", saved(im.convert("1"), "TIFF", compression="group3"))
keep("orientation.tiff", saved(scene(11, 7), "TIFF", tiffinfo={0x0112: 6}))


def tiff(a, bits, extra=None):
    """A big-endian TIFF of one strip, for what Pillow reads but does not write."""
    h, w, n = a.shape
    tags = [(256, 4, w), (257, 4, h), (258, 3, bits), (259, 3, 1), (262, 3, 2), (273, 4, None), (277, 3, n),
            (278, 4, h), (279, 4, a.nbytes)] + ([(338, 3, extra)] if extra else [])
    after = 8 + 2 + 12 * len(tags) + 4
    body = struct.pack(">H", len(tags))
    for tag, kind, value in tags:
        if tag == 258:
            body += struct.pack(">HHII", tag, kind, n, after)
        elif kind == 3:
            body += struct.pack(">HHIHH", tag, kind, 1, value, 0)
        else:
            body += struct.pack(">HHII", tag, kind, 1, after + 2 * n if value is None else value)
    return b"MM\0*" + struct.pack(">I", 8) + body + bytes(4) + struct.pack(f">{n}H", *[bits] * n) + a.tobytes()


keep("rgb16.tiff", tiff(rng.integers(0, 65536, (11, 19, 3)).astype(">u2"), 16))
soft = rng.integers(0, 256, (11, 19, 4)).astype(np.uint8)
soft[..., :3] = soft[..., :3].astype(int) * soft[..., 3:] // 255
keep("premultiplied.tiff", tiff(soft, 8, extra=1))
keep("grey16.tiff", saved(Image.fromarray(wide.astype("<u2")), "TIFF"),
     Image.fromarray((wide >> 8).astype(np.uint8)).convert("RGB"))

# PGM and PPM ---------------------------------------------------------------------------------------

samples = rng.integers(0, 101, (5, 7)).astype(np.uint8)
keep("grey.pgm", saved(im.convert("L"), "PPM"))
keep("rgb.ppm", saved(im, "PPM"))
keep("max100.pgm", b"P5\n# a comment\n7 # another\n5 100\n" + samples.tobytes())
keep("max100.ppm", b"P6 7 5 100 " + rng.integers(0, 101, (5, 7, 3)).astype(np.uint8).tobytes())
keep("max1000.ppm", b"P6 7 5 1000\n" + rng.integers(0, 1001, (5, 7, 3)).astype(">u2").tobytes())
deep = rng.integers(0, 1001, (5, 7)).astype(">u2")
keep("max1000.pgm", b"P5 7 5 1000\n" + deep.tobytes(),
     Image.fromarray(np.round(deep / 1000 * 255).astype(np.uint8)).convert("RGB"))

# Resampling ----------------------------------------------------------------------------------------

filters = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def noise(w, h):
    """The upper bytes of a linear congruential generator; the tests make the same."""
    out, state = bytearray(), w * 65537 + h
    for _ in range(3 * w * h):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    return Image.frombytes("RGB", (w, h), bytes(out))


sizes = [(1, 1), (2, 3), (7, 5), (28, 28), (32, 32), (33, 31), (64, 64), (97, 61), (100, 300), (301, 200), (640, 17)]
targets = [(1, 1), (3, 2), (16, 16), (31, 33), (32, 32), (64, 48), (97, 61), (224, 224), (7, 190)]
cases = []
for w, h in sizes:
    im = noise(w, h)
    for tw, th in targets:
        for name, number in filters.items():
            digest = hashlib.sha256(im.resize((tw, th), number).tobytes()).hexdigest()
            cases.append([w, h, tw, th, name, digest[:16]])
(here / "resample.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")

# Photos --------------------------------------------------------------------------------------------


def samples_of(im, count, state):
    a, out = np.asarray(im), []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        x, y = (state >> 8) % im.width, (state >> 16) % im.height
        out.append([x, y, *a[y, x].tolist()])
    return {"mean": a.reshape(-1, 3).mean(0).round(3).tolist(), "samples": out}


if len(sys.argv) > 1:
    photos = {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.JPEG")):
        im = Image.open(path).convert("RGB")
        edge = 256
        w, h = im.size
        size = (edge, int(edge * h / w)) if w <= h else (int(edge * w / h), edge)
        large = im.resize(size, Image.Resampling.BICUBIC)
        left, top = (int(round((n - 224) / 2.0)) for n in large.size)
        crop = large.crop((left, top, left + 224, top + 224))
        photos[path.name] = {"size": list(im.size), "decoded": samples_of(im, 24, 1), "input": samples_of(crop, 24, 2)}
    (here / "photos.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in photos.items()) + "\n}\n")
