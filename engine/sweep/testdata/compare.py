"""Writes compare.json: a paired comparison computed with numpy. Run in this folder: python compare.py"""
import json

import numpy as np

rng = np.random.default_rng(7)
counts = [40, 25, 6, 2, 11]
labels = np.repeat(np.arange(len(counts)), counts)
rng.shuffle(labels)


def predictions(accuracy):
    return [np.where(rng.random(len(labels)) < accuracy[labels], labels, (labels + 1) % len(counts)) for _ in range(3)]


a = predictions(np.array([0.9, 0.8, 0.7, 0.6, 0.5]))
b = predictions(np.array([0.8, 0.8, 0.6, 0.6, 0.3]))
d = np.mean([(p == labels) * 1.0 - (q == labels) for p, q in zip(a, b)], axis=0)
per_class = [d[labels == c] for c in range(len(counts))]
difference = np.mean([x.mean() for x in per_class])
se = np.sqrt(sum(x.var(ddof=1) / len(x) for x in per_class)) / len(counts)
seeds = [
    np.mean([((p == labels) * 1.0 - (q == labels))[labels == c].mean() for c in range(len(counts))]) for p, q in zip(a, b)
]
with open("compare.json", "w") as f:
    json.dump(
        {
            "labels": labels.tolist(),
            "a": [p.tolist() for p in a],
            "b": [q.tolist() for q in b],
            "difference": difference,
            "low": difference - 1.96 * se,
            "high": difference + 1.96 * se,
            "seed_std": np.std(seeds, ddof=1),
        },
        f,
    )
