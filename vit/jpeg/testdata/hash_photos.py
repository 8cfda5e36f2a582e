#!/usr/bin/env python3
"""Writes the digests of photos that TestPhotosEqualPillow and TestCaltech101EqualsPillow compare with.

    python3 hash_photos.py SHARED UNPACKED > photos.json

SHARED has data/imagenet_sanity20, UNPACKED has caltech101. Needs Pillow, as make_fixtures.py does. A photo's
digest is SHA-256 of Image.open(f).convert("RGB").tobytes(), a folder's of the digests of its photos in order
of name, after their number. Kept are the first 8 bytes.
"""
import hashlib
import json
import pathlib
import sys

from PIL import Image


def digest(path):
    with Image.open(path) as im:
        return hashlib.sha256(im.convert("RGB").tobytes()).digest()


shared, unpacked = map(pathlib.Path, sys.argv[1:])
photos = {p.name: digest(p).hex()[:16] for p in sorted((shared / "data/imagenet_sanity20").glob("*.JPEG"))}
folders = {}
for folder in sorted(unpacked.glob("caltech101/t*/*")):
    digests = [digest(p) for p in sorted(folder.glob("*.jpg"))]
    folders[folder.relative_to(unpacked).as_posix()] = f"{len(digests)} {hashlib.sha256(b''.join(digests)).hexdigest()[:16]}"
print(json.dumps({"photos": photos, "folders": folders}, indent=0))
