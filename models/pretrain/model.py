"""The micro ViT: its weights, its forward pass in JAX, and the same graph in ONNX.

A plain pre-norm Vision Transformer (Dosovitskiy et al., 2021, arXiv 2010.11929): patches, a CLS token, learned position
embeddings, multi-head self-attention and a GELU MLP. The patches are 8×8 on a grid of 4, so each sees its surroundings. Its feature is CLS and the mean of the patch
tokens after the final norm, side by side.
"""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIDE, STRIDE, PATCH, WIDTH, DEPTH, HEADS, RATIO = 28, 4, 8, 192, 4, 3, 2
GRID, MARGIN = SIDE // STRIDE, (PATCH - STRIDE) // 2
CELL, LAYOUT = 51, 256  # the layout half of the embedding: CELL numbers a patch, all patches together projected to LAYOUT
EPS = 1e-6
MEAN, STD = 0.5, 0.5  # per channel, after scaling to [0, 1]


def dense_init(rng, m, n):
    return {"w": rng.normal(0, m**-0.5, (m, n)).astype(np.float32), "b": np.zeros(n, np.float32)}


def init(rng):
    """Weights as a nested dict of float32 arrays, drawn from the numpy generator rng."""
    def norm():
        return {"w": np.ones(WIDTH, np.float32), "b": np.zeros(WIDTH, np.float32)}

    def dense(m, n):
        return dense_init(rng, m, n)

    def block():
        return {"norm1": norm(), "qkv": dense(WIDTH, 3 * WIDTH), "out": dense(WIDTH, WIDTH),
                "norm2": norm(), "up": dense(WIDTH, RATIO * WIDTH), "down": dense(RATIO * WIDTH, WIDTH)}

    return {
        "patch": dense(3 * PATCH * PATCH, WIDTH),  # rows ordered channel, y, x: the layout of a Conv kernel
        "cls": rng.normal(0, 0.02, WIDTH).astype(np.float32),
        "position": rng.normal(0, 0.02, (1 + GRID * GRID, WIDTH)).astype(np.float32),
        "blocks": [block() for _ in range(DEPTH)],
        "norm": norm(),
        "cell": dense(WIDTH, CELL),
        "layout": dense(GRID * GRID * CELL, LAYOUT),
    }


def dense(p, x):
    # One large product over all rows is what CPU matrix libraries are good at.
    return (x.reshape(-1, x.shape[-1]) @ p["w"] + p["b"]).reshape(*x.shape[:-1], -1)


def norm(p, x):
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + EPS) * p["w"] + p["b"]


