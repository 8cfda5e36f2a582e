"""Steps of adapters in the last blocks of ViT-Tiny in PyTorch, on demand, for torch_test.go.

    torch_step.py MODEL.onnx FOLDER FIRST RANK IMAGES THREADS

FOLDER has tokens, seed and parameters as float32, and takes the gradients. Each line of the input names a way (eager,
compiled, or class: eager with the last block by the class token alone); the answer is seconds by the clock and of
processor time.
"""
import pathlib
import sys
import time

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

model, folder, first, rank, images, threads = sys.argv[1], pathlib.Path(sys.argv[2]), *map(int, sys.argv[3:])
torch.set_num_threads(threads)
D, HEADS, TOKENS, BLOCKS = 192, 3, 197, 12
W = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(model).graph.initializer}
W = {k: v.t().contiguous() if k.endswith(".w") and v.dim() == 2 else v for k, v in W.items()}  # as nn.Linear has them


def read(name, *shape):
    return torch.from_numpy(np.fromfile(folder / name, np.float32).reshape(shape))


shapes = [(D,), (D,), (rank, D), (rank,), (D, rank), (D,), (1,)]
flat, params = np.fromfile(folder / "params", np.float32), []
for _ in range(first, BLOCKS):
    for s in shapes:
        n = int(np.prod(s))
        params.append(torch.from_numpy(flat[:n].reshape(s).copy()).requires_grad_())
        flat = flat[n:]
tokens, seed = read("tokens", images, TOKENS, D), read("seed", images, D)


def linear(x, name):
    return F.linear(x, W[name + ".w"], W[name + ".b"])


def heads(x):
    return x.view(x.shape[0], x.shape[1], HEADS, D // HEADS).transpose(1, 2)


def embed(x, params, alone):
    for l in range(first, BLOCKS):
        g, b, down, down_b, up, up_b, scale = params[7 * (l - first) : 7 * (l - first) + 7]
        h = F.layer_norm(x, (D,), W[f"{l}.g1"], W[f"{l}.b1"], 1e-12)
        q = h
        if alone and l == BLOCKS - 1:
            x, q = x[:, :1], h[:, :1]
        a = F.scaled_dot_product_attention(*[heads(linear(y, f"{l}.{n}")) for y, n in ((q, "q"), (h, "k"), (h, "v"))])
        x = x + linear(a.transpose(1, 2).reshape(x.shape), f"{l}.proj")
        h = F.layer_norm(x, (D,), W[f"{l}.g2"], W[f"{l}.b2"], 1e-12)
        y = F.relu(F.linear(F.layer_norm(x, (D,), g, b, 1e-5), down, down_b))
        x = x + linear(F.gelu(linear(h, f"{l}.fc1")), f"{l}.fc2") + F.linear(y, up, up_b) * scale
    return F.layer_norm(x[:, 0], (D,), W["gf"], W["bf"], 1e-12)


compiled = torch.compile(embed)
ways = {
    "eager": lambda: embed(tokens, params, False),
    "compiled": lambda: compiled(tokens, params, False),
    "class": lambda: embed(tokens, params, True),
}


def step(way):
    for p in params:
        p.grad = None
    wall, processor = time.perf_counter(), time.process_time()
    ways[way]().backward(seed)
    return time.perf_counter() - wall, time.process_time() - processor


for way in ways:
    step(way)
    step(way)
    np.concatenate([p.grad.numpy().ravel() for p in params]).tofile(folder / f"gradients.{way}")
print("ready", torch.__version__, flush=True)
for line in sys.stdin:
    print(*step(line.strip()), flush=True)
