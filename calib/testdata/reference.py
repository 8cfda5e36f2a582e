"""Writes reference.json: what package calib must compute, by an independent route (numpy and scipy).

    python calib/testdata/reference.py

Everything is written from the definitions in METHOD and the papers that the package's comments name, with other means
than the package's: scipy's optimisers instead of closed forms and scoring, masks instead of loops over bins.
"""

import json
import pathlib

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp, softmax

rng = np.random.default_rng(20260101)
N = np.array([120, 80, 40, 30, 20, 12, 9, 7, 6, 5])
C = len(N)
GROUP = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
y = rng.permutation(np.repeat(np.arange(C), N))
n = len(y)
z = np.round(rng.normal(3, 1.2, (n, C)) + 1.7 * np.eye(C)[y] + 0.35 * np.log(N), 3)
z = z.astype(np.float32).astype(float)
beta = np.round(np.linspace(1, 1.3, C), 2)
delta = np.round(-np.log(N / n) * -0.8, 2)
rows = np.arange(n)


# --- errors of calibration ---------------------------------------------------------------------------------------


def edges_bins(conf, hit, count, low=0.0, high=1.0):
    """Equal width: [(count, mean confidence, mean accuracy)], closed below, the last closed."""
    if high > low:
        index = np.clip(np.floor((conf - low) / ((high - low) / count)), 0, count - 1)
    else:
        index = np.zeros(len(conf))
    return [stat(conf[index == b], hit[index == b]) for b in range(count)]