def forward(p, pixels, keep=None):
    """Tokens [n, 1+patches, WIDTH] of normalised pixels [n, 3, SIDE, SIDE].

    keep [n, k] names the patches that are encoded; the others are dropped before the first block (as in MAE).
    """
    n = pixels.shape[0]
    x = jax.lax.conv_general_dilated_patches(pixels, (PATCH, PATCH), (STRIDE, STRIDE), [(MARGIN, MARGIN)] * 2)
    x = x.reshape(n, -1, GRID * GRID).swapaxes(1, 2)
    position = jnp.broadcast_to(p["position"][1:], (n, GRID * GRID, WIDTH))
    if keep is not None:
        x = jnp.take_along_axis(x, keep[:, :, None], 1)
        position = p["position"][1:][keep]
    x = dense(p["patch"], x) + position
    x = jnp.concatenate([jnp.broadcast_to(p["cls"] + p["position"][0], (n, 1, WIDTH)), x], 1)
    for b in p["blocks"]:
        q, k, v = jnp.moveaxis(dense(b["qkv"], norm(b["norm1"], x)).reshape(n, -1, 3, HEADS, WIDTH // HEADS), 2, 0)
        a = jax.nn.softmax(jnp.einsum("nqhd,nkhd->nhqk", q, k) * (WIDTH // HEADS) ** -0.5, -1)
        x = x + dense(b["out"], jnp.einsum("nhqk,nkhd->nqhd", a, v).reshape(x.shape))
        x = x + dense(b["down"], jax.nn.gelu(dense(b["up"], norm(b["norm2"], x)), approximate=False))
    return norm(p["norm"], x)


def embedding(p, tokens, keep=None):
    """CLS [n, WIDTH] and layout [n, LAYOUT] side by side, and the cells [n, k, CELL] that layout is read from.

    CLS says what is seen, layout where: the mean of the patch tokens would forget the place. Patches that were dropped
    count as zeros.
    """
    cells = dense(p["cell"], tokens[:, 1:])
    placed = cells
    if keep is not None:
        placed = jnp.zeros((len(tokens), GRID * GRID, CELL)).at[jnp.arange(len(tokens))[:, None], keep].set(cells)
    layout = dense(p["layout"], placed.reshape(len(tokens), -1))
    return jnp.concatenate([tokens[:, 0], layout], -1), cells


def to_onnx(p, metadata):
    """The ONNX model (opset 17, dynamic batch): pixel_values -> embedding, last_hidden_state."""
    nodes, weights = [], []

    def const(name, value):
        weights.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def affine(name, d, x):
        x = node("MatMul", [x, const(name + ".weight", d["w"])], name + ".product")
        return node("Add", [x, const(name + ".bias", d["b"])], name)

    def layer_norm(name, d, x):
        return node("LayerNormalization", [x, const(name + ".weight", d["w"]), const(name + ".bias", d["b"])], name,
                    axis=-1, epsilon=EPS)

    p = jax.tree.map(np.asarray, p)
    kernel = p["patch"]["w"].T.reshape(WIDTH, 3, PATCH, PATCH)
    x = node("Conv", ["pixel_values", const("patch.weight", kernel), const("patch.bias", p["patch"]["b"])], "patch.map",
             kernel_shape=[PATCH, PATCH], strides=[STRIDE, STRIDE], pads=[MARGIN] * 4)
    x = node("Reshape", [x, const("patch.shape", np.int64([0, WIDTH, GRID * GRID]))], "patch.flat")
    x = node("Transpose", [x], "patch.tokens", perm=[0, 2, 1])
    # CLS once for every image of the batch.
    cls = node("Shape", ["pixel_values"], "cls.batch", start=0, end=1)
    cls = node("Concat", [cls, const("cls.tail", np.int64([1, WIDTH]))], "cls.shape", axis=0)
    cls = node("Expand", [const("cls.token", p["cls"].reshape(1, 1, WIDTH)), cls], "cls")
    x = node("Concat", [cls, x], "tokens", axis=1)
    x = node("Add", [x, const("position", p["position"])], "embedded")
    split = const("heads.split", np.int64([0, 0, HEADS, WIDTH // HEADS]))
    merge = const("heads.merge", np.int64([0, 0, WIDTH]))
    half, one, root2 = (const(k, np.float32(v)) for k, v in (("half", 0.5), ("one", 1.0), ("sqrt2", 2**0.5)))
    for i, b in enumerate(p["blocks"]):
        at = f"block{i}."
        y = layer_norm(at + "norm1", b["norm1"], x)
        parts = {}
        for j, name in enumerate("qkv"):
            cut = {k: b["qkv"][k][..., j * WIDTH:(j + 1) * WIDTH] for k in "wb"}
            if name == "q":  # the softmax scale, folded into the projection
                cut = {k: v * np.float32((WIDTH // HEADS) ** -0.5) for k, v in cut.items()}
            z = node("Reshape", [affine(at + name, cut, y), split], at + name + ".heads")
            parts[name] = node("Transpose", [z], at + name + ".t", perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3])
        a = node("Softmax", [node("MatMul", [parts["q"], parts["k"]], at + "scores")], at + "attention", axis=-1)
        a = node("Transpose", [node("MatMul", [a, parts["v"]], at + "mixed")], at + "mixed.t", perm=[0, 2, 1, 3])
        a = affine(at + "out", b["out"], node("Reshape", [a, merge], at + "merged"))
        x = node("Add", [x, a], at + "residual1")
        u = affine(at + "up", b["up"], layer_norm(at + "norm2", b["norm2"], x))
        e = node("Add", [node("Erf", [node("Div", [u, root2], at + "gelu.div")], at + "gelu.erf"), one], at + "gelu.add")
        u = node("Mul", [node("Mul", [u, e], at + "gelu.mul"), half], at + "gelu")
        x = node("Add", [x, affine(at + "down", b["down"], u)], at + "residual2")
    layer_norm("last_hidden_state", p["norm"], x)
    first = node("Gather", ["last_hidden_state", const("pool.first", np.int64(0))], "pool.cls", axis=1)
    ends = [const("pool." + k, np.int64([v])) for k, v in (("start", 1), ("end", 1 + GRID * GRID), ("axis", 1))]
    rest = node("Slice", ["last_hidden_state", *ends], "pool.patches")
    rest = node("Reshape", [affine("cell", p["cell"], rest), const("cell.row", np.int64([0, GRID * GRID * CELL]))], "cells")
    node("Concat", [first, affine("layout", p["layout"], rest)], "embedding", axis=1)

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

    graph = helper.make_graph(nodes, "vit", [value("pixel_values", 3, SIDE, SIDE)],
                              [value("embedding", WIDTH + LAYOUT), value("last_hidden_state", 1 + GRID * GRID, WIDTH)],
                              weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="vitft", ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def difference(p, data):
    """The largest difference between the outputs of the ONNX model (bytes) and of the forward pass here."""
    x = np.random.default_rng(1).uniform(-1, 1, (7, 3, SIDE, SIDE)).astype(np.float32)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    got = session.run(["embedding", "last_hidden_state"], {"pixel_values": x})
    tokens = forward(p, x)
    return float(max(np.abs(got[0] - embedding(p, tokens)[0]).max(), np.abs(got[1] - tokens).max()))
