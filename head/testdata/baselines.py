"""Heads that have a closed form or a unique optimum, by numpy and scikit-learn, for TestClosedForms.

Run: python baselines.py > baselines.json
"""
import json

import numpy as np
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(1)
counts, dim = [40, 20, 8, 3], 5
x = np.concatenate([rng.normal(size=(n, dim)) @ np.diag([1, 2, 0.5, 1, 3]) + rng.normal(size=dim) * 1.5 for n in counts]).astype(np.float32)
y = np.repeat(np.arange(len(counts)), counts)
test = rng.normal(size=(6, dim)).astype(np.float32) * 3

C = 0.7


def regression(x, test):
    model = LogisticRegression(C=C, class_weight="balanced", tol=1e-10, max_iter=10000).fit(x.astype(float), y)
    return model.decision_function(test.astype(float))


logreg = regression(x, test)
length = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
unit = regression(length(x), length(test))  # a cosine head's features

# Linear discriminant analysis, equal priors, the pooled covariance shrunk by 0.3.
shrinkage = 0.3
means = np.stack([x[y == k].astype(float).mean(axis=0) for k in range(len(counts))])
within = x - means[y]
cov = within.T @ within / (len(y) - len(counts))
cov = (1 - shrinkage) * cov + shrinkage * np.trace(cov) / dim * np.eye(dim)
w = np.linalg.solve(cov, means.T).T
lda = test @ w.T - (w * means).sum(axis=1) / 2

centred = lambda z: (z - z.mean(axis=1, keepdims=True)).round(6).ravel().tolist()
print(json.dumps({"classes": len(counts), "dim": dim, "x": x.ravel().tolist(), "y": y.tolist(), "test": test.ravel().tolist(),
                  "weight_decay": 1 / (C * len(y)), "shrinkage": shrinkage, "logreg": centred(logreg), "unit": centred(unit), "lda": centred(lda)}))
