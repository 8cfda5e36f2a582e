"""Makes the small models of this folder and expected.json: python make.py  (numpy, onnx, onnxruntime).

All are variations of one transformer with random weights: 16 px images, 4 px patches, width 8, one attention block,
5 classes. expected.json holds the features that ONNX Runtime's Python binding gives for the images of pixels().
"""
import json
import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

HERE = pathlib.Path(__file__).parent
D, C, P, SIZE = 8, 5, 4, 16
GRID = (SIZE // P) ** 2


def pixels(n=3):
    """The images the Go tests compute too: small, different everywhere."""
    i = np.arange(n * 3 * SIZE * SIZE, dtype=np.float64)
    return np.sin(i * 0.37).astype(np.float32).reshape(n, 3, SIZE, SIZE)


class Net:
    def __init__(self, opset=17, seed=1):
        self.nodes, self.inits, self.opset = [], [], opset
        self.rng = np.random.default_rng(seed)

    def const(self, name, value):
        self.inits.append(nh.from_array(np.asarray(value), name))
        return name

    def weight(self, name, *shape):
        return self.const(name, (self.rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32))

    def op(self, op, inputs, out, **attrs):
        self.nodes.append(h.make_node(op, inputs, [out], name="n/" + out, **attrs))
        return out

    def tokens(self, x="pixel_values", cls=True, out="last_hidden_state"):
        """Patches, CLS token, position embedding, one attention block, final norm: [B,N,D]."""
        self.op("Conv", [x, self.weight("patch.w", D, 3, P, P), self.weight("patch.b", D)], "patch", strides=[P, P], kernel_shape=[P, P])
        self.op("Shape", ["patch"], "patch_shape")
        self.op("Gather", ["patch_shape", self.const("zero", np.int64(0))], "b")
        self.op("Unsqueeze", ["b", self.const("ax0", np.array([0]))], "b1")
        self.op("Concat", ["b1", self.const("d_minus", np.array([D, -1]))], "flat_shape", axis=0)
        self.op("Reshape", ["patch", "flat_shape"], "flat")
        t = self.op("Transpose", ["flat"], "seq", perm=[0, 2, 1])
        n = GRID
        if cls:
            self.op("Concat", ["b1", self.const("one_d", np.array([1, D]))], "cls_shape", axis=0)
            self.op("Expand", [self.weight("cls", 1, 1, D), "cls_shape"], "cls_b")
            t = self.op("Concat", ["cls_b", t], "with_cls", axis=1)
            n += 1
        x0 = self.op("Add", [t, self.weight("pos", 1, n, D)], "x0")
        for k in "qkv":
            self.op("MatMul", [x0, self.weight(k + ".w", D, D)], k)
        self.op("Transpose", ["k"], "kt", perm=[0, 2, 1])
        self.op("MatMul", ["q", "kt"], "scores")
        self.op("Softmax", ["scores"], "attention", axis=-1)
        self.op("MatMul", ["attention", "v"], "mixed")
        self.op("Add", [x0, "mixed"], "x1")
        self.const("ln.g", np.linspace(0.5, 1.5, D, dtype=np.float32))
        self.const("ln.b", np.linspace(-0.1, 0.1, D, dtype=np.float32))
        return self.op("LayerNormalization", ["x1", "ln.g", "ln.b"], out, axis=-1)

    def cls(self, t, out):
        return self.op("Gather", [t, self.const("cls_at", np.int64(0))], out, axis=1)

    def model(self, inputs, outputs, **kw):
        g = h.make_graph(self.nodes, "fixture", inputs, outputs, self.inits)
        return h.make_model(g, opset_imports=[h.make_opsetid("", self.opset)], ir_version=8, producer_name="make.py", **kw)


def f32(name, *dims, elem=T.FLOAT):
    return h.make_tensor_value_info(name, elem, dims)


IMAGE = f32("pixel_values", "batch", 3, SIZE, SIZE)
expected = {}


def save(name, model, check=True, **choices):
    """choices: what the Go side asks for -> the tensor, or function of the tensors, that it must get."""
    if check:
        onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / name)
    if not choices:
        return
    wanted = {o.name for o in model.graph.output}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for n in probe.graph.node:
        for o in n.output:
            if o not in wanted and o in {v[1] if isinstance(v, tuple) else v for v in choices.values()}:
                probe.graph.output.append(h.make_empty_tensor_value_info(o))
    s = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = s.get_inputs()[0]
    x = pixels()
    if feed.type == "tensor(float16)":
        x = x.astype(np.float16)
    if feed.type == "tensor(uint8)":
        x = np.clip(np.round(np.clip(x, 0, 1) * 255), 0, 255).astype(np.uint8)
    if feed.shape[-1] == 3:
        x = x.transpose(0, 2, 3, 1)
    step = feed.shape[0] if isinstance(feed.shape[0], int) else len(x)
    names = [o.name for o in s.get_outputs()]
    expected[name] = {}
    for choice, v in choices.items():
        how, tensor = v if isinstance(v, tuple) else (lambda a: a, v)
        rows = []
        for i in range(0, len(x), step):
            part = x[i : i + step]
            pad = np.concatenate([part, np.repeat(part[-1:], step - len(part), 0)])
            rows.append(how(s.run([tensor], {feed.name: pad})[0].astype(np.float64))[: len(part)])
        expected[name][choice] = np.concatenate(rows).round(6).tolist()


