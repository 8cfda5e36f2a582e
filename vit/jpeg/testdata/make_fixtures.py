#!/usr/bin/env python3
"""Makes the fixtures that the tests of package jpeg compare with.

    python3 make_fixtures.py

Needs numpy, Pillow with libjpeg-turbo's SIMD code on x86-64 (made with 13.0.0 and 3.2.0), and cjpeg and
jpegtran of libjpeg-turbo. Writes, beside itself:

  images/NAME.jpg  an image file
  pixels.json      what Pillow sees in them: 8 bytes of SHA-256 of Image.open(f).convert("RGB").tobytes()

A sweep is one file read at every size from 1×1 up to its own: the height and width in its header are
overwritten. The blocks then lie elsewhere and some are left over, but that is no error. pixels.json has a
digest for each width: of the pixels at all heights, one after another. A stream is several files in a row.
"""
import hashlib
import io
import json
import pathlib
import struct
import subprocess

import numpy as np
from PIL import Image

here = pathlib.Path(__file__).parent
images = here / "images"
images.mkdir(exist_ok=True)
for old in images.iterdir():
    old.unlink()
pixels = {"files": {}, "sweeps": {}, "streams": {}}


def rgb(data):
    with Image.open(io.BytesIO(data)) as im:
        return im.convert("RGB").tobytes()


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def keep(name, data):
    (images / (name + ".jpg")).write_bytes(data)
    pixels["files"][name] = digest(rgb(data))


def keep_sweep(name, data):
    (images / (name + ".jpg")).write_bytes(data)
    height, width = struct.unpack(">HH", data[size_at(data):][:4])
    pixels["sweeps"][name] = [
        digest(b"".join(rgb(with_size(data, w, h)) for h in range(1, height + 1))) for w in range(1, width + 1)]


