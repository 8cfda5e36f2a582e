#!/usr/bin/env python3
"""Makes variants.json.gz, small files as people have them, broken ones too, and what Pillow sees in them,
and an AVIF of one colour.

    python3 make_variants.py

Needs numpy, Pillow (made with 13.0.0), tifffile and imagecodecs. Each entry has the file (base64) and width, height and
SHA-256 (16 digits) of the RGB bytes by ImageOps.exif_transpose(Image.open(f)).convert("RGB"), or null where Pillow
does not load it, and neither does package vit.
"""
import base64
import gzip
import hashlib
import io
import json
import pathlib
import struct
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(1)
variants = {}
W, H = 13, 9


def noise(n):
    return rng.integers(0, 256, n, dtype=np.uint8).tobytes()


def scene(w=W, h=H, bands=3):
    y, x = np.mgrid[:h, :w].astype(float)
    a = np.stack([255 * x / w, 255 * y / h, 255 * (1 - x / w), 128 + 100 * np.sin(x / 3)], -1)[..., :bands]
    return (a + rng.normal(0, 9, a.shape)).clip(0, 255).astype(np.uint8)


def add(name, data, loads=True):
    try:
        im = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        seen = [*im.size, hashlib.sha256(im.tobytes()).hexdigest()[:16]]
    except Exception:  # of any kind
        seen = None
    assert loads == (seen is not None), (name, seen)
    variants[name] = [base64.b64encode(data).decode(), seen]


def saved(im, fmt, **options):
    b = io.BytesIO()
    im.save(b, fmt, **options)
    return b.getvalue()


def exif(orientation, order="<"):
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
xmp_element = b"<tiff:Orientation>8</tiff:Orientation>"

# PNG -----------------------------------------------------------------------------------------------
channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind, body, crc=None):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)


