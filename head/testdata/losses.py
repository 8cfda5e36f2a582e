"""Values and gradients of every loss, each written out from its paper in float64, for TestLossesAgainstNumpy.

Run: python losses.py > losses.json
"""
import json

import numpy as np

counts = np.array([60, 30, 10, 4])
kappa = np.array([0.5, 0.8, 2.0, 1.3])
tau, gamma, rho, focus, margin, scale = 1.5, 0.3, 0.4, 2.5, 0.5, 30.0
pi = counts / counts.sum()
rng = np.random.default_rng(0)
labels = np.array([0, 1, 2, 3, 0, 0, 3])
z = rng.normal(size=(len(labels), len(counts))) * 4
z[5] = [30, -2, -40, 3]  # as sure as can be


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def nll(x):
    return -log_softmax(x)[np.arange(len(labels)), labels]


def weighted(losses, weights):
    """torch.nn.functional.cross_entropy(weight=w, reduction="mean")"""
    w = weights[labels]
    return (w * losses).sum() / w.sum()


def class_balanced():
    w = (1 - 0.9999) / (1 - 0.9999**counts)
    return w / w.sum() * len(counts)  # normalised as in the code of LDAM-DRW


def focal(x):
    p = np.exp(-nll(x))
    return (1 - p) ** focus * nll(x)


def ldam(x):
    m = 1 / np.sqrt(np.sqrt(counts))
    m *= margin / m.max()
    cosine = x / scale
    cosine = cosine - m[labels][:, None] * np.eye(len(counts))[labels]
    return nll(scale * cosine)


plain = lambda x: nll(x).mean()
cdt = lambda x: nll((counts / counts.max()) ** gamma * x).mean()
la = lambda x: nll(x + tau * np.log(pi)).mean()
vs = lambda x: nll((counts / counts.max()) ** gamma * x + tau * np.log(pi)).mean()
losses = {
    "ce": [plain],
    "focal": [lambda x: focal(x).mean()],
    "cb": [lambda x: weighted(nll(x), class_balanced())],
    "drw": [plain, lambda x: weighted(nll(x), class_balanced())],
    "adrw": [plain, lambda x: weighted(nll(x), pi**-rho)],
    "la": [la],
    "balanced-softmax": [lambda x: -np.log(  # Ren et al., eq. 3, the counts inside
        counts[labels] * np.exp(x[np.arange(len(labels)), labels]) / (counts * np.exp(x)).sum(axis=1)).mean()],
    "cdt": [cdt],
    "vs": [vs],
    "vs-adrw-tla": [vs, lambda x: weighted(nll(x + tau * np.log(pi)), pi**-rho)],
    "ldam": [lambda x: ldam(x).mean()],
    "ldam-drw": [lambda x: ldam(x).mean(), lambda x: weighted(ldam(x), class_balanced())],
    "cvs": [lambda x: nll(pi**gamma / kappa * x).mean(), lambda x: weighted(nll(x + tau * np.log(pi / kappa)), pi**-rho)],
}


def gradient(f, x, h=1e-5):
    g = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        d = np.zeros_like(x)
        d[i] = h
        g[i] = (f(x + d) - f(x - d)) / (2 * h)
    return g


cases = []
for name, phases in losses.items():
    for late in (False, True):
        f = phases[-1] if late else phases[0]
        cases.append({"loss": name, "late": late, "value": round(f(z), 9), "gradient": gradient(f, z).round(8).ravel().tolist()})
print(json.dumps({"counts": counts.tolist(), "kappa": kappa.tolist(), "tau": tau, "gamma": gamma, "rho": rho, "focus": focus,
                  "margin": margin, "scale": scale, "labels": labels.tolist(), "logits": z.ravel().tolist(), "cases": cases}, indent=1))