def quantile_bins(conf, hit, count):
    order = np.argsort(conf, kind="stable")
    m = len(order)
    return [stat(conf[o], hit[o]) for o in (order[b * m // count : (b + 1) * m // count] for b in range(count))]


def stat(conf, hit):
    return (len(conf), conf.mean(), hit.mean()) if len(conf) else (0, 0.0, 0.0)


def ece(bins):
    return sum(k * abs(a - c) for k, c, a in bins) / sum(k for k, _, _ in bins)


def measure(p):
    top, hit = p.max(1), (p.vec.Argmax(1) == y).astype(float)
    bins = edges_bins(top, hit, 15)
    return {
        "ece": ece(bins),
        "mce": max(abs(a - c) for k, c, a in bins if k),
        "ece_equal_count": ece(quantile_bins(top, hit, 15)),
        "classwise_ece": float(np.mean([ece(edges_bins(p[:, k], (y == k).astype(float), 15)) for k in range(C)])),
        "nll": float(-np.log(p[rows, y]).mean()),
        "brier": float(((p - np.eye(C)[y]) ** 2).sum(1).mean()),
    }


# --- lines -------------------------------------------------------------------------------------------------------


def line(bins, intercept=False, weights=None):
    """Weighted least squares by lstsq: slope, intercept, influence of each bin's accuracy on the slope."""
    k, c, a = (np.array(v, float) for v in zip(*[b for b in bins if b[0]]))
    w = np.sqrt(k if weights is None else weights)
    design = np.stack([c, np.ones_like(c)], 1) if intercept else c[:, None]
    solve = np.linalg.pinv(design * w[:, None]) * w
    fit = solve @ a
    return fit[0], fit[1] if intercept else 0.0, solve[0]


def huber(bins, intercept=False):
    k, c, a = (np.array(v, float) for v in zip(*[b for b in bins if b[0]]))
    w = k
    slope, b, influence = line(bins, intercept)
    for _ in range(200):
        r = np.abs(a - slope * c - b)
        order = np.argsort(r)
        seen = np.cumsum(k[order])
        s = 1.4826 * r[order][np.searchsorted(seen, seen[-1] / 2)]
        if s < 1e-12:
            break
        w = k * np.minimum(1, 1.345 * s / np.maximum(r, 1e-300))
        last = slope
        slope, b, influence = line(bins, intercept, w)
        if abs(slope - last) <= 1e-10 * abs(last):
            break
    return slope, b, influence


def spread(bins, influence, hit):
    k, c, a = (np.array(v, float) for v in zip(*[b for b in bins if b[0]]))
    p = hit(k, c, a)
    return float(np.sqrt((influence**2 * p * (1 - p) / k).sum()))


def laplace(k, c, a):
    return (k * a + 1) / (k + 2)


def box(bins):
    """The reference's ViT trainer's objective, by a bounded quasi-Newton search."""
    _, c, a = (np.array(v, float) for v in zip(*[b for b in bins if b[0]]))

    def loss(v):
        r = v[0] * c + v[1] - a
        return (r**2).mean() + 0.001 * ((v[0] - 1) ** 2 + v[1] ** 2)

    best = min(
        (minimize(loss, s, bounds=[(0.01, 10), (-1, 1)], method="L-BFGS-B", options={"ftol": 1e-16, "gtol": 1e-12})
         for s in ([1, 0], [0.1, 0.5], [3, -0.5])), key=lambda o: o.fun)
    return float(best.x[0])


# --- estimators --------------------------------------------------------------------------------------------------

raw = softmax(z, 1)
seen = softmax(beta * z + delta, 1)


def vit(late, least=0.1):
    slopes = []
    for k in range(C):
        own = y == k
        hit = (z[own].vec.Argmax(1) == k).astype(float)
        conf = raw[own].max(1) if late else z[own, k]
        low, high = (0, 1) if late else (conf.min(), conf.max())
        slopes.append(box(edges_bins(conf, hit, 20, low, high)))
    slopes = np.array(slopes)
    return least + (slopes - slopes.min()) * (1 - least) / (slopes.max() - slopes.min())


def ddc(least=0.1, most=1.0, decay=0.9):
    out = []
    predicted = raw.vec.Argmax(1)
    for k in range(C):
        own = predicted == k
        bins = edges_bins(raw[own].max(1), (y[own] == k).astype(float), 20)
        if own.sum() < 10 or sum(b[0] > 0 for b in bins) < 2:
            value = 1.0
        else:
            slope = line(bins)[0]
            value = np.clip(1 / slope if slope > 0 else np.inf, least, most)
        out.append(decay + (1 - decay) * value)
    return np.array(out)


def slope(late, by="prediction", count=20, equal_count=False, intercept=False, robust=False, use_raw=False, least=0.1,
          most=10.0, ema=0.0, shrink="auto", toward="group"):
    if by == "one-vs-rest" and not late:
        by = "prediction"  # it is of probabilities
    p = raw if use_raw else seen
    series = []
    for k in range(C):
        if by == "one-vs-rest":
            series.append((p[:, k], (y == k).astype(float)))
            continue
        predicted = p.vec.Argmax(1) if late else z.vec.Argmax(1)
        own = (y if by == "label" else predicted) == k
        if late:
            conf = p[own].max(1)
        else:
            conf = z[own, y[own]] if by == "label" else z[own].max(1)
        series.append((conf, (predicted[own] == y[own]).astype(float)))

    def bins(conf, hit):
        if equal_count:
            return quantile_bins(conf, hit, count)
        low, high = (0, 1) if late else (conf.min(), conf.max())
        return edges_bins(conf, hit, count, low, high)

    fit = huber if robust else line
    kept = [bins(c, h) for c, h in series]
    fits = [fit(b, intercept) for b in kept]
    samples = N if by == "one-vs-rest" else np.array([len(c) for c, _ in series])

    def pool(ks):
        conf, hit = (np.concatenate([series[k][i] for k in ks]) for i in (0, 1))
        b = bins(conf, hit)
        a, b0, influence = fit(b, intercept)
        return a, b0, samples[ks].sum(), spread(b, influence, laplace)

    everyone = pool(list(range(C)))
    unit = 1.0 if late else everyone[0]
    values, errors = np.zeros(C), np.zeros(C)
    for ks in [list(range(C))] if toward == "global" else [np.flatnonzero(GROUP == g) for g in (0, 1)]:
        a, b0, total, _ = pool(list(ks))
        x = np.array([fits[k][0] for k in ks])
        v = np.array([spread(kept[k], fits[k][2], lambda m, c, _: (np.clip(a * c + b0, 0, 1) * total + 1) / (total + 2))
                      for k in ks]) ** 2
        m = len(ks)
        if shrink == "auto":
            w = 1 / v
            mu = (w * x).sum() / w.sum()
            q = (w * (x - mu) ** 2).sum()
            tau2 = max(0.0, (q - (m - 1)) / (w.sum() - (w**2).sum() / w.sum()))
            W = 1 / (v + tau2)
            mu = (W * x).sum() / W.sum()
            B = (m - 3) / (m - 1) * v / (v + tau2)
            mean_v = (W * v).sum() / W.sum()
            post = (1 - B) * x + B * mu
            var = v * (1 - (m - 1) / m * B) + 2 / (m - 3) * B**2 * (mean_v + tau2) / (v + tau2) * (x - mu) ** 2
        elif shrink == "none":
            post = x
            var = np.array([spread(kept[k], fits[k][2], laplace) for k in ks]) ** 2
        else:
            keep = samples[ks] / (samples[ks] + shrink)
            post, var = keep * x + (1 - keep) * a, keep * v
        values[ks], errors[ks] = np.clip(post / unit, least, most), np.sqrt(var) / unit
    return ema + (1 - ema) * values, (1 - ema) * errors


# --- temperatures ------------------------------------------------------------------------------------------------


def nll(u, own, w):
    q = z[own] * np.exp(-u)
    return (w[own] * (logsumexp(q, 1) - q[np.arange(own.sum()), y[own]])).sum()


def fit_temperature(w):
    u = minimize_scalar(nll, bounds=np.log([0.01, 100]), args=(np.ones(n, bool), w), method="bounded", options={"xatol": 1e-12}).x
    return float(u)


def classwise(w):
    u0 = fit_temperature(w)
    s = np.exp(-u0)
    p = softmax(s * z, 1)
    mean = (p * z).sum(1)
    var = s * s * ((p * z * z).sum(1) - mean**2)  # information on log T
    score = s * (mean - z[rows, y])  # −dNLL/d log T
    predicted = z.vec.Argmax(1)
    own = [predicted == k for k in range(C)]
    info = np.array([(w * var)[o].sum() for o in own])
    square = np.array([(w * w * var)[o].sum() for o in own])
    x, v = np.array([(w * score)[o].sum() for o in own]) / info, square / info**2
    W = 1 / v
    mu = (W * x).sum() / W.sum()
    tau2 = max(0.0, ((W * (x - mu) ** 2).sum() - (C - 1)) / (W.sum() - (W**2).sum() / W.sum()))
    if tau2 == 0:
        return [float(np.exp(u0))] * C
    return [
        float(np.exp(minimize_scalar(
            lambda u: info[k] / square[k] * nll(u, own[k], w) + (u - u0) ** 2 / (2 * tau2),
            bounds=(u0 - 4, u0 + 4), method="bounded", options={"xatol": 1e-12}).x))
        for k in range(C)
    ]


balanced = 1 / N[y]

out = {
    "classes": C,
    "counts": N.tolist(),
    "group": GROUP.tolist(),
    "labels": y.tolist(),
    "logits": z.ravel().round(3).tolist(),
    "beta": beta.tolist(),
    "delta": delta.tolist(),
    "measures": measure(raw),
    "temperature": float(np.exp(fit_temperature(np.ones(n)))),
    "temperature_balanced": float(np.exp(fit_temperature(balanced))),
    "classwise": classwise(np.ones(n)),
    "classwise_balanced": classwise(balanced),
    "kappa": [],
}

late_or_not = (False, True)
for late in late_or_not:
    out["kappa"].append({"spec": "vit", "late": late, "value": vit(late).tolist()})
    out["kappa"].append({"spec": "vit:min=0.3", "late": late, "value": vit(late, 0.3).tolist()})
    out["kappa"].append({"spec": "ddc", "late": late, "value": ddc().tolist()})
    out["kappa"].append({"spec": "ddc:min=0.2,max=5,ema=0", "late": late, "value": ddc(0.2, 5, 0).tolist()})
    for spec, options in {
        "slope": {},
        "slope:shrink=none": dict(shrink="none"),
        "slope:shrink=20": dict(shrink=20),
        "slope:shrink=20,toward=global": dict(shrink=20, toward="global"),
        "slope:toward=global": dict(toward="global"),
        "slope:by=label": dict(by="label"),
        "slope:by=label,shrink=none": dict(by="label", shrink="none"),
        "slope:by=one-vs-rest": dict(by="one-vs-rest"),
        "slope:by=one-vs-rest,intercept,raw,shrink=5": dict(by="one-vs-rest", intercept=True, use_raw=True, shrink=5),
        "slope:bins=7,equal-count": dict(count=7, equal_count=True),
        "slope:equal-count,bins=7,shrink=none": dict(count=7, equal_count=True, shrink="none"),
        "slope:huber,shrink=none": dict(robust=True, shrink="none"),
        "slope:huber,toward=global": dict(robust=True, toward="global"),
        "slope:raw,shrink=none": dict(use_raw=True, shrink="none"),
        "slope:intercept,by=label,shrink=none": dict(intercept=True, by="label", shrink="none"),
        "slope:huber,intercept,by=label,shrink=none": dict(robust=True, intercept=True, by="label", shrink="none"),
        "slope:min=0.6,max=0.9": dict(least=0.6, most=0.9),
        "slope:ema=0.7": dict(ema=0.7),
        "slope:pass": {},
    }.items():
        value, error = slope(late, **options)
        out["kappa"].append({"spec": spec, "late": late, "value": value.tolist(), "std_err": error.tolist()})

path = pathlib.Path(__file__).with_name("reference.json")
path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
print(path.name, path.stat().st_size, "bytes")
