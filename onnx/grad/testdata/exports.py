"""Makes exports/: small encoders of many families as exporters and optimisers write them, with PyTorch's gradients.

    python onnx/grad/testdata/exports.py onnx/grad/testdata/exports     (torch, torchvision, timm,
    transformers, vit-pytorch, onnx, onnxruntime)

Weights are random. Beside a model NAME.onnx is NAME.json: shapes, weights of the feature (seed), the feature and, by
autograd in float64, the gradient of Σ seed·feature by the pixels, as float32 in base64. pixels.f32 is for all.
"""
import base64
import json
import logging
import os
import sys
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import timm
import torch
import torchvision
import transformers as tr
import vit_pytorch
from onnxruntime.transformers import optimizer
from timm.models import beit, cait, convnext, eva, swin_transformer, vision_transformer as vit

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)  # which no exporter knows
OUT = sys.argv[1]


class Feature(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if not hasattr(self.model, "config"):
            return self.model(x)
        o = self.model(pixel_values=x)
        return o.pooler_output if getattr(o, "pooler_output", None) is not None else o.last_hidden_state[:, 0]


def export(name, model, how, size=16):
    generator = torch.Generator().manual_seed(1)
    normal = lambda *shape: torch.randn(*shape, generator=generator)
    x = normal(2, 3, size, size)
    for p in model.parameters():  # off the zeros and ones of a fresh model
        p.data += 0.1 * normal(*p.shape)
    f = Feature(model).eval()
    xd = x.double().requires_grad_()
    y = f.double()(xd)
    seed = normal(*y.shape)
    (y * seed.double()).sum().backward()
    f.float()
    exporter, opset, *optimise = how.split("-")
    base = f"{OUT}/{name}-{how}"
    names = dict(input_names=["pixel_values"], output_names=["feature"])
    with torch.no_grad():
        if exporter == "trace":
            torch.onnx.export(f, x, base + ".onnx", dynamo=False, opset_version=int(opset),
                              dynamic_axes={"pixel_values": {0: "batch"}, "feature": {0: "batch"}}, **names)
        else:
            torch.onnx.export(f, (x,), base + ".onnx", dynamo=True, opset_version=int(opset), external_data=False,
                              verbose=False, dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},), **names)
    if optimise == ["extended"]:  # what ONNX Runtime itself makes of it
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = base + ".onnx"
        options.log_severity_level = 4
        ort.InferenceSession(base + ".onnx", options, providers=["CPUExecutionProvider"])
    if optimise == ["fused"]:  # what optimum's O2 does
        fused = optimizer.optimize_model(base + ".onnx", model_type="vit", num_heads=2, hidden_size=8, opt_level=0)
        fused.save_model_to_file(base + ".onnx")
    strip(base + ".onnx")
    pack = lambda v: base64.b64encode(v.detach().numpy().astype("<f4").tobytes()).decode()
    x.numpy().astype("<f4").tofile(f"{OUT}/pixels.f32")
    json.dump({"x": list(x.shape), "y": list(y.shape), "seed": pack(seed), "feature": pack(y),
               "gradient": pack(xd.grad)}, open(base + ".json", "w"), indent=0)
    print(name, how, os.path.getsize(base + ".onnx"))


def strip(path):
    """Leaves out documentation, and gives everything short names."""
    m = onnx.load(path)
    g = m.graph
    g.ClearField("value_info")
    m.ClearField("metadata_props")
    names = {v.name: v.name for v in [*g.input, *g.output]}
    names[""] = ""
    short = lambda name: names.setdefault(name, f"t{len(names)}")

    def rename(g):
        for t in g.initializer:
            t.name = short(t.name)
            t.ClearField("doc_string")
        for i, n in enumerate(g.node):
            n.name = f"n{i}"
            n.ClearField("doc_string")
            n.ClearField("metadata_props")
            n.input[:] = [short(v) for v in n.input]
            n.output[:] = [short(v) for v in n.output]
            for inner in (a.g for a in n.attribute if a.type == onnx.AttributeProto.GRAPH):
                rename(inner)
                for v in inner.output:
                    v.name = short(v.name)

    rename(g)
    onnx.save(m, path)


def timm_vit(**k):
    torch.manual_seed(0)
    return vit.VisionTransformer(**{**dict(img_size=16, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=0,
                                           mlp_ratio=2), **k})


for how in ("trace-14", "trace-17", "trace-20", "dynamo-18", "dynamo-23", "trace-17-extended", "trace-17-fused"):
    export("vit", timm_vit(), how)