def cls(a):
    return a[:, 0]


def mean_patches(a):
    return a[:, 1:].mean(1)


def mean(a):
    return a.mean(1)


def both(a):
    return np.concatenate([cls(a), mean_patches(a)], 1)


n = Net()
t = n.tokens()
n.cls(t, "embedding")
n.op("MatMul", ["embedding", n.weight("head.w", D, C)], "logits")
m = n.model([IMAGE], [f32("logits", "batch", C), f32(t, "batch", GRID + 1, D), f32("embedding", "batch", D)])
m.metadata_props.append(onnx.StringStringEntryProto(key="note", value="kept"))
save("pooled.onnx", m, auto="embedding", cls=(cls, t), mean=(mean_patches, t), **{"cls+mean": (both, t), "logits-input": "embedding"})

for opset in (11, 18):  # LayerNormalization is new in 17: the old one normalises by hand
    n = Net(opset)
    if opset == 18:
        t = n.tokens()
    else:
        n.op("Conv", ["pixel_values", n.weight("patch.w", D, 3, P, P)], "patch", strides=[P, P], kernel_shape=[P, P])
        n.op("Reshape", ["patch", n.const("s", np.array([0, D, GRID]))], "flat")
        t = n.op("Transpose", ["flat"], "last_hidden_state", perm=[0, 2, 1])
    if opset == 18:
        save("opset18.onnx", n.model([IMAGE], [f32(t, "batch", GRID + 1, D)]), auto=(cls, t), mean=(mean_patches, t))
    else:
        save("opset11.onnx", n.model([IMAGE], [f32(t, "batch", GRID, D)]), auto=(mean, t))

n = Net()
t = n.tokens(cls=False)
save("tokens_no_cls.onnx", n.model([IMAGE], [f32(t, "batch", "n", "d")]), auto=(mean, t))

n = Net()
n.cls(n.tokens(out="norm"), "cls_token")
n.weight("head.w", C, D), n.weight("head.b", C)
n.op("Gemm", ["cls_token", "head.w", "head.b"], "logits", transB=1)
save("gemm.onnx", n.model([IMAGE], [f32("logits", "batch", C)]), auto="cls_token")

n = Net()
n.cls(n.tokens(out="norm"), "cls_token")
n.op("MatMul", ["cls_token", n.weight("head.w", D, C)], "mm")
n.op("Add", ["mm", n.weight("head.b", C)], "scores_")
n.op("Softmax", ["scores_"], "output", axis=-1)
save("matmul_softmax.onnx", n.model([IMAGE], [f32("output", "batch", C)]), auto="cls_token")

