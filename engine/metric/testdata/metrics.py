"""Writes metrics.json: logits and the metrics that scikit-learn and numpy give them.

python -m venv v && v/bin/pip install numpy==2.4.6 scikit-learn==1.9.1 && v/bin/python metrics.py
"""
import json
import os

import numpy as np
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, precision_score, recall_score, top_k_accuracy_score

C, N, BINS = 7, 90, 15
TRAIN = [500, 120, 101, 100, 20, 19, 3]  # both sides of the group limits; class 6 has no samples
rng = np.random.default_rng(4)
y = rng.choice(C - 1, size=N, p=[0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
z = rng.normal(size=(N, C)).astype(np.float32)
z[np.arange(N), y] += 1.5
z[:, 3] -= 20  # never predicted
z[:6] *= 30  # certain
z = z.round(4).astype(np.float32)  # as they are written below
p = np.exp(z.astype(np.float64) - z.max(1, keepdims=True))
p /= p.sum(1, keepdims=True)
pred, conf = z.argmax(1), p.max(1)
hit = (pred == y).astype(float)


def bins(c, h):
    at = np.minimum((c * BINS).astype(int), BINS - 1)
    return [(m.sum(), abs(h[m].mean() - c[m].mean())) for m in (at == b for b in range(BINS)) if m.any()]


def ece(c, h):
    return sum(n * gap for n, gap in bins(c, h)) / len(c) if len(c) else None


present = sorted(set(y))
recall = recall_score(y, pred, labels=range(C), average=None, zero_division=np.nan)
precision = precision_score(y, pred, labels=range(C), average=None, zero_division=np.nan)
accs = recall[present]


def group(lo, hi):
    members = [k for k in range(C) if lo <= TRAIN[k] <= hi]
    have = [recall[k] for k in members if k in present]
    m = np.isin(y, members)
    return {"classes": len(members), "accuracy": float(np.mean(have)) if have else None, "ece": ece(conf[m], hit[m])}


none = lambda v: None if np.isnan(v) else float(v)
expected = {
    "samples": N,
    "top1": float(hit.mean()),
    "top5": float(top_k_accuracy_score(y, z, k=5, labels=range(C))),
    "balanced_accuracy": float(balanced_accuracy_score(y, pred)),
    "macro_f1": float(f1_score(y, pred, average="macro")),
    "worst_class": float(accs.min()),
    "harmonic_mean": 0.0 if (accs == 0).any() else float(len(accs) / (1 / accs).sum()),
    "geometric_mean": float(np.exp(np.log(np.maximum(accs, 1e-300)).mean())) if (accs > 0).all() else 0.0,
    "ece": ece(conf, hit),
    "mce": max(gap for _, gap in bins(conf, hit)),
    "classwise_ece": float(np.mean([ece(p[:, k], (y == k).astype(float)) for k in range(C)])),
    "nll": float(log_loss(y, p, labels=range(C))),
    "brier": float(((p - np.eye(C)[y]) ** 2).sum(1).mean()),
    "groups": {"many": group(101, 10**9), "medium": group(20, 100), "few": group(0, 19)},
    "per_class": [
        {"label": f"c{k}", "train_count": TRAIN[k], "samples": int((y == k).sum()), "accuracy": none(recall[k]),
         "precision": none(precision[k]), "ece": ece(conf[y == k], hit[y == k])}
        for k in range(C)
    ],
}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "metrics.json"), "w") as f:
    json.dump({"logits": [round(float(v), 4) for v in z.ravel()], "labels": y.tolist(), "train_counts": TRAIN, "metrics": expected}, f)