for how in ("trace-17", "dynamo-18"):
    export("registers", timm_vit(reg_tokens=2, init_values=0.1, global_pool="avg"), how)
    export("map", timm_vit(class_token=False, global_pool="map", act_layer="gelu_tanh"), how)
    export("swiglu", timm_vit(mlp_layer=timm.layers.SwiGLUPacked, qk_norm=True, pre_norm=True), how)
    torch.manual_seed(0)
    export("eva", eva.Eva(img_size=16, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=0, mlp_ratio=2,
                          swiglu_mlp=True, use_rot_pos_emb=True, ref_feat_shape=(4, 4)), how)
    export("beit", beit.Beit(img_size=16, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=0, mlp_ratio=2,
                             use_rel_pos_bias=True, use_abs_pos_emb=False, init_values=0.1), how)
    export("cait", cait.Cait(img_size=16, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=0, mlp_ratio=2),
           how)
    export("swin", swin_transformer.SwinTransformer(img_size=16, patch_size=4, window_size=2, embed_dim=8, depths=(2,),
                                                    num_heads=(2,), num_classes=0, mlp_ratio=2), how)
    export("convnext", convnext.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), patch_size=1, num_classes=0), how)
small = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=4)
for how in ("trace-17", "dynamo-18"):
    for name, model, config in (
        ("hf-vit", tr.ViTModel, tr.ViTConfig(hidden_act="quick_gelu", **small)),
        ("hf-dinov2", tr.Dinov2Model, tr.Dinov2Config(use_swiglu_ffn=True, **small)),
        ("hf-clip", tr.CLIPVisionModel, tr.CLIPVisionConfig(**small)),
        ("hf-siglip", tr.SiglipVisionModel, tr.SiglipVisionConfig(**small)),
        ("hf-beit", tr.BeitModel, tr.BeitConfig(use_relative_position_bias=True, **small)),
    ):
        torch.manual_seed(0)
        export(name, model(config), how)
# What hides the structure: casts that change nothing, tables that are computed as the model runs, and a mask of nothing.
for name, model, config, how in (
    ("hf-aimv2", tr.Aimv2VisionModel, tr.Aimv2VisionConfig(**small), "trace-17"),
    ("hf-dinov3", tr.DINOv3ViTModel, tr.DINOv3ViTConfig(num_register_tokens=1, **small), "trace-17"),
    ("hf-vit-eager", tr.ViTModel, tr.ViTConfig(attn_implementation="eager", **small), "dynamo-18"),
):
    torch.manual_seed(0)
    export(name, model(config), how)


class Encoder(torch.nn.Module):
    """A ViT by PyTorch's own layers: a stream of tokens, images and features, as OpenAI's CLIP has it, or norms last."""
    def __init__(self, norm_first):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 8, 4, 4)
        self.first = torch.nn.Parameter(torch.zeros(1, 1, 8))
        self.places = torch.nn.Parameter(torch.zeros(1, 17, 8))
        self.blocks = torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(8, 2, 16, 0, "gelu", batch_first=not norm_first, norm_first=norm_first), 2,
            torch.nn.LayerNorm(8), False)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.places
        if self.blocks.layers[0].self_attn.batch_first:
            return self.blocks(x)[:, 0]
        return self.blocks(x.transpose(0, 1)).transpose(0, 1)[:, 0]


def torchvision_vit():
    model = torchvision.models.VisionTransformer(16, 4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16)
    model.heads = torch.nn.Identity()
    return model


# Attentions of PyTorch's own, and queries, keys and values cut apart at places that are computed.
for how in ("trace-17", "dynamo-18"):
    for name, model in (
        ("sequence-first", lambda: Encoder(norm_first=True)),
        ("post-norm", lambda: Encoder(norm_first=False)),
        ("parallel", lambda: timm_vit(block_fn=vit.ParallelScalingBlock, depth=2)),
        ("two-attentions", lambda: timm_vit(block_fn=vit.ParallelThingsBlock)),
        ("torchvision", torchvision_vit),
        ("vit-pytorch", lambda: vit_pytorch.ViT(image_size=16, patch_size=4, num_classes=8, dim=8, depth=1, heads=2,
                                                mlp_dim=16, dim_head=4)),
    ):
        torch.manual_seed(0)
        export(name, model(), how)
torch.manual_seed(0)
export("torchvision", torchvision_vit(), "dynamo-18-extended")  # whose last bias ONNX Runtime adds to the stream