n = Net()  # BERT's pooler beside the tokens: the tokens are the better choice
t = n.tokens()
n.cls(t, "c")
n.op("Gemm", ["c", n.weight("pool.w", D, D), n.weight("pool.b", D)], "dense")
n.op("Tanh", ["dense"], "pooler_output")
save("tanh_pooler.onnx", n.model([IMAGE], [f32(t, "batch", GRID + 1, D), f32("pooler_output", "batch", D)]), auto=(cls, t), pooled="pooler_output")

n = Net()
n.cls(n.tokens(x="image"), "embedding")
m = n.model([f32("image", "batch", 3, SIZE, SIZE)], [f32("embedding", "batch", D)])
for i in m.graph.initializer:
    if i.data_type == T.FLOAT:
        i.CopyFrom(nh.from_array(nh.to_array(i).astype(np.float16), i.name))
m.graph.input[0].type.tensor_type.elem_type = T.FLOAT16
m.graph.output[0].type.tensor_type.elem_type = T.FLOAT16
save("float16.onnx", m, auto="embedding", pooled="embedding")

for batch in (1, 2):
    n = Net()
    t = n.tokens()
    n.cls(t, "embedding")
    save(f"batch{batch}.onnx", n.model([f32("pixel_values", batch, 3, SIZE, SIZE)], [f32("embedding", batch, D)]), auto="embedding")

n = Net()
t = n.tokens()
save("dynamic_size.onnx", n.model([f32("pixel_values", "batch", "channels", "height", "width")], [f32(t, "batch", "tokens", "d")]), auto=(cls, t), mean=(mean_patches, t))

n = Net()
n.cls(n.tokens(), "embedding")
m = n.model([IMAGE], [f32("embedding", "batch", D)])
save("external_whole.onnx", m, auto="embedding")
(HERE / "external_whole.onnx").unlink()
expected["external.onnx"] = expected.pop("external_whole.onnx")
(HERE / "external.onnx.data").unlink(missing_ok=True)
onnx.save(m, HERE / "external.onnx", save_as_external_data=True, location="external.onnx.data", size_threshold=0)

n = Net()  # channels last
n.op("Transpose", ["image"], "nchw", perm=[0, 3, 1, 2])
n.cls(n.tokens(x="nchw"), "embedding")
save("nhwc.onnx", n.model([f32("image", "batch", SIZE, SIZE, 3)], [f32("embedding", "batch", D)]), auto="embedding")

n = Net()  # bytes in
n.op("Cast", ["image"], "float_image", to=T.FLOAT)
n.op("Div", ["float_image", n.const("c255", np.float32(255))], "unit")
n.cls(n.tokens(x="unit"), "embedding")
save("uint8.onnx", n.model([f32("image", "batch", 3, SIZE, SIZE, elem=T.UINT8)], [f32("embedding", "batch", D)]), auto="embedding")

n = Net()  # an If node that takes tensors from outside, and names that clash with the boundary's
then = h.make_graph([h.make_node("Mul", ["embedding", "two"], ["then_out"])], "then", [], [f32("then_out", "batch", D)])
other = h.make_graph([h.make_node("Identity", ["embedding"], ["else_out"])], "else", [], [f32("else_out", "batch", D)])
n.cls(n.tokens(x="image", out="pixel_values"), "embedding")
n.const("two", np.float32(2))
n.op("If", [n.const("yes", np.bool_(True))], "features", then_branch=then, else_branch=other)
save("if_clash.onnx", n.model([f32("image", "batch", 3, SIZE, SIZE)], [f32("features", "batch", D)]), auto="features")

