"""Pretrain the micro ViT without labels and write it as ONNX.

    python pretrain.py --fashion DIR --photos DIR --out ../micro_vit.onnx --log pretrain.jsonl

--fashion holds train-images-idx3-ubyte.gz of Fashion-MNIST, --photos the training photos of Caltech-101. The ViT sees
a random crop of an image, most of its patches dropped, and is asked for what a fixed teacher (see targets.py) finds in
it: the k-means features of every patch that it sees, their layout in the whole image, and the image's cluster.
"""

import argparse
import hashlib
import json
import os
import time

import jax
import jax.numpy as jnp
import numpy as np

import model
import targets
from model import GRID, SIDE

BATCH = 128
PHOTOS = 24       # of each batch; the rest is Fashion-MNIST
CROPS = 3         # of each photo
ZOOM = 0.85       # smallest side of a random crop
KEEP = 20         # patches of 49 that the ViT sees ...
WHOLE = 0.12      # ... but all of them in this last part of the training
CLUSTER = 0.3     # weight of the cluster's cross entropy beside the two mean square errors
WARMUP = 0.05     # part of the steps; then half a cosine down to zero
ADAM_RATE, ADAM_BETAS, ADAM_DECAY = 1.5e-3, (0.9, 0.98), 0.05
MUON_RATE, MUON_MOMENTUM, MUON_DECAY = 0.02, 0.95, 0.02
PREPROCESS = {"width": SIDE, "height": SIDE, "resize": "shortest", "resize_to": SIDE, "interpolation": "bicubic",
              "mean": [model.MEAN] * 3, "std": [model.STD] * 3, "orientation": True}


def resampling(start, size, inputs, outputs):
    """Matrices [n, outputs, inputs] that crop [start, start+size] (fractions) and resample it linearly."""
    at = start[:, None] + size[:, None] * (jnp.arange(outputs) + 0.5) / outputs
    w = jnp.maximum(0, 1 - jnp.abs(at[:, :, None] * inputs - 0.5 - jnp.arange(inputs)))
    return w / w.sum(-1, keepdims=True)


def augment(key, images, cells):
    """A random crop of each uint8 image, its brightness and colour changed, and the cell targets cropped alike."""
    n = len(images)
    k = jax.random.split(key, 5)
    size = jax.random.uniform(k[0], (n, 2), minval=ZOOM, maxval=1)
    start = jax.random.uniform(k[1], (n, 2)) * (1 - size)
    rows, columns = (resampling(start[:, i], size[:, i], SIDE, SIDE) for i in (0, 1))
    x = jnp.einsum("nyh,nhwc->nywc", rows, images.astype(jnp.float32) / 255)
    x = jnp.einsum("nxw,nywc->ncyx", columns, x)
    gain = jax.random.uniform(k[2], (n, 1, 1, 1), minval=0.7, maxval=1.3)
    tint = 1 + 0.1 * jax.random.normal(k[3], (n, 3, 1, 1)) * (jax.random.uniform(k[4], (n, 1, 1, 1)) < 0.3)
    x = (jnp.clip(x * gain * tint, 0, 1) - model.MEAN) / model.STD
    rows, columns = (resampling(start[:, i], size[:, i], GRID, GRID) for i in (0, 1))
    c = cells.astype(jnp.float32).reshape(n, GRID, GRID, -1)
    return x, jnp.einsum("nyh,nxw,nhwc->nyxc", rows, columns, c).reshape(n, GRID * GRID, -1)


def loss(p, key, images, cells, layout, cluster, whole):
    """The total, and its three parts: cells, layout, cluster."""
    k = jax.random.split(key, 2)
    x, cells = augment(k[0], images, cells)
    keep = None
    if not whole:
        keep = jax.random.uniform(k[1], (len(x), GRID * GRID)).argsort(1)[:, :KEEP]
        cells = jnp.take_along_axis(cells, keep[:, :, None], 1)
    tokens = model.forward(p["vit"], x, keep)
    feature, found = model.embedding(p["vit"], tokens, keep)
    score = jax.nn.log_softmax(model.dense(p["cluster"], feature[:, :model.WIDTH]))
    parts = jnp.stack([jnp.square(found - cells).mean(), jnp.square(feature[:, model.WIDTH:] - layout).mean(),
                       -jnp.take_along_axis(score, cluster[:, None], 1).mean()])
    return parts @ jnp.array([1, 1, CLUSTER]), parts