def scene(w, h):
    """Gradients, hard coloured edges and a little noise: what chroma upsampling gets wrong shows."""
    y, x = np.mgrid[:h, :w].astype(float)
    a = np.stack([255 * x / w, 255 * y / h, 255 * (1 - x / w)], -1)
    a[(x // 5 + y // 7) % 3 == 0] = (230, 20, 40)
    a[(x - w / 2) ** 2 + (y - h / 2) ** 2 < (h / 4) ** 2] = (10, 90, 240)
    a += np.random.default_rng(w * 1000 + h).normal(0, 6, a.shape)
    return Image.fromarray(a.clip(0, 255).astype(np.uint8))


def saved(im, **options):
    b = io.BytesIO()
    im.save(b, "JPEG", **options)
    return b.getvalue()


def cjpeg(im, *options):
    ppm = io.BytesIO()
    im.save(ppm, "PPM")
    return subprocess.run(["cjpeg", *options], input=ppm.getvalue(), stdout=subprocess.PIPE, check=True).stdout


def rescanned(data, script):
    """The same coefficients in other scans."""
    path = here / "scans.txt"
    path.write_text(script)
    try:
        return subprocess.run(["jpegtran", "-scans", path], input=data, stdout=subprocess.PIPE, check=True).stdout
    finally:
        path.unlink()


# Segments ------------------------------------------------------------------------------------------

def segments(data):
    """Marker, start and end of the segments up to the first scan."""
    at = 2
    while True:
        end = at + 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
        yield data[at + 1], at, end
        if data[at + 1] == 0xDA:
            return
        at = end


def size_at(data):
    return next(at for marker, at, _ in segments(data) if marker in (0xC0, 0xC1, 0xC2)) + 5


def with_size(data, w, h):
    at = size_at(data)
    return data[:at] + struct.pack(">HH", h, w) + data[at + 4:]


def without(data, *markers):
    for marker, at, end in reversed(list(segments(data))):
        if marker in markers:
            data = data[:at] + data[end:]
    return data


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def named(data, ids):
    """The same with other component identifiers."""
    data = bytearray(data)
    for marker, at, _ in segments(data):
        first, step = {0xC0: (10, 3), 0xC2: (10, 3), 0xDA: (5, 2)}.get(marker, (0, 0))
        for i in range(len(ids) if step else 0):
            data[at + first + i * step] = ids[i]
    return bytes(data)


def adobe(transform):
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


# Sampling and size ---------------------------------------------------------------------------------

im = scene(40, 40)
for name in "1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "3x1", "1x3":
    keep_sweep("sampling-" + name, cjpeg(im, "-optimize", "-quality", "85", "-sample", name))
keep_sweep("sampling-mixed", cjpeg(im, "-optimize", "-sample", "2x2,2x1,1x2"))
keep_sweep("sampling-mixed-4", cjpeg(im, "-optimize", "-sample", "1x4,1x2,1x1"))
keep_sweep("sampling-luma-halved", cjpeg(im, "-optimize", "-sample", "1x1,2x2,1x2"))
keep_sweep("grey", saved(im.convert("L"), optimize=True))
keep_sweep("grey-2x2", cjpeg(im, "-optimize", "-grayscale", "-sample", "2x2"))
keep_sweep("progressive-2x2", saved(im, progressive=True, quality=85))
keep_sweep("progressive-4x1", cjpeg(im, "-progressive", "-quality", "85", "-sample", "4x1"))
keep_sweep("restart-2x2", cjpeg(im, "-optimize", "-quality", "85", "-restart", "2B"))
keep("photo", saved(scene(97, 61), quality=90, optimize=True))

# Quality -------------------------------------------------------------------------------------------

small = scene(16, 16)
stream = [saved(small, quality=q, optimize=True) for q in range(1, 101)]
(images / "qualities.mjpg").write_bytes(b"".join(stream))
pixels["streams"]["qualities"] = [digest(rgb(data)) for data in stream]
keep("wide-tables", cjpeg(scene(27, 19), "-quality", "1"))  # quantisation steps over 255, in an extended frame
rng = np.random.default_rng(5)
keep("noise", saved(Image.fromarray(rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)), quality=100, subsampling=0))
keep("noise-coarse", saved(Image.fromarray((255 * rng.integers(0, 2, (48, 48, 3))).astype(np.uint8)), quality=3))

# Scans ---------------------------------------------------------------------------------------------

base = saved(scene(27, 19), quality=85)
scans = {
    "separate": "0; 1; 2;",
    "partly-separate": "0 1; 2;",
    "reversed": "2; 0 1;",
    "spectral": "0 1 2: 0-0, 0, 0; 0: 1-5, 0, 0; 1: 1-63, 0, 0; 2: 1-63, 0, 0; 0: 6-63, 0, 0;",
    "successive": "0 1 2: 0-0, 0, 3; 0: 1-63, 0, 3; 1: 1-63, 0, 3; 2: 1-63, 0, 3; 0 1 2: 0-0, 3, 2; 0: 1-63, 3, 2;"
                  "1: 1-63, 3, 2; 2: 1-63, 3, 2; 0: 1-63, 2, 1; 1: 1-63, 2, 1; 2: 1-63, 2, 1; 0 1 2: 0-0, 2, 1;"
                  "0 1 2: 0-0, 1, 0; 0: 1-63, 1, 0; 1: 1-63, 1, 0; 2: 1-63, 1, 0;",
    "separate-dc": "0: 0-0, 0, 1; 1: 0-0, 0, 0; 2: 0-0, 0, 2; 2: 0-0, 2, 1; 2: 0-0, 1, 0; 0: 0-0, 1, 0;"
                   "0: 1-63, 0, 0; 1: 1-63, 0, 0; 2: 1-63, 0, 0;",
    "every-coefficient": "0 1 2: 0-0, 0, 0;" + "".join(
        f"{c}: {k}-{k}, 0, 1; {c}: {k}-{k}, 1, 0;" for c in range(3) for k in range(1, 8))
        + "".join(f"{c}: 8-63, 0, 0;" for c in range(3)),
    # The high frequencies never come; libjpeg does not mind, as it only smooths over low ones.
    "without-high-frequencies": "0 1 2: 0-0, 0, 0; 0: 1-20, 0, 0; 1: 1-9, 0, 0; 2: 1-12, 0, 0;",
}
for name, script in scans.items():
    keep("scans-" + name, rescanned(base, script))
large = saved(scene(300, 200), quality=40)  # with runs of blocks without new coefficients
keep("scans-large", rescanned(large, scans["successive"]))
keep("restart-progressive", saved(scene(27, 19), progressive=True, restart_marker_blocks=1))
keep("restart-rows", saved(scene(27, 19), restart_marker_rows=1))
keep("restart-many", saved(scene(80, 80), quality=20, optimize=True, restart_marker_blocks=1))  # numbers start again
progressive = saved(scene(27, 19), progressive=True)
second = [i for i in range(len(progressive)) if progressive[i:i + 2] == b"\xff\xda"][1]
keep("later-quantisation", progressive[:second] + segment(0xDB, b"\0" + bytes([9] * 64)) + progressive[second:])
start = next(at for marker, at, _ in segments(progressive) if marker == 0xDA)
dc = progressive[start:progressive.index(b"\xff\xc4", start)]
keep("scan-twice", progressive[:-2] + dc + progressive[-2:])

# Colours -------------------------------------------------------------------------------------------

plain = without(saved(scene(27, 19), quality=85, subsampling=0), 0xE0)
jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
for name, head, ids in (
    ("plain", b"", b"\1\2\3"), ("ids-rgb", b"", b"RGB"), ("ids-other", b"", b"\x22\x11\x00"), ("ids-equal", b"", b"\0\0\0"),
    ("adobe-0", adobe(0), b"\1\2\3"), ("adobe-1", adobe(1), b"\1\2\3"), ("adobe-2", adobe(2), b"\1\2\3"),
    ("adobe-1-ids-rgb", adobe(1), b"RGB"), ("jfif-adobe-0", jfif + adobe(0), b"\1\2\3"), ("jfif-ids-rgb", jfif, b"RGB"),
    ("short-jfif", segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1"), b"RGB"), ("short-adobe", segment(0xEE, b"Adobe\0\0\0\0\0"), b"\1\2\3"),
):
    keep("colour-" + name, named(plain[:2] + head + plain[2:], ids))
ink = Image.fromarray(np.concatenate([np.asarray(scene(27, 19)), np.asarray(scene(27, 19).convert("L"))[..., None] // 2], -1), "CMYK")
cmyk = without(saved(ink, quality=85), 0xEE)
for name, head in ("plain", b""), ("adobe-0", adobe(0)), ("adobe-1", adobe(1)), ("adobe-2", adobe(2)):
    keep("cmyk-" + name, cmyk[:2] + head + cmyk[2:])


def halved(data):
    """Claims that the second and third of four components are halved; the size is such that blocks suffice."""
    data, at = bytearray(data), size_at(data)
    data[at + 6] = data[at + 15] = 0x22
    return bytes(data)


keep("ycck-2x2", halved(with_size(cmyk[:2] + adobe(2) + cmyk[2:], 16, 14)))
keep("cmyk-2x2", halved(with_size(cmyk[:2] + adobe(0) + cmyk[2:], 15, 16)))
keep("cmyk-progressive", saved(ink, quality=85, progressive=True))

# Oddities ------------------------------------------------------------------------------------------

scan = next(at for marker, at, _ in segments(base) if marker == 0xDA)
keep("fill-bytes", b"\xff\xd8" + b"".join(b"\xff\xff\xff" + base[at:end] for _, at, end in segments(base))
     + base[next(end for marker, _, end in segments(base) if marker == 0xDA):-2] + b"\xff\xff" + base[-2:])
keep("stray-bytes", base[:scan] + b"stray\xff\0" + base[scan:-2] + b"stray" + base[-2:] + b"trailing")
keep("stray-restart-marker", base[:-2] + b"\xff\xd3" + base[-2:])
keep("line-count-marker", base[:-2] + segment(0xDC, b"\0\x13") + base[-2:])
keep("standard-huffman-tables", without(base, 0xC4))
keep("later-huffman-tables", base[:scan] + b"".join(base[at:end] for marker, at, end in segments(base) if marker == 0xC4) + base[scan:])


# Coefficients beyond what an encoder makes of a picture ---------------------------------------------

zigzag = sorted(range(64), key=lambda i: (i // 8 + i % 8, i % 8 if (i // 8 + i % 8) % 2 == 0 else i // 8))


def coded(blocks, steps):
    """A grey file of blocks side by side, each of 64 coefficients in rows, with codes of 8 bits for all symbols."""
    bits, last = [], 0

    def put(value, n):
        bits.extend(value >> i & 1 for i in reversed(range(n)))

    def number(symbol, v):
        n = abs(v).bit_length()
        put(symbol << 4 | n, 8)
        put(v if v >= 0 else v + (1 << n) - 1, n)

    for b in blocks:
        number(0, b[0] - last)
        last, run = b[0], 0
        for i in zigzag[1:]:
            if b[i]:
                while run > 15:
                    put(0xF0, 8)
                    run -= 16
                number(run, b[i])
                run = 0
            else:
                run += 1
        if run:
            put(0, 8)
    bits += [1] * (-len(bits) % 8)
    return (b"\xff\xd8" + segment(0xDB, b"\0" + bytes(steps[i] for i in zigzag))
            + segment(0xC0, struct.pack(">BHHB", 8, 8, 8 * len(blocks), 1) + b"\1\x11\0")
            + segment(0xC4, b"\0" + bytes([0] * 7 + [16] + [0] * 8) + bytes(range(16)))
            + segment(0xC4, b"\x10" + bytes([0] * 7 + [255] + [0] * 8) + bytes(range(255)))
            + segment(0xDA, b"\1\1\0\0\x3f\0")
            + np.packbits(bits).tobytes().replace(b"\xff", b"\xff\0") + b"\xff\xd9")


for name, largest, share, rows, step in (
    ("bright", 60, 0, 8, 255), ("dc", 2047, 0, 8, 255), ("first-row", 1023, 1, 1, 255), ("sparse", 1023, 0.1, 8, 255),
    ("dense", 1023, 1, 8, 255), ("coarse", 8, 0.5, 8, 255), ("middling", 60, 0.2, 8, 40),
):
    steps = rng.integers(1, step + 1, 64).tolist()
    blocks = []
    for _ in range(40):
        b = rng.integers(-largest, largest + 1, 64)
        b[1:] = (b[1:] * (rng.random(63) < share)).clip(-1023, 1023)
        b[8 * rows:] = 0
        blocks.append(b.tolist())
    keep("extreme-" + name, coded(blocks, steps))

(here / "pixels.json").write_text(json.dumps(pixels, indent=0) + "\n")
