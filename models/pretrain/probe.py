"""Measure a pretrained micro ViT with labels: k-nearest neighbours and linear probes, beside raw pixels.

    python probe.py --model ../micro_vit.onnx --fashion DIR --photos DIR

--fashion holds the four IDX files, --photos the folders train and test with a folder per class.
"""

import argparse
import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from sklearn.linear_model import LogisticRegression

from model import MEAN, SIDE, STD


def idx(path):
    raw = gzip.decompress(Path(path).read_bytes())
    shape = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def photo(path):
    """As package vit does with the model's preprocessing: shortest edge to SIDE, bicubic, centre crop."""
    image = Image.open(path).convert("RGB")
    w, h = image.size
    w, h = (SIDE, SIDE * h // w) if w < h else (SIDE * w // h, SIDE)
    x, y = round((w - SIDE) / 2), round((h - SIDE) / 2)
    return np.asarray(image.resize((w, h), Image.Resampling.BICUBIC).crop((x, y, x + SIDE, y + SIDE)))


def folder(root):
    paths = sorted(Path(root).glob("*/*"))
    return np.stack([photo(p) for p in paths]), np.unique([p.parent.name for p in paths], return_inverse=True)[1]


def pixels(images):
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, 3)
    return ((images.transpose(0, 3, 1, 2) / np.float32(255) - MEAN) / STD).astype(np.float32)


def knn(train, y, test, k=20):
    """The prediction of a majority vote of the k nearest by cosine of the centred features."""
    mean = train.mean(0)
    train, test = ((x - mean) / np.linalg.norm(x - mean, axis=1, keepdims=True) for x in (train, test))
    out = []
    for part in np.array_split(test, max(1, len(test) // 500)):
        near = np.argpartition(part @ train.T, -k, axis=1)[:, -k:]
        out += [np.bincount(v).argmax() for v in y[near]]
    return np.array(out)


def linear(train, y, test, strength):
    """Scores of a multinomial logistic regression on standardised features."""
    mean, std = train.mean(0), train.std(0) + 1e-6
    model = LogisticRegression(C=strength, max_iter=200).fit((train - mean) / std, y)
    return model.decision_function((test - mean) / std)


def balanced(y, predicted):
    return float(np.mean([(predicted[y == c] == c).mean() for c in np.unique(y)]))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", required=True)
    a.add_argument("--fashion", required=True)
    a.add_argument("--photos")
    a = a.parse_args()
    fashion, options = Path(a.fashion), onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # kinder where cores are shared
    session = onnxruntime.InferenceSession(a.model, options, providers=["CPUExecutionProvider"])

    def encode(images):
        return np.concatenate([session.run(["embedding"], {"pixel_values": pixels(images[i:i + 64])})[0]
                               for i in range(0, len(images), 64)])

    def report(name, **values):
        print(json.dumps({"what": name} | {k: round(v, 4) for k, v in values.items()}), flush=True)

    for batch in (16, 32, 64):
        x, best = np.zeros((batch, 3, SIDE, SIDE), np.float32), 0
        for _ in range(40):
            start = time.perf_counter()
            session.run(["embedding"], {"pixel_values": x})
            best = max(best, batch / (time.perf_counter() - start))
        report(f"speed, batch {batch}, 2 threads, best of 40", images_per_second=best, load=os.getloadavg()[0])

    train, test = (idx(fashion / f"{s}-images-idx3-ubyte.gz") for s in ("train", "t10k"))
    y, yt = (idx(fashion / f"{s}-labels-idx1-ubyte.gz") for s in ("train", "t10k"))
    features = {"micro ViT": (encode(train), encode(test)),
                "raw pixels": tuple(x.reshape(len(x), -1) / np.float32(255) for x in (train, test))}
    counts = [int(6000 * 0.01 ** (c / 9)) for c in range(10)]  # imbalance ratio 100
    tail = np.concatenate([np.flatnonzero(y == c)[:n] for c, n in enumerate(counts)])
    prior = np.log(np.array(counts) / sum(counts))
    for name, (x, xt) in features.items():
        accuracy = (linear(x, y, xt, 0.01).argmax(1) == yt).mean()
        report(f"Fashion-MNIST, {name}", dim=x.shape[1], knn20=(knn(x, y, xt) == yt).mean(), linear=accuracy)
        score = linear(x[tail], y[tail], xt, 0.01)
        report(f"Fashion-MNIST long-tailed (ratio 100, {len(tail)} images), {name}", knn20=balanced(yt, knn(x[tail], y[tail], xt)),
               linear=balanced(yt, score.argmax(1)), linear_logit_adjusted=balanced(yt, (score - prior).argmax(1)))
    if a.photos:
        (train, y), (test, yt) = (folder(Path(a.photos) / s) for s in ("train", "test"))
        for name, f in (("micro ViT", encode), ("raw pixels", lambda x: x.reshape(len(x), -1) / np.float32(255))):
            x, xt = f(train), f(test)
            report(f"Caltech-101, {name}", knn20=balanced(yt, knn(x, y, xt)), linear=balanced(yt, linear(x, y, xt, 0.01).argmax(1)))


main()