def orthogonal(x):
    """About the nearest semi-orthogonal matrix to each x [..., m, n], by the Newton-Schulz steps of Muon."""
    if x.shape[-2] > x.shape[-1]:
        return orthogonal(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(5):
        s = x @ x.swapaxes(-1, -2)
        x = 3.4445 * x + (2.0315 * s @ s - 4.775 * s) @ x
    return x


def muon(path, w, g, m, rate):
    """The step of Muon (K. Jordan et al., 2024, kellerjordan.github.io/posts/muon) for a matrix inside a block."""
    m = MUON_MOMENTUM * m + g
    u = g + MUON_MOMENTUM * m
    if "qkv" in path:  # three matrices side by side, each of its own scale
        u = orthogonal(jnp.stack(jnp.split(u, 3, 1)))
        u = jnp.concatenate(list(u), 1)
    else:
        u = orthogonal(u) * max(1, w.shape[1] / w.shape[0]) ** 0.5
    return w - MUON_RATE * rate * (u + MUON_DECAY * w), m


def adamw(w, g, m, v, step, rate):
    """The step of AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101) for everything else."""
    b1, b2 = ADAM_BETAS
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    u = m / (1 - b1**step) / (jnp.sqrt(v / (1 - b2**step)) + 1e-8)
    return w - ADAM_RATE * rate * (u + (ADAM_DECAY * w if w.ndim > 1 else 0)), m, v


def update(p, g, m, v, step, rate):
    """One step from the gradient g, which is cut to length 1."""
    length = jnp.sqrt(sum(jnp.square(x).sum() for x in jax.tree.leaves(g)))
    g = jax.tree.map(lambda x: x * jnp.minimum(1, 1 / length), g)
    leaves, shape = jax.tree.flatten_with_path(p)
    out = []
    for (path, w), g, m, v in zip(leaves, *map(jax.tree.leaves, (g, m, v))):
        path = jax.tree_util.keystr(path)
        if "blocks" in path and w.ndim == 2:
            out.append((*muon(path, w, g, m, rate), v))
        else:
            out.append(adamw(w, g, m, v, step, rate))
    return tuple(jax.tree.unflatten(shape, part) for part in zip(*out))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--fashion", required=True)
    a.add_argument("--photos", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--log", required=True)
    a.add_argument("--steps", type=int, default=1600)
    a.add_argument("--seed", type=int, default=0)
    a = a.parse_args()
    rng, began = np.random.default_rng(a.seed), time.time()
    log = open(a.log, "w", buffering=1)

    def write(**values):
        used = time.process_time()  # of all threads
        line = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
        print(json.dumps(line | {"seconds": round(time.time() - began), "core_seconds": round(used)}), file=log)

    clothes, photos = targets.fashion(a.fashion), targets.photos(a.photos, CROPS, rng)
    images = np.concatenate([clothes, photos])
    teacher = targets.Teacher(images, rng)
    cells = teacher.cells(images)
    layout = teacher.layout(cells)
    cluster = targets.clusters(layout, rng)
    write(what="targets", clothes=len(clothes), photos=len(photos), steps=a.steps, batch=BATCH, seed=a.seed,
          load=os.getloadavg()[0])

    p = {"vit": model.init(rng), "cluster": model.dense_init(rng, model.WIDTH, targets.CLUSTERS)}
    # The layout starts as the teacher reads it off the true cells, and goes on learning.
    p["vit"]["layout"] = {"w": teacher.layout_axes.T, "b": -teacher.layout_axes @ teacher.layout_mean}
    m, v = jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)

    def step(p, m, v, key, number, rate, *batch, whole):
        (_, parts), g = jax.value_and_grad(loss, has_aux=True)(p, key, *batch, whole)
        return *update(p, g, m, v, number, rate), parts

    step = jax.jit(step, static_argnames="whole", donate_argnums=(0, 1, 2))
    recent = []
    for s in range(a.steps):
        done = s / a.steps
        rate = min(1, (s + 1) / (WARMUP * a.steps)) * (1 + np.cos(np.pi * done)) / 2
        i = np.concatenate([rng.integers(0, len(clothes), BATCH - PHOTOS),
                            rng.integers(len(clothes), len(images), PHOTOS)])
        key = jax.random.fold_in(jax.random.key(a.seed), s)
        p, m, v, parts = step(p, m, v, key, s + 1.0, rate, images[i], cells[i], layout[i], cluster[i],
                              whole=done >= 1 - WHOLE)
        recent.append(np.asarray(parts))
        if (s + 1) % 100 == 0 or s + 1 == a.steps:
            c, l, k = map(float, np.mean(recent, 0))
            write(step=s + 1, cells=c, layout=l, cluster=k, load=os.getloadavg()[0])
            recent = []
        if (s + 1) % 250 == 0 or s + 1 == a.steps:
            data = model.to_onnx(p["vit"], {
                "vitft.preprocess": json.dumps(PREPROCESS, separators=(",", ":")), "vitft.name": "vitft-micro-28",
                "vitft.version": "1", "license": "Apache-2.0"}).SerializeToString(deterministic=True)
            with open(a.out, "wb") as f:
                f.write(data)
    write(what="done", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data),
          onnx_against_jax=f"{model.difference(p['vit'], data):.1e}")


if __name__ == "__main__":
    main()
