"""Pretrain the micro ViT without labels and write it as ONNX. See README.md for the command and MODEL_CARD.md for results."""

import argparse
import json
import time

import jax
import jax.numpy as jnp
import numpy as np

import model
import targets
from model import GRID, SIDE

BATCH, PHOTO_SHARE, CROPS = 128, 0.25, 3
RATE, DECAY, WARMUP, BETAS = 1.5e-3, 0.05, 0.05, (0.9, 0.98)
KEEP = 24         # patches of 49 that the ViT sees ...
WHOLE = 0.15      # ... but all of them in this last part of the training
ZOOM = 0.65       # smallest side of the random crop
SMOOTH = 0.1


def resampling(start, size, inputs, outputs):
    """Matrices [n, outputs, inputs] that crop [start, start+size] (fractions) and resample it by a triangle filter."""
    at = start[:, None] + size[:, None] * (jnp.arange(outputs) + 0.5) / outputs
    w = jnp.maximum(0, 1 - jnp.abs(at[:, :, None] * inputs - 0.5 - jnp.arange(inputs)))
    return w / w.sum(-1, keepdims=True)


def augment(key, images, cells):
    """A random crop of each image, with the cell targets cropped alike; random brightness and contrast."""
    n = len(images)
    k = jax.random.split(key, 5)
    size = jax.random.uniform(k[0], (n, 2), minval=ZOOM, maxval=1)
    start = jax.random.uniform(k[1], (n, 2)) * (1 - size)
    rows, columns = (resampling(start[:, i], size[:, i], SIDE, SIDE) for i in (0, 1))
    x = images.astype(jnp.float32) / 255
    x = jnp.einsum("nyh,nhwc->nywc", rows, x)
    x = jnp.einsum("nxw,nywc->ncyx", columns, x)
    gain = jax.random.uniform(k[2], (n, 1, 1, 1), minval=0.7, maxval=1.3)
    tint = 1 + 0.1 * jax.random.normal(k[3], (n, 3, 1, 1)) * (jax.random.uniform(k[4], (n, 1, 1, 1)) < 0.3)
    x = (jnp.clip(x * gain * tint, 0, 1) - model.MEAN) / model.STD
    rows, columns = (resampling(start[:, i], size[:, i], GRID, GRID) for i in (0, 1))
    c = cells.astype(jnp.float32).reshape(n, GRID, GRID, -1)
    c = jnp.einsum("nyh,nxw,nhwc->nyxc", rows, columns, c).reshape(n, GRID * GRID, -1)
    return x, c


def loss(p, key, images, cells, summary, cluster, keep, weights):
    k = jax.random.split(key, 2)
    x, cells = augment(k[0], images, cells)
    kept = None
    if keep < GRID * GRID:
        kept = jax.random.uniform(k[1], (len(x), GRID * GRID)).argsort(1)[:, :keep]
        cells = jnp.take_along_axis(cells, kept[:, :, None], 1)
    tokens = model.forward(p["vit"], x, kept)
    feature = model.embedding(tokens)
    local = jnp.square(model.dense(p["cell"], tokens[:, 1:]) - cells).mean()
    whole = jnp.square(model.dense(p["summary"], feature) - summary).mean()
    logp = jax.nn.log_softmax(model.dense(p["cluster"], feature))
    group = -jnp.take_along_axis(logp, cluster[:, None], 1).mean()
    parts = jnp.stack([local, whole, group])
    return parts @ weights, parts


def adamw(p, g, m, v, step, rate):
    """Adam with decoupled weight decay on matrices (Loshchilov and Hutter, 2019)."""
    b1, b2 = BETAS
    norm = jnp.sqrt(sum(jnp.square(x).sum() for x in jax.tree.leaves(g)))
    g = jax.tree.map(lambda x: x * jnp.minimum(1, 1 / norm), g)
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, g)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
    def update(p, m, v):
        u = m / (1 - b1**step) / (jnp.sqrt(v / (1 - b2**step)) + 1e-8)
        return p - rate * (u + (DECAY * p if p.ndim > 1 else 0))
    return jax.tree.map(update, p, m, v), m, v


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--fashion"); a.add_argument("--photos"); a.add_argument("--cache")
    a.add_argument("--out", default="micro_vit.onnx")
    a.add_argument("--steps", type=int, default=1000)
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--weights", default="1,1,0.3")
    a.add_argument("--minutes", type=float, default=0)
    a = a.parse_args()
    z = np.load(a.cache); images, cells, summary, cluster = z["x"], z["c"], z["s"], z["k"]
    rng = np.random.default_rng(a.seed)
    p = {"vit": model.init(rng)}
    for name, n in (("cell", cells.shape[-1]), ("summary", summary.shape[-1]), ("cluster", targets.CLUSTERS)):
        d = model.WIDTH * (1 if name == "cell" else 2)
        p[name] = {"w": rng.normal(0, d**-0.5, (d, n)).astype(np.float32), "b": np.zeros(n, np.float32)}
    weights = jnp.array([float(x) for x in a.weights.split(",")])
    m = jax.tree.map(jnp.zeros_like, p); v = jax.tree.map(jnp.zeros_like, p)

    def step_fn(keep):
        def f(p, m, v, key, step, rate, *batch):
            (l, parts), g = jax.value_and_grad(loss, has_aux=True)(p, key, *batch, keep, weights)
            return (*adamw(p, g, m, v, step, rate), parts)
        return jax.jit(f, donate_argnums=(0, 1, 2))
    masked, full = step_fn(KEEP), step_fn(GRID * GRID)
    nf = 60000; np_ = int(BATCH * PHOTO_SHARE); t0 = time.time(); c0 = time.process_time(); acc = []
    for s in range(a.steps):
        frac = s / a.steps
        rate = RATE * min(1, (s + 1) / (WARMUP * a.steps)) * (0.5 * (1 + np.cos(np.pi * frac)))
        i = np.concatenate([rng.integers(0, nf, BATCH - np_), rng.integers(nf, len(images), np_)])
        f = full if frac >= 1 - WHOLE else masked
        p, m, v, parts = f(p, m, v, jax.random.fold_in(jax.random.key(a.seed), s), s + 1., rate, images[i], cells[i], summary[i], cluster[i])
        acc.append(np.asarray(parts))
        if (s + 1) % 50 == 0 or s + 1 == a.steps:
            print(json.dumps(dict(step=s + 1, loss=[round(float(x), 4) for x in np.mean(acc, 0)], s=round(time.time() - t0), cpu=round(time.process_time() - c0))), flush=True); acc = []
        if (s + 1) % 500 == 0 or s + 1 == a.steps:
            open(a.out, "wb").write(model.to_onnx(p["vit"], {"x": "y"}).SerializeToString())

main()