n = Net()  # CLIP: two towers; logits_per_image depends on both
t = n.tokens()
n.cls(t, "c")
n.op("MatMul", ["c", n.weight("proj", D, 6)], "image_embeds")
n.op("Gather", [n.weight("vocab", 10, 6), "input_ids"], "words", axis=0)
n.op("ReduceMean", ["words"], "text_embeds", axes=[1], keepdims=0)
n.op("Gemm", ["image_embeds", "text_embeds"], "logits_per_image", transB=1)
ids = h.make_tensor_value_info("input_ids", T.INT64, ["texts", "words"])
m = n.model([ids, IMAGE], [f32("logits_per_image", "batch", "texts"), f32("text_embeds", "texts", 6), f32("image_embeds", "batch", 6)])
save("clip.onnx", m)
image_half = onnx.utils.Extractor(m).extract_model(["pixel_values"], ["image_embeds"])
save("clip_image.onnx", image_half, auto="image_embeds")
(HERE / "clip_image.onnx").unlink()
expected["clip.onnx"] = expected.pop("clip_image.onnx")

n = Net()  # registers in front and no CLS token; mean over what is behind them
n.op("Conv", ["pixel_values", n.weight("patch.w", D, 3, P, P), n.weight("patch.b", D)], "patch", strides=[P, P], kernel_shape=[P, P])
n.op("Reshape", ["patch", n.const("flat_shape", np.array([0, D, -1]))], "flat")
n.op("Transpose", ["flat"], "seq", perm=[0, 2, 1])
n.op("Shape", ["patch"], "patch_shape")
n.op("Slice", ["patch_shape", n.const("c0", np.array([0])), n.const("c1", np.array([1]))], "b1")
n.op("Concat", ["b1", n.const("four_d", np.array([4, D]))], "reg_shape", axis=0)
n.op("Expand", [n.weight("reg_token", 1, 4, D), "reg_shape"], "reg")
t = n.op("Concat", ["reg", "seq"], "tokens", axis=1)
save("registers.onnx", n.model([IMAGE], [f32(t, "batch", "n", "d")]), auto=(lambda y: y[:, 4:].mean(axis=1), t))

n = Net()  # a feature map, channels last
n.op("Conv", ["pixel_values", n.weight("patch.w", D, 3, P, P), n.weight("patch.b", D)], "patch", strides=[P, P], kernel_shape=[P, P])
n.op("Transpose", ["patch"], "last", perm=[0, 2, 3, 1])
t = n.op("LayerNormalization", ["last", n.weight("norm.w", D), n.weight("norm.b", D)], "map", axis=-1)
save("map_nhwc.onnx", n.model([IMAGE], [f32(t, "batch", "h", "w", "d")]), auto=(lambda y: y.mean(axis=(1, 2)), t))

# What must be refused.
m2 = onnx.ModelProto()
m2.CopyFrom(m)
del m2.graph.output[1:]
save("refuse_clip_logits.onnx", m2)

n = Net()
n.op("Gather", [n.weight("vocab", 10, D), "input_ids"], "last_hidden_state", axis=0)
save("refuse_bert.onnx", n.model([ids], [f32("last_hidden_state", "texts", "words", D)]))

n = Net()
n.op("Conv", ["image", n.weight("w", D, 1, P, P)], "y", strides=[P, P])
n.op("GlobalAveragePool", ["y"], "z")
n.op("Flatten", ["z"], "embedding")
save("refuse_grey.onnx", n.model([f32("image", "batch", 1, SIZE, SIZE)], [f32("embedding", "batch", D)]))

n = Net()
n.cls(n.tokens(), "c")
for k in ("first", "second"):
    n.op("Gemm", ["c", n.weight(k + ".w", D, C)], k)
n.op("Add", ["first", "second"], "logits")
save("refuse_two_heads.onnx", n.model([IMAGE], [f32("logits", "batch", C)]))

n = Net()
n.op("Cast", ["pixel_values"], "half", to=T.BFLOAT16)
n.op("ReduceMean", ["half"], "embedding", axes=[2, 3], keepdims=0)
save("refuse_bfloat16.onnx", n.model([IMAGE], [f32("embedding", "batch", 3, elem=T.BFLOAT16)]))

n = Net(9)
n.op("ReduceMean", ["pixel_values"], "embedding", axes=[2, 3], keepdims=0)
save("refuse_opset9.onnx", n.model([IMAGE], [f32("embedding", "batch", 3)]))

(HERE / "expected.json").write_text(json.dumps(expected, sort_keys=True) + "\n")
