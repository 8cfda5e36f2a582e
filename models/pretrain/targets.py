"""Images to learn from, and what the ViT is asked to predict about them. No labels are read.

The teacher is a single layer of k-means features (Coates, Ng, Lee, "An Analysis of Single-Layer Networks in
Unsupervised Feature Learning", AISTATS 2011): whitened, contrast-normalised 6×6 windows of the grey image, compared
with a dictionary learned by spherical k-means, only the above-average responses kept. Three targets are read off it:
the cells (the responses pooled over each patch of the ViT, by principal components, and the patch's mean colour), the
layout (all cells of the image, by principal components) and the cluster (the nearest of many centres of the layouts).
"""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from model import CELL, GRID, LAYOUT, SIDE, STRIDE

WINDOW, STEP, WORDS = 6, 2, 256
CLUSTERS = 1024
COLOUR = 2.0  # weight of a cell's mean colour beside its leading component


def fashion(folder):
    """The 60,000 training images of Fashion-MNIST: uint8 [n, 28, 28, 3], the channels equal."""
    raw = gzip.decompress((Path(folder) / "train-images-idx3-ubyte.gz").read_bytes())
    grey = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, SIDE, SIDE, 1)
    return np.repeat(grey, 3, 3)


def photos(folder, crops, rng):
    """Square crops of every photo under folder, a random half of them mirrored: uint8 [n, 28, 28, 3]."""
    out = []
    for path in sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"}):
        image = Image.open(path).convert("RGB")
        for _ in range(crops):
            side = min(image.size) * rng.uniform(0.6, 1)
            x, y = (rng.uniform(0, s - side) for s in image.size)
            crop = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
            out.append(np.asarray(crop)[:, :: rng.choice((-1, 1))])
    return np.stack(out)


def windows(images):
    """Contrast-normalised grey windows [n, 14, 14, 36] of uint8 images."""
    grey = images.mean(3, dtype=np.float32) / 255
    grey = np.pad(grey, ((0, 0), (2, 2), (2, 2)), mode="edge")
    w = np.lib.stride_tricks.sliding_window_view(grey, (WINDOW, WINDOW), (1, 2))[:, ::STEP, ::STEP]
    w = w.reshape(*w.shape[:3], -1)
    return (w - w.mean(-1, keepdims=True)) / np.sqrt(w.var(-1, keepdims=True) + 0.01)


def spherical_kmeans(x, k, rounds, rng):
    """k unit centres of the rows of x by cosine similarity; rows are weighted by their length."""
    centres = x[rng.choice(len(x), k, replace=False)]
    centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    for _ in range(rounds):
        score = x @ centres.T
        nearest = score.argmax(1)
        total = np.zeros_like(centres)
        np.add.at(total, nearest, x)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        centres = np.where(length > 1e-6, total / np.maximum(length, 1e-6), centres)
    return centres


def components(x, k):
    """Mean and the k leading principal axes [k, d], each divided by the fourth root of its share of the variance.

    Dividing by the root of the standard deviation is half-way to whitening: minor axes carry much of the class
    information, but fully whitened they would drown the major ones in noise.
    """
    mean = x.mean(0)
    variance, axes = np.linalg.eigh(np.cov(x - mean, rowvar=False))
    variance, axes = variance[::-1][:k], axes[:, ::-1][:, :k]
    scaled = axes / (variance / variance[0]) ** 0.25
    scaled /= np.sqrt((variance[0] * variance) ** 0.5).mean()  # targets of about unit size
    return mean.astype(np.float32), scaled.T.astype(np.float32)


class Teacher:
    """The k-means features, fitted to images."""

    def __init__(self, images, rng):
        sample = images[rng.choice(len(images), 4000, replace=False)]
        w = windows(sample).reshape(-1, WINDOW * WINDOW)
        w = w[w.std(1) > 0.2]
        w = w[rng.choice(len(w), min(len(w), 150_000), replace=False)]
        self.mean = w.mean(0)
        variance, axes = np.linalg.eigh(np.cov(w, rowvar=False))
        self.whiten = ((axes * (variance + 0.1) ** -0.5) @ axes.T).astype(np.float32)
        self.words = spherical_kmeans((w - self.mean) @ self.whiten, WORDS, 10, rng).astype(np.float32)
        response = self.response(sample).reshape(-1, WORDS)
        self.cell_mean, self.cell_axes = components(response[:: len(response) // 40_000], CELL - 3)
        cells = self.cells(images[rng.choice(len(images), 8000, replace=False)]).reshape(8000, -1)
        self.layout_mean, self.layout_axes = components(cells, LAYOUT)

    def response(self, images):
        """Root of the above-average word responses, pooled by cell: [n, 7, 7, WORDS]."""
        out = np.empty((len(images), GRID, GRID, WORDS), np.float32)
        for i in range(0, len(images), 250):
            w = windows(images[i:i + 250])
            s = (w.reshape(-1, w.shape[-1]) - self.mean) @ self.whiten @ self.words.T
            s = np.maximum(s - s.mean(1, keepdims=True) - s.std(1, keepdims=True) / 2, 0)
            out[i:i + 250] = s.reshape(-1, GRID, 2, GRID, 2, WORDS).mean((2, 4))
        return np.sqrt(out)

    def cells(self, images):
        """Cell targets [n, 49, CELL] float16."""
        out = np.empty((len(images), GRID * GRID, CELL), np.float16)
        for i in range(0, len(images), 1000):
            part = images[i:i + 1000]
            r = self.response(part).reshape(-1, WORDS)
            out[i:i + 1000, :, :-3] = ((r - self.cell_mean) @ self.cell_axes.T).reshape(len(part), -1, CELL - 3)
            rgb = part.reshape(-1, GRID, STRIDE, GRID, STRIDE, 3).mean((2, 4), dtype=np.float32) / 127.5 - 1
            out[i:i + 1000, :, -3:] = COLOUR * rgb.reshape(len(part), -1, 3)
        return out

    def layout(self, cells):
        """Layout targets [n, LAYOUT] float32 of cell targets."""
        return np.concatenate([(c.reshape(len(c), -1) - self.layout_mean) @ self.layout_axes.T
                               for c in np.array_split(cells, max(1, len(cells) // 2000))]).astype(np.float32)


def clusters(layouts, rng):
    """The index of the nearest of CLUSTERS spherical k-means centres of the layouts."""
    x = layouts / np.linalg.norm(layouts, axis=1, keepdims=True)
    centres = spherical_kmeans(x[rng.choice(len(x), min(len(x), 40_000), replace=False)], CLUSTERS, 10, rng)
    return np.concatenate([(p @ centres.T).argmax(1) for p in np.array_split(x, 20)]).astype(np.int32)
