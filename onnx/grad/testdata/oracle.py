"""Makes oracle.json, the gradients of the cases of cases_test.go by PyTorch's autograd, in float64:

    go test ./onnx/grad -run Dump -dump /tmp/cases
    python onnx/grad/testdata/oracle.py /tmp/cases        (numpy, onnx, torch)

Each case is an ONNX model that is evaluated here operator by operator with torch. Nothing is shared with the Go rules.
"""
import base64
import json
import math
import pathlib
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper as h
from onnx import numpy_helper as nh

HERE = pathlib.Path(__file__).parent


def ints(x):
    return [int(v) for v in x.reshape(-1)]


def axes_of(x, ins, a, at=1):
    if "axes" in a:
        return [v % x.dim() for v in a["axes"]]
    if len(ins) > at and ins[at] is not None:
        return [v % x.dim() for v in ints(ins[at])]
    return list(range(x.dim()))


def attend(q, k, v, bias, scale):
    s = q @ k.transpose(-1, -2) * (scale or 1 / math.sqrt(q.shape[-1]))
    if bias is not None:
        s = s.masked_fill(~bias, -math.inf) if bias.dtype == torch.bool else s + bias
    return s.softmax(-1) @ v


def heads(x, n):
    return x.reshape(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


def rotary(x, cos, sin, a):
    if "num_heads" in a and x.dim() == 3:
        return joined(rotary(heads(x, a["num_heads"]), cos, sin, {k: v for k, v in a.items() if k != "num_heads"}))
    r = a.get("rotary_embedding_dim", 0) or x.shape[-1]
    z, rest = x[..., :r], x[..., r:]
    cos, sin = cos[:, None, :, : r // 2], sin[:, None, :, : r // 2]
    if a.get("interleaved"):
        p, q = z[..., 0::2], z[..., 1::2]
        out = torch.stack([p * cos - q * sin, p * sin + q * cos], -1).flatten(-2)
    else:
        p, q = z.chunk(2, -1)
        out = torch.cat([p * cos - q * sin, p * sin + q * cos], -1)
    return torch.cat([out, rest], -1)


def slices(x, ins):
    start, end = ints(ins[1]), ints(ins[2])
    axes = ints(ins[3]) if len(ins) > 3 else range(len(start))
    steps = ints(ins[4]) if len(ins) > 4 else [1] * len(start)
    for b, e, ax, st in zip(start, end, axes, steps):
        x = x.index_select(ax, torch.tensor(range(*slice(b, e, st).indices(x.shape[ax])), dtype=torch.long))
    return x


def layer_norm(x, g, b, axis, eps):
    axis %= x.dim()
    return F.layer_norm(x, x.shape[axis:], g, b, eps)


def rms(x, g, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * g


def gelu(x, tanh=False):
    return F.gelu(x, approximate="tanh" if tanh else "none")


def conv(x, w, b, a):
    k = w.dim() - 2
    p = a.get("pads", [0] * 2 * k)
    assert p[:k] == p[k:]
    f = {1: F.conv1d, 2: F.conv2d}[k]
    return f(x, w, b, a.get("strides", 1), p[:k], a.get("dilations", 1), a.get("group", 1))


def pad(x, ins):
    p, axes = ints(ins[1]), range(x.dim())
    if len(ins) > 3:
        axes = [v % x.dim() for v in ints(ins[3])]
    front, back = [0] * x.dim(), [0] * x.dim()
    for i, ax in enumerate(axes):
        front[ax], back[ax] = p[i], p[i + len(axes)]
    value = float(ins[2]) if len(ins) > 2 and ins[2] is not None else 0.0
    return F.pad(x, [v for i in reversed(range(x.dim())) for v in (front[i], back[i])], value=value)


def gather_nd(x, i):
    return x[tuple(i.reshape(-1, i.shape[-1]).T)].reshape(*i.shape[:-1], *x.shape[i.shape[-1]:])


def evaluate(op, ins, a, outs, opset):
    x = ins[0] if ins else None
    y = ins[1] if len(ins) > 1 else None
    z = ins[2] if len(ins) > 2 else None
    keep = bool(a.get("keepdims", 1))
    simple = {
        "Add": lambda: x + y, "Sub": lambda: x - y, "Mul": lambda: x * y, "Div": lambda: x / y,
        "Pow": lambda: x ** y, "Sum": lambda: sum(ins[1:], x), "Mean": lambda: sum(ins[1:], x) / len(ins),
        "Where": lambda: torch.where(x, y, z), "Greater": lambda: x > y, "Neg": lambda: -x, "Exp": x.exp,
        "Log": lambda: x.log(), "Sqrt": lambda: x.sqrt(), "Reciprocal": lambda: 1 / x, "Abs": lambda: x.abs(),
        "Sin": lambda: x.sin(), "Cos": lambda: x.cos(), "Erf": lambda: x.erf(), "Tanh": lambda: x.tanh(),
        "Sigmoid": lambda: x.sigmoid(), "Softplus": lambda: F.softplus(x), "Relu": lambda: x.relu(),
        "LeakyRelu": lambda: F.leaky_relu(x, a.get("alpha", 0.01)), "Elu": lambda: F.elu(x, a.get("alpha", 1.0)),
        "Selu": lambda: F.selu(x), "Softsign": lambda: F.softsign(x), "Mish": lambda: F.mish(x),
        "HardSigmoid": lambda: (x * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
        "HardSwish": lambda: F.hardswish(x), "Identity": lambda: x, "Dropout": lambda: x, "Cast": lambda: x, "CastLike": lambda: x,
        "Swish": lambda: x * (a.get("alpha", 1.0) * x).sigmoid(),
        "QuickGelu": lambda: x * (a.get("alpha", 1.702) * x).sigmoid(), "BiasGelu": lambda: gelu(x + y),
        "FastGelu": lambda: gelu(x if y is None else x + y, True),
        "Gelu": lambda: gelu(x, a.get("approximate") == b"tanh"), "PRelu": lambda: torch.where(x > 0, x, x * y),
        "MatMul": lambda: x @ y, "Transpose": lambda: x.permute(a.get("perm", list(range(x.dim()))[::-1])),
        "Clip": lambda: x.clamp(None if y is None else float(y), None if z is None else float(z)),
        "LogSoftmax": lambda: x.log_softmax(a.get("axis", -1)), "Expand": lambda: x.expand(torch.broadcast_shapes(x.shape, ints(y))),
        "LayerNormalization": lambda: layer_norm(x, y, z, a.get("axis", -1), a.get("epsilon", 1e-5)),
        "RMSNormalization": lambda: rms(x, y, a.get("epsilon", 1e-5)),
        "SimplifiedLayerNormalization": lambda: rms(x, y, a.get("epsilon", 1e-5)),
        "SkipSimplifiedLayerNormalization": lambda: rms(x + y, z, a["epsilon"]),
        "BatchNormalization": lambda: F.batch_norm(x, ins[3], ins[4], y, z),
        "InstanceNormalization": lambda: F.instance_norm(x, weight=y, bias=z),
        "GroupNormalization": lambda: F.group_norm(x, a["num_groups"], y, z),
        "LpNormalization": lambda: F.normalize(x, p=a["p"], dim=a["axis"]),
        "GlobalAveragePool": lambda: x.mean((2, 3), keepdim=True), "GlobalMaxPool": lambda: x.amax((2, 3), keepdim=True),
        "Flatten": lambda: x.reshape(math.prod(x.shape[: a["axis"]]), -1), "Conv": lambda: conv(x, y, z, a),
        "FusedConv": lambda: conv(x, y, z, a).relu(), "Pad": lambda: pad(x, ins), "Slice": lambda: slices(x, ins),
        "Einsum": lambda: torch.einsum(a["equation"].decode(), *ins), "Tile": lambda: x.repeat(ints(y)),
        "Concat": lambda: torch.cat(ins, a["axis"]), "Shape": lambda: torch.tensor(x.shape),
        "ConstantOfShape": lambda: torch.zeros(ints(x)), "GatherND": lambda: gather_nd(x, y),
        "ScatterND": lambda: x.index_put(tuple(y.reshape(-1, y.shape[-1]).T), z),
        "Gather": lambda: x.index_select(a.get("axis", 0), y.reshape(-1) % x.shape[a.get("axis", 0)]).reshape(
            [*x.shape[: a.get("axis", 0)], *y.shape, *x.shape[a.get("axis", 0) + 1:]]),
    }
    if op in simple:
        return [simple[op]()]
    if op in ("Max", "Min"):
        f = torch.maximum if op == "Max" else torch.minimum
        for v in ins[1:]:
            x = f(x, v)
        return [x]
    if op.startswith("Reduce"):
        ax = axes_of(x, ins, a)
        f = {"Mean": lambda: x.mean(ax, keep), "Sum": lambda: x.sum(ax, keep), "Max": lambda: x.amax(ax, keep),
             "Min": lambda: x.amin(ax, keep), "L1": lambda: x.abs().sum(ax, keep), "L2": lambda: x.norm(2, ax, keep),
             "SumSquare": lambda: x.square().sum(ax, keep), "LogSumExp": lambda: x.logsumexp(ax, keep)}
        return [f[op[6:]]()]
    if op == "Softmax":
        if opset < 13:
            n = a.get("axis", 1)
            return [x.flatten(n).softmax(-1).reshape(x.shape)]
        return [x.softmax(a.get("axis", -1))]
    if op in ("Gemm", "FusedGemm"):
        r = a.get("alpha", 1.0) * (x.T if a.get("transA") else x) @ (y.T if a.get("transB") else y)
        r = r if z is None else r + a.get("beta", 1.0) * z
        return [r.relu() if op == "FusedGemm" else r]
    if op == "FusedMatMul":
        return [a["alpha"] * x.transpose(-1, -2) @ y.transpose(-1, -2)]
    if op == "SkipLayerNormalization":
        s = x + y + ins[4]
        return [layer_norm(s, z, ins[3], -1, a["epsilon"]), None, None, s]
    if op in ("Reshape",):
        t = ints(y)
        return [x.reshape([x.shape[i] if v == 0 else v for i, v in enumerate(t)])]
    if op == "Squeeze":
        for v in sorted(axes_of(x, ins, a), reverse=True):
            x = x.squeeze(v)
        return [x]
    if op == "Unsqueeze":
        rank = x.dim() + y.numel()
        for v in sorted(k % rank for k in ints(y)):
            x = x.unsqueeze(v)
        return [x]
    if op == "Split":
        ax = a.get("axis", 0)
        n = a.get("split") or (ints(y) if y is not None else [x.shape[ax] // outs] * outs)
        return list(x.split(n, ax))
    if op == "AveragePool":
        return [F.avg_pool2d(x, a["kernel_shape"], a.get("strides", 1), a["pads"][:2],
                             count_include_pad=bool(a.get("count_include_pad")))]
    if op == "MaxPool":
        return [F.max_pool2d(x, a["kernel_shape"], a["strides"], a["pads"][:2])]
    if op == "Attention" and "num_heads" in a:
        q, k, v = (heads(p, a["num_heads"]) for p in (x @ y + z).chunk(3, -1))
        return [joined(attend(q, k, v, None, None))]
    if op == "Attention":
        mask = ins[3] if len(ins) > 3 else None
        if x.dim() == 3:
            n = a["q_num_heads"]
            return [joined(attend(heads(x, n), heads(y, n), heads(z, n), mask, a.get("scale")))]
        return [attend(x, y, z, mask, a.get("scale"))]
    if op == "MultiHeadAttention":
        n = a["num_heads"]
        if x.dim() == 5:
            q, k, v = x.permute(3, 0, 2, 1, 4)
            return [joined(attend(q, k, v, None, None))]
        if len(ins) > 3:
            b = ins[3].split([x.shape[2], y.shape[2], z.shape[2]])
            x, y, z = x + b[0], y + b[1], z + b[2]
        bias = ins[5] if len(ins) > 5 else None
        return [joined(attend(heads(x, n), heads(y, n), heads(z, n), bias, a.get("scale")))]
    if op == "RotaryEmbedding":
        if len(ins) == 4 and ins[1].dtype == torch.long:
            return [rotary(x, ins[2][ins[1]], ins[3][ins[1]], a)]
        return [rotary(x, ins[1][ins[3]], ins[2][ins[3]], a) if len(ins) == 4 else rotary(x, ins[1], ins[2], a)]
    raise NotImplementedError(op)


def tensor(t):
    v = torch.tensor(np.array(nh.to_array(t)))
    return v.double() if v.is_floating_point() else v


out = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    m = onnx.load(path)
    meta = {p.key: p.value for p in m.metadata_props}
    wrt = meta["wrt"].split()
    values = {t.name: tensor(t) for t in m.graph.initializer}
    for name in wrt:
        values[name].requires_grad_()
    for n in m.graph.node:
        a = {k.name: h.get_attribute_value(k) for k in n.attribute}
        ins = [values[i] if i else None for i in n.input]
        for name, v in zip(n.output, evaluate(n.op_type, ins, a, len(n.output), m.opset_import[0].version)):
            if name:
                values[name] = v
    assert values["y"].shape == values["seed"].shape, (meta["case"], values["y"].shape, values["seed"].shape)
    (values["y"] * values["seed"]).sum().backward()
    out[meta["case"]] = {
        k: base64.b64encode(v.detach().numpy().astype("<f4").tobytes()).decode()
        for k, v in [("y", values["y"])] + [(n, values[n].grad) for n in wrt]
    }
json.dump(out, open(HERE / "oracle.json", "w"), indent=0, sort_keys=True)
print(len(out), "cases by torch", torch.__version__)
