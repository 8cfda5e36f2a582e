"""Classify images with Python's ONNX Runtime and Pillow, knowing of the model nothing but what it ships with.

    classify.py metadata MODEL IMAGE...      labels and preprocessing from the file's metadata
    classify.py huggingface MODEL IMAGE...   from config.json and preprocessor_config.json beside it

prints a JSON object a line: label, confidence. Needs onnxruntime, numpy and Pillow; with transformers and its image
processors at hand, --transformers as the last argument takes those in place of the steps spelled out here.
"""
import json
import os
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def resized(image, edge):
    w, h = image.size
    return (edge, edge * h // w) if w <= h else (edge * w // h, edge)


def normalised(image, mean, std):
    x = np.asarray(image, np.float32) / 255
    return ((x - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)


def from_metadata(session):
    meta = session.get_modelmeta().custom_metadata_map
    p = json.loads(meta["vitft.preprocess"])

    def prepare(image):
        if p["orientation"]:
            image = ImageOps.exif_transpose(image)
        image = image.convert("RGB")
        to = p["resize_to"]
        if p["resize"] == "shortest":
            size = resized(image, to)
        else:
            size = (to, to) if to else (p["width"], p["height"])
        image = image.resize(size, getattr(Image.Resampling, p["interpolation"].upper()))
        half = (lambda d: d // 2) if p.get("crop") == "down" else (lambda d: round(d / 2))
        left, top = half(image.width - p["width"]), half(image.height - p["height"])
        image = image.crop((left, top, left + p["width"], top + p["height"]))
        return normalised(image, p["mean"], p["std"])

    return json.loads(meta["vitft.labels"]), prepare


def from_huggingface(folder, processor):
    names = json.load(open(os.path.join(folder, "config.json"), encoding="utf-8"))
    labels = [names["id2label"][str(i)] for i in range(len(names["id2label"]))]
    assert all(names["label2id"][label] == i for i, label in enumerate(labels))
    if processor:
        from transformers import AutoImageProcessor

        processor = AutoImageProcessor.from_pretrained(folder)
        return labels, lambda image: np.asarray(processor(ImageOps.exif_transpose(image), return_tensors="np")["pixel_values"][0], np.float32)
    p = json.load(open(os.path.join(folder, "preprocessor_config.json"), encoding="utf-8"))

    def prepare(image):
        image = ImageOps.exif_transpose(image).convert("RGB")
        size = p["size"]
        to = resized(image, size["shortest_edge"]) if "shortest_edge" in size else (size["width"], size["height"])
        image = image.resize(to, p["resample"])
        if p["do_center_crop"]:
            w, h = p["crop_size"]["width"], p["crop_size"]["height"]
            left, top = (image.width - w) // 2, (image.height - h) // 2
            image = image.crop((left, top, left + w, top + h))
        return normalised(image, p["image_mean"], p["image_std"])

    return labels, prepare


def main():
    source, path, *images = sys.argv[1:]
    processor = images[-1] == "--transformers"
    if processor:
        images.pop()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    labels, prepare = from_metadata(session) if source == "metadata" else from_huggingface(os.path.dirname(path), processor)
    for image in images:
        pixels = prepare(Image.open(image))[None]
        probabilities, logits = session.run(["probabilities", "logits"], {"pixel_values": pixels})
        best = int(logits[0].argmax())
        print(json.dumps({"label": labels[best], "confidence": float(probabilities[0][best])}), flush=True)


if __name__ == "__main__":
    main()
