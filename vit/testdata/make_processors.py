"""Makes processors.json: what image processors of transformers make of photos of many sizes, by their defaults and with
small sizes. Run with transformers 5.24.0 and again with 4.57.6, which has two that are gone since; Pillow 13.0.0."""
import importlib, json, os, sys
import numpy as np
from PIL import Image
import transformers

MODULES = {  # class: module, where that is not the class in lower case
    "Blip": "blip", "Bit": "bit", "Beit": "beit", "Chameleon": "chameleon", "ChineseCLIP": "chinese_clip", "CLIP": "clip",
    "ConvNext": "convnext", "DeiT": "deit", "DPT": "dpt", "EfficientNet": "efficientnet", "Flava": "flava",
    "Gemma3": "gemma3", "GotOcr2": "got_ocr2", "Idefics": "idefics", "Levit": "levit", "Llava": "llava",
    "MobileNetV1": "mobilenet_v1", "MobileNetV2": "mobilenet_v2", "MobileViT": "mobilevit", "OwlViT": "owlvit",
    "PoolFormer": "poolformer", "PromptDepthAnything": "prompt_depth_anything", "Pvt": "pvt", "RTDetr": "rt_detr",
    "Segformer": "segformer", "Siglip": "siglip", "ViT": "vit",
}
OLD = {"EfficientFormer": "efficientformer", "ViTHybrid": "vit_hybrid"}
SIZES = [(23, 16), (16, 23), (41, 30), (9, 40), (7, 7), (101, 58)]
KEYS = ["image_processor_type", "size", "crop_size", "crop_pct", "do_center_crop", "do_normalize", "do_rescale", "rescale_factor",
        "rescale_offset", "include_top", "do_flip_channel_order", "image_mean", "image_std", "resample"]


def picture(w, h):
    y, x = np.mgrid[:h, :w]
    return Image.fromarray(np.stack([7 * x + 13 * y, x * y + 50, 255 - 3 * x + 5 * y], 2).astype(np.uint8))


def case(cls, config, sizes, **settings):
    processor, photos = cls(**settings), []
    for w, h in sizes:
        v = processor(picture(w, h), return_tensors="np")
        v = np.asarray(v["pixel_values"] if hasattr(v, "keys") else v)[0]
        at = [i * (v.size - 1) // 11 for i in range(12)]
        photos.append({"width": w, "height": h, "shape": v.shape, "values": [round(float(x), 4) for x in v.ravel()[at]]})
    if config is None:
        config = {k: v for k, v in json.loads(processor.to_json_string()).items() if k in KEYS and v is not None}
    return {"config": config, "photos": photos}


old = transformers.__version__.startswith("4")
path = os.path.join(os.path.dirname(__file__), "processors.json")
cases = json.load(open(path)) if old else []
for name, module in (OLD if old else MODULES).items():
    where = f"deprecated.{module}.image_processing_{module}" if old else f"{module}.image_processing_pil_{module}"
    cls = getattr(importlib.import_module("transformers.models." + where), name + "ImageProcessor" + ("" if old else "Pil"))
    if name not in ("Beit", "MobileViT"):  # ours are those of version 4; it takes blue, green, red by default
        cases.append(case(cls, {"image_processor_type": name + "ImageProcessor"}, SIZES[:2]))
    more = {"crop_size": {"height": 13, "width": 13}}
    if name == "MobileViT":
        more["do_flip_channel_order"] = False
    if name == "EfficientNet":
        more |= {"rescale_offset": True, "rescale_factor": 1 / 127.5}
    square = bool(getattr(cls(), "size").get("height")) if old else getattr(cls.size, "get", lambda k: 0)("height")
    size = {"height": 16, "width": 16} if square else {"shortest_edge": 16}
    cases.append(case(cls, None, SIZES, size=size, **more))
with open(path, "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
print(len(cases), transformers.__version__, file=sys.stderr)