def rows(w, h, depth, colour, interlaced):
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    b = b""
    for x, y, dx, dy in passes:
        pw, ph = (w - x + dx - 1) // dx, (h - y + dy - 1) // dy
        for _ in range(ph if pw > 0 else 0):
            b += bytes([rng.integers(5)]) + noise((pw * depth * channels[colour] + 7) // 8)
    return b


end = chunk(b"IEND", b"")
for colour, depth, interlaced in [(0, 1, 1), (2, 8, 0), (3, 2, 0), (4, 8, 1), (6, 16, 0)]:
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, depth, colour, 0, 0, interlaced))
    plte = chunk(b"PLTE", noise(3 << depth)) if colour == 3 else b""
    raw = rows(W, H, depth, colour, interlaced)
    z = zlib.compress(raw)
    name = f"png-{colour}-{depth}-{interlaced}-"
    row = (W * depth * channels[colour] + 7) // 8 + 1
    for what, rest, loads in [
        ("plain", chunk(b"IDAT", z) + end, True),
        ("no-end", chunk(b"IDAT", z), True),
        ("wrong-crc", chunk(b"IDAT", z, 1) + end, True),
        ("more-pixels", chunk(b"IDAT", zlib.compress(raw + raw[:40])) + end, True),
        ("no-sum", chunk(b"IDAT", z[:-4]) + end, True),
        ("wrong-sum", chunk(b"IDAT", z[:-4] + b"abcd") + end, False),
        ("cut-sum", (chunk(b"IDAT", z))[:-6], True),
        ("in-pieces", b"".join(chunk(b"IDAT", z[i:i + 7]) for i in range(0, len(z), 7)), True),
        ("in-pieces-apart", chunk(b"IDAT", z[:9]) + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", z[9:]) + end, False),
        ("empty-piece", chunk(b"IDAT", b"") + chunk(b"IDAT", z), True),
        ("trns-first", chunk(b"tRNS", bytes(6)) + plte + chunk(b"IDAT", z) + end, True),
        ("trns-long", chunk(b"tRNS", bytes(300)) + chunk(b"IDAT", z) + end, True),
        ("long-palette", chunk(b"PLTE", noise(768)) + chunk(b"IDAT", z) + end, True),
        ("short-palette", chunk(b"PLTE", noise(6)) + chunk(b"IDAT", z) + end, True),
        ("unknown", chunk(b"ABCD", b"x") + chunk(b"IDAT", z) + end, True),
        ("text-crc", chunk(b"tEXt", b"a\0b", 5) + chunk(b"IDAT", z) + end, False),
        ("text-crc-behind", chunk(b"IDAT", z) + chunk(b"tEXt", b"a\0b", 5) + end, True),
        ("cut", chunk(b"IDAT", z)[:len(z) // 2], False),
    ]:
        add(name + what, head + (b"" if what == "trns-first" else plte) + rest, loads)
    if not interlaced and colour != 3:  # the stream ends behind a row: the others are black
        add(name + "few-rows", head + chunk(b"IDAT", zlib.compress(raw[:3 * row])) + end)
    frame = struct.pack(">IIIIIHHBB", 0, W, H, 0, 0, 1, 1, 0, 0)
    add(name + "animated", head + plte + chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", frame) +
        chunk(b"IDAT", z) + chunk(b"fcTL", b"\0\0\0\1" + frame[4:]) +
        chunk(b"fdAT", b"\0\0\0\2" + zlib.compress(bytes(len(raw)))) + end)

head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0))
pixels = chunk(b"IDAT", zlib.compress(rows(W, H, 8, 2, 0)))
digits = (b"Exif\0\0" + exif(6)).hex()
profile = f"\nexif\n{len(digits) // 2:8}\n{digits[:40]}\n{digits[40:]}\n".encode()
key = b"Raw profile type exif\0"
for name, before, after in [
    ("exif", chunk(b"eXIf", exif(6)), b""), ("exif-behind", b"", chunk(b"eXIf", exif(8, ">"))),
    ("exif-twice", chunk(b"eXIf", exif(3)), chunk(b"eXIf", exif(6))),
    ("raw-ztxt", chunk(b"zTXt", key + b"\0" + zlib.compress(profile)), b""),
    ("raw-text", chunk(b"tEXt", key + profile), b""),
    ("raw-and-exif", chunk(b"tEXt", key + profile) + chunk(b"eXIf", exif(3)), b""),
    ("raw-app1", chunk(b"tEXt", b"Raw profile type APP1\0" + profile), b""),
    ("xmp", chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp), b""),
    ("xmp-packed", chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp_element)), b""),
    ("xmp-and-exif-1", chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + chunk(b"eXIf", exif(1)), b""),
]:
    add("orientation-png-" + name, head + before + pixels + after + end)

# JPEG ----------------------------------------------------------------------------------------------
photo = Image.fromarray(scene(33, 40))
for name, options in {"restarts": dict(restart_marker_blocks=2), "plain": {}, "progressive": dict(progressive=True),
                      "progressive-restarts": dict(progressive=True, restart_marker_blocks=3)}.items():
    data = saved(photo, "JPEG", quality=60, **options)
    at = data.index(b"\xff\xda")
    first = at + 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    if name in ("plain", "restarts"):
        add(f"jpeg-{name}-zeros-for-end", data[:-2] + bytes(64))
        add(f"jpeg-{name}-half-and-end", data[:(first + len(data)) // 2] + b"\xff\xd9")
    add(f"jpeg-{name}-no-end", data[:-8], False)
    add(f"jpeg-{name}-half", data[:(first + len(data)) // 2], False)
    add(f"jpeg-{name}-garbage-behind", data + b"garbage\xff\xd8")
    add(f"jpeg-{name}-garbage-before-end", data[:-2] + b"\x12\x34\x56\xff\xd9")
    add(f"jpeg-{name}-fill", data[:2] + b"\xff\xff\xff" + data[2:])
    for i in range(4):
        b = bytearray(data)
        b[int(rng.integers(first, first + 40 * (i + 1)))] ^= 0x10
        add(f"jpeg-{name}-bit-{i}", bytes(b))
    markers = [i for i in range(first, len(data) - 1) if data[i] == 0xff and 0xd0 <= data[i + 1] <= 0xd7]
    for i, m in enumerate(markers[1:6]):
        add(f"jpeg-{name}-marker-missing-{i}", data[:m] + data[m + 2:])
        add(f"jpeg-{name}-marker-other-{i}", data[:m + 1] + bytes([0xd0 + (data[m + 1] + 1 + i) % 8]) + data[m + 2:])
        add(f"jpeg-{name}-marker-twice-{i}", data[:m] + data[m:m + 2] + data[m:])
photo = Image.fromarray(scene(16, 8))
data = saved(photo, "JPEG")
app1 = lambda body: b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
ns = b"http://ns.adobe.com/xap/1.0/\0"
for name, segments in {
    "xmp": [ns + xmp], "xmp-element": [ns + xmp_element], "exif": [b"Exif\0\0" + exif(6)],
    "exif-big-endian": [b"Exif\0\0" + exif(7, ">")], "exif-1-and-xmp": [b"Exif\0\0" + exif(1), ns + xmp],
    "exif-0-and-xmp": [b"Exif\0\0" + exif(0), ns + xmp], "exif-9": [b"Exif\0\0" + exif(9)],
    "exif-without-and-xmp": [b"Exif\0\0" + exif(6).replace(b"\x12\x01", b"\x13\x01"), ns + xmp],
    "xmp-twice": [ns + xmp, ns + xmp_element],
}.items():
    add("orientation-jpeg-" + name, data[:2] + b"".join(map(app1, segments)) + data[2:])
add("jpeg-mpo", saved(photo, "MPO", save_all=True, append_images=[Image.fromarray(scene(16, 8))]))

# WebP ----------------------------------------------------------------------------------------------
add("orientation-webp-xmp", saved(photo, "WEBP", xmp=xmp))
add("orientation-webp-exif-1-and-xmp", saved(photo, "WEBP", xmp=xmp, exif=b"Exif\0\0" + exif(1)))
data = bytearray(saved(photo, "WEBP", exif=b"Exif\0\0" + exif(6)))
data[20] &= ~8  # the head says that there are none
add("orientation-webp-unannounced", bytes(data))

# AVIF ----------------------------------------------------------------------------------------------
photo = Image.fromarray(scene(17, 12))
for sampling in "4:2:0", "4:2:2", "4:4:4", "4:0:0":
    for shades in "full", "limited":
        add(f"avif-{sampling.replace(':', '')}-{shades}", saved(photo, "AVIF", subsampling=sampling, range=shades))
    for matrix in 0, 1, 2, 4, 9, 12:
        b = bytearray(saved(photo, "AVIF", subsampling=sampling))
        at = b.index(b"nclx") + 4
        b[at:at + 6] = struct.pack(">HHH", 9, 16, matrix)
        add(f"avif-{sampling.replace(':', '')}-matrix-{matrix}", bytes(b),
            matrix != 0 or sampling in ("4:4:4", "4:0:0"))
rgba = photo.convert("RGBA")
rgba.putalpha(Image.linear_gradient("L").resize(rgba.size))
add("avif-alpha", saved(rgba, "AVIF"))
add("avif-grey-alpha", saved(rgba.convert("LA"), "AVIF"))
deep = np.asarray(rgba).astype(np.uint16)
for bits in 10, 12:
    for sampling in "yuv420", "yuv444", "yuv422":
        add(f"avif-{bits}-{sampling}", imagecodecs.avif_encode(deep[..., :3] << bits - 8, bitspersample=bits, level=80,
                                                               pixelformat=sampling))
add("avif-10-alpha", imagecodecs.avif_encode(deep << 2, bitspersample=10, level=80, pixelformat="yuv420"))
add("avif-sequence", saved(photo, "AVIF", save_all=True, append_images=[rgba.convert("RGB")], duration=100))
for o in range(1, 9):
    add(f"orientation-avif-{o}", saved(photo, "AVIF", exif=b"Exif\0\0" + exif(o)))
add("orientation-avif-xmp", saved(photo, "AVIF", xmp=xmp))
add("avif-half", saved(photo, "AVIF")[:-200], False)



def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


def grid(columns, rows, w, h, side=64, idat=True):
    """A picture of tiles, each of them a file that Pillow wrote."""
    tiles = [saved(Image.fromarray(scene(side, side)), "AVIF", quality=30) for _ in range(columns * rows)]
    data = [t[t.index(b"mdat") + 4:] for t in tiles]
    av1c = tiles[0][tiles[0].index(b"av1C") - 4:][:12]
    full = lambda kind, *parts, version=0, flags=0: box(kind, bytes([version, 0, 0, flags]), *parts)
    ispe = lambda w, h: full(b"ispe", struct.pack(">II", w, h))
    head = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, w, h)
    ids = range(2, 2 + len(tiles))

    def meta(at):
        places = [(1, 1, 0, len(head))] + [(i, 0, at + sum(map(len, data[:i - 2])), len(data[i - 2])) for i in ids]
        iloc = full(b"iloc", struct.pack(">BBH", 0x44, 0, len(places)),
                    *(struct.pack(">HHHHII", i, method, 0, 1, place, n) for i, method, place, n in places), version=1)
        infe = [full(b"infe", struct.pack(">HH4sB", i, 0, b"grid" if i == 1 else b"av01", 0), version=2,
                     flags=int(i > 1)) for i in (1, *ids)]
        colr = box(b"colr", b"nclx", struct.pack(">HHHB", 1, 13, 6, 0x80))
        ipco = box(b"ipco", ispe(w, h), ispe(side, side), av1c, full(b"pixi", b"\3\10\10\10"), colr)
        ipma = full(b"ipma", struct.pack(">I", 1 + len(tiles)), struct.pack(">HBBBB", 1, 3, 1, 4, 5),
                    *(struct.pack(">HBBBBB", i, 4, 2, 0x83, 4, 5) for i in ids))
        return full(b"meta", full(b"hdlr", bytes(4), b"pict", bytes(13)), full(b"pitm", struct.pack(">H", 1)), iloc,
                    full(b"iinf", struct.pack(">H", 1 + len(tiles)), *infe),
                    full(b"iref", box(b"dimg", struct.pack(f">HH{len(tiles)}H", 1, len(tiles), *ids))),
                    box(b"iprp", ipco, ipma), box(b"idat", head))

    ftyp = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", *data)


add("avif-grid", grid(2, 2, 120, 100))
add("avif-grid-row", grid(3, 1, 192, 64))
add("avif-grid-too-small", grid(2, 2, 140, 100), False)

# GIF -----------------------------------------------------------------------------------------------
def lzw(pixels, bits):
    """All pixels as literals, with a clear code before the codes grow."""
    out, acc, n, size = bytearray(), 0, 0, bits + 1
    def put(code):
        nonlocal acc, n
        acc |= code << n
        n += size
        while n >= 8:
            out.append(acc & 255)
            acc >>= 8
            n -= 8
    for i, p in enumerate(pixels):
        if i % max(1, (1 << bits) - 3) == 0:
            put(1 << bits)
        put(p)
    put((1 << bits) + 1)
    return bytes(out) + bytes([acc & 255]) * (n > 0)


def gif(screen, frame, palette=None, local=None, control=b"", interlaced=0, tail=b"\0;", bits=4, pixels=None, between=b""):
    size = lambda p: (len(p) // 3).bit_length() - 2
    b = b"GIF89a" + struct.pack("<HHBBB", *screen, (0x80 | size(palette)) if palette else 0x70, 0, 0) + (palette or b"")
    b += control + between + b"," + struct.pack("<HHHHB", *frame, ((0x80 | size(local)) if local else 0) | 64 * interlaced)
    x = frame[2] * frame[3] if pixels is None else pixels
    z = lzw(rng.integers(0, 1 << bits, x), bits)
    return b + (local or b"") + bytes([bits]) + b"".join(
        bytes([len(z[i:i + 50])]) + z[i:i + 50] for i in range(0, len(z), 50)) + tail


ramp = bytes(v for i in range(16) for v in (i, i, i))
control = lambda flags, colour: b"!\xf9\x04" + struct.pack("<BHB", flags, 5, colour) + b"\0"
full, small, p = (0, 0, W, H), (2, 3, 6, 4), noise(48)
for name, data, loads in [
    ("plain", gif((W, H), full, p), True), ("interlaced", gif((W, H), full, p, interlaced=1), True),
    ("no-trailer", gif((W, H), full, p, tail=b"\0"), True), ("no-terminator", gif((W, H), full, p, tail=b""), True),
    ("more-blocks", gif((W, H), full, p, tail=b"\3abc\1x\0;"), True),
    ("more-pixels", gif((W, H), full, p, pixels=W * H + 20), True),
    ("few-pixels", gif((W, H), full, p, pixels=W * H - 20), False),
    ("larger", gif((5, 4), full, p), True), ("larger-aside", gif((5, 4), (3, 2, W, H), p), True),
    ("outside", gif((5, 4), (9, 9, 4, 4), p, control=control(1, 3)), True), ("no-screen", gif((0, 0), full, p), True),
    ("small", gif((W, H), small, p), True), ("small-transparent", gif((W, H), small, p, control=control(1, 2)), True),
    ("small-disposed", gif((W, H), small, p, control=control(9, 2)), True),
    ("small-interlaced", gif((W, H), small, p, interlaced=1, control=control(13, 2)), True),
    ("local", gif((W, H), full, p, noise(48)), True), ("local-only", gif((W, H), full, None, noise(48)), True),
    ("no-palette", gif((W, H), small), True), ("no-palette-transparent", gif((W, H), small, control=control(1, 9)), True),
    ("shades", gif((W, H), full, ramp), True), ("local-shades", gif((W, H), full, p, ramp), True),
    ("short-palette", gif((W, H), full, noise(12)), True), ("junk", gif((W, H), full, p, between=b"\0\0xy"), True),
    ("comment", gif((W, H), full, p, between=b"!\xfe\5hello\0"), True),
    ("two", gif((W, H), full, p, tail=b"\0") + gif((W, H), full, p)[13 + 48:], True),
]:
    add("gif-" + name, data, loads)

# BMP -----------------------------------------------------------------------------------------------
def bmp(bits, size=40, compression=0, palette=b"", masks=b"", data=None, colours=0, gap=0, top=0, offset=None, file=True):
    data = noise((W * bits + 31) // 32 * 4 * H) if data is None else data
    if size == 12:
        head = struct.pack("<IHHHH", 12, W, H, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", size, W, -H if top else H, 1, bits, compression, len(data), 0, 0, colours, 0)
        if size > 40:
            head, masks = head + masks.ljust(size - 40, b"\0")[:size - 40], b""
    body = head + masks + palette
    at = 14 + len(body) + gap
    return (b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at if offset is None else offset)) * file + body + \
        bytes(gap) + data


words = lambda *m: struct.pack(f"<{len(m)}I", *m)
for bits in 1, 4, 8:
    p = noise(4 << bits)
    for name, data in {
        "": bmp(bits, palette=p), "top-down": bmp(bits, palette=p, top=1), "few": bmp(bits, palette=noise(8), colours=2),
        "gap": bmp(bits, palette=p, gap=10), "os2": bmp(bits, 12, palette=noise(3 << bits)),
        "os2-v2": bmp(bits, 64, palette=p), "v5": bmp(bits, 124, palette=p), "no-offset": bmp(bits, palette=p, offset=0),
        "offset-of-palette": bmp(bits, palette=p, offset=54), "dib": bmp(bits, palette=p, file=False),
    }.items():
        add(f"bmp-{bits}-{name}", data)
for bits in 16, 24, 32:
    for size in 40, 64, 108:
        add(f"bmp-{bits}-{size}", bmp(bits, size))
    add(f"bmp-{bits}-dib", bmp(bits, file=False, top=1))
for size in 40, 56, 124:
    for i, m in enumerate([(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F), (0xF00, 0xF0, 0xF)]):
        add(f"bmp-16-fields-{size}-{i}", bmp(16, size, 3, masks=words(*m)), i < 2)
    for i, m in enumerate([(0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0),
                           (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
                           (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0, 0, 0, 0), (0x3FF00000, 0xFFC00, 0x3FF, 0)]):
        loads = i in (0, 1, 2, 6) or size > 52 and i < 7 or i in (3, 5)
        add(f"bmp-32-fields-{size}-{i}", bmp(32, size, 3, masks=words(*m[:4 if size > 52 else 3])), loads)


def runs(kind, four):
    out = bytearray()
    for _ in range(H):
        x = 0
        while x < W:
            n = int(min(W - x, rng.integers(1, 9)))
            over = 3 if kind == "over" and x + n == W else 0
            if rng.integers(3) < 2 or n < 3:
                out += bytes([n + over]) + noise(1)
            else:
                size = (n + 1) // 2 if four else n
                out += bytes([0, n]) + noise(size) + bytes(size % 2)
            x += n
            if kind == "short" and rng.integers(5) == 0:
                break
        out += b"" if kind == "endless" else b"\0\0"
    return bytes(out) + b"\0\1"


for four in 0, 1:
    for kind in "plain", "over", "short", "endless":
        if kind == "short":
            data = b"\3\7\0\0" + runs("plain", four)
        else:
            data = runs(kind, four)
        add(f"bmp-rle{8 - 4 * four}-{kind}", bmp(8 - 4 * four, compression=1 + four, palette=noise(1024 >> 4 * four),
                                                 data=data), kind != "endless")
    add(f"bmp-rle{8 - 4 * four}-delta", bmp(8 - 4 * four, compression=1 + four, palette=noise(1024 >> 4 * four),
                                            data=b"\3\7\0\2\2\1\2\5" + runs("plain", four)))
    add(f"bmp-rle{8 - 4 * four}-cut", bmp(8 - 4 * four, compression=1 + four, palette=noise(1024 >> 4 * four),
                                          data=b"\3\7\0\1"), False)

# PNM -----------------------------------------------------------------------------------------------
size = b"%d %d" % (W, H)
bits = rng.integers(0, 2, W * H)
add("pnm-1", b"P1\n" + size + b"\n" + " ".join(map(str, bits)).encode())
add("pnm-1-tight", b"P1 # c\n" + size + b"\n#0 1\n" + "".join(map(str, bits)).encode())
add("pnm-1-short", b"P1\n" + size + b"\n" + "".join(map(str, bits[1:])).encode(), False)
add("pnm-4", b"P4\n" + size + b"\n" + noise((W + 7) // 8 * H))
for most in 1, 100, 255:
    v = rng.integers(0, most + 1, 3 * W * H)
    add(f"pnm-2-{most}", b"P2\n" + size + b" %d\n" % most + "\n".join(map(str, v[:W * H])).encode())
    add(f"pnm-3-{most}", b"P3\n" + size + b" %d\n# c\n" % most + "  #9\n\t".join(map(str, v)).encode() + b" 9")
    add(f"pnm-5-{most}", b"P5\n" + size + b" %d\n" % most + v[:W * H].astype("u1").tobytes())
for most in 1000, 65535:
    v = rng.integers(0, most + 1, 3 * W * H)
    add(f"pnm-3-{most}", b"P3\n" + size + b" %d\n" % most + " ".join(map(str, v)).encode())
    add(f"pnm-6-{most}", b"P6\n" + size + b" %d\n" % most + v.astype(">u2").tobytes())
add("pnm-2-above", b"P2\n" + size + b" 100\n" + b"101 " * W * H, False)
f = rng.normal(100, 120, W * H)
add("pnm-f-little", b"Pf\n" + size + b"\n-1.0\n" + f.astype("<f4").tobytes())
add("pnm-f-big", b"Pf\n" + size + b"\n1.0\n" + f.astype(">f4").tobytes())

# TIFF ----------------------------------------------------------------------------------------------
def tiff(name, array, loads=True, **options):
    b = io.BytesIO()
    tifffile.imwrite(b, array, metadata=None, **options)
    add("tiff-" + name, b.getvalue(), loads)


W, H = 19, 18
rgb, four = scene(W, H), scene(W, H, 4)
grey = rgb[..., 0].copy()
colours = rng.integers(0, 65536, (3, 256)).astype("u2")
for big, order, compression, tile, strip, predictor in [
    (0, "<", None, None, None, None), (1, "<", None, None, 7, None), (0, ">", "lzw", (16, 16), None, True),
    (1, "<", "zlib", (16, 32), None, True), (0, ">", None, (16, 16), None, None), (0, "<", "packbits", None, 5, None),
    (0, "<", "zlib", None, 4, True),
]:
    o = dict(bigtiff=bool(big), byteorder=order, compression=compression, tile=tile, rowsperstrip=strip, predictor=predictor)
    n = f"{'big' if big else 'classic'}-{'le' if order == '<' else 'be'}-{compression}-{'tiles' if tile else strip}-"
    tiff(n + "rgb", rgb, photometric="rgb", **o)
    tiff(n + "grey", grey, photometric="minisblack", **o)
    tiff(n + "grey-inverted", grey, photometric="miniswhite", **o)
    tiff(n + "cmyk", four, photometric="separated", **o)
    tiff(n + "premultiplied", four, photometric="rgb", extrasamples=["assocalpha"], **o)
    tiff(n + "alpha", four, photometric="rgb", extrasamples=["unassalpha"], **o)
    tiff(n + "rgb16", rgb.astype("u2") * 257, photometric="rgb", **o)
    tiff(n + "palette", grey, photometric="palette", colormap=colours, **o)
    tiff(n + "planes", np.moveaxis(rgb, -1, 0).copy(), photometric="rgb", planarconfig="separate", **o)
    if order == "<" or compression is None:  # compressed ones of the other order Pillow misreads
        tiff(n + "float", grey.astype("f4") * 1.3 - 20, photometric="minisblack", **o)
        tiff(n + "int16", grey.astype("i2") * 3 - 200, photometric="minisblack", **o)
        tiff(n + "int32", grey.astype("i4") * 3 - 200, photometric="minisblack", **o)
    if not predictor and compression != "packbits":
        tiff(n + "bilevel", grey > 128, photometric="minisblack", **o)
for photometric, sampling in [("ycbcr", (1, 1)), ("ycbcr", (2, 2)), ("ycbcr", (2, 1)), ("rgb", None)]:
    for tile in None, (16, 16):
        tiff(f"jpeg-{photometric}-{sampling}-{'tiles' if tile else 'strip'}", rgb, photometric=photometric,
             subsampling=sampling, compression="jpeg", tile=tile)
tiff("jpeg-grey", grey, photometric="minisblack", compression="jpeg")
for o in 1, 3, 6, 8:
    tiff(f"orientation-{o}", rgb, photometric="rgb", extratags=[(274, 3, 1, o, True)])
tiff("orientation-xmp", rgb, photometric="rgb", extratags=[(700, 1, len(xmp), xmp, True)])
for compression in "group3", "group4":
    add("tiff-" + compression, saved(Image.fromarray(grey).convert("1"), "TIFF", compression=compression))
b = io.BytesIO()
with tifffile.TiffWriter(b) as pages:
    pages.write(rgb, photometric="rgb")
    pages.write(grey, photometric="minisblack")
add("tiff-two-pages", b.getvalue())

(here / "variants.json.gz").write_bytes(gzip.compress(json.dumps(variants, sort_keys=True).encode(), mtime=0))
(here / "flat-2600x2600.avif").write_bytes(saved(Image.new("RGB", (2600, 2600), (200, 30, 60)), "AVIF", speed=10,
                                                 quality=50))
print(len(variants), "variants")
