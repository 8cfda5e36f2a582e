"""Writes containers/: small files of images by the libraries that people write them with.

    pip install datasets==5.2.0 webdataset==1.0.2 pillow pyarrow && python containers.py

Image k is 4×4 pixels of the grey 10·k, as PNG; images are of the classes cat, dog, yak in turn.
"""
import io
import os
import struct
import zipfile

import numpy
import pyarrow
import pyarrow.parquet
import webdataset
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as Pillow

os.chdir(os.path.dirname(os.path.abspath(__file__)))
os.makedirs("containers", exist_ok=True)
os.chdir("containers")
CLASSES = ["cat", "dog", "yak"]


def png(k):
    out = io.BytesIO()
    Pillow.new("L", (4, 4), 10 * k).save(out, "PNG")
    return out.getvalue()


def rows(labels):
    return {"image": [{"bytes": png(k), "path": f"{k}.png"} for k in range(len(labels))], "label": labels}


features = Features({"image": Image(), "label": ClassLabel(names=CLASSES)})
labels = [k % 3 for k in range(6)]
Dataset.from_dict(rows(labels), features).to_parquet("train-00000-of-00001.parquet")
Dataset.from_dict(rows([-1] * 3), features).to_parquet("test-00000-of-00001.parquet")
# No rows, in a group of their own.
pyarrow.parquet.write_table(pyarrow.parquet.read_table("train-00000-of-00001.parquet").slice(0, 0), "empty.parquet")

# Two sorts of labels, as CIFAR-100 has them, beside each other.
two = Features({"img": Image(), "fine_label": ClassLabel(names=CLASSES), "coarse_label": ClassLabel(names=["a", "b"])})
Dataset.from_dict({"img": rows(labels)["image"], "fine_label": labels, "coarse_label": [0, 1, 1] * 2}, two) \
    .to_parquet("two_labels.parquet")

# Every compression, with dictionaries (also of the old kind) and without, in pages of version 1 and 2, in several groups
# of rows.
table = pyarrow.table({"image": pyarrow.array([png(k) for k in range(6)]),
                       "label": pyarrow.array([CLASSES[k] for k in labels])})
for codec in ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]:
    pyarrow.parquet.write_table(table, f"{codec}.parquet", compression=codec, row_group_size=4,
                                use_dictionary=codec in ("snappy", "zstd"),
                                data_page_version="2.0" if codec in ("gzip", "zstd") else "1.0",
                                version="1.0" if codec == "snappy" else "2.6", write_page_checksum=True)

with webdataset.TarWriter("pairs-000.tar", mtime=0) as tar:
    for k, label in enumerate(labels):
        tar.write({"__key__": f"{k:03}", "png": png(k), "cls": label, "json": {"label": "other"}})
with webdataset.TarWriter("pairs-001.tar", mtime=0) as tar:
    tar.write({"__key__": "006", "png": png(6), "cls": 0})
open("classnames.txt", "w").write("\n".join(CLASSES) + "\n")

with zipfile.ZipFile("folders.zip", "w", zipfile.ZIP_DEFLATED) as z:
    for k, label in enumerate(labels):
        folder = f"set/{CLASSES[label]}"
        for name, content in [(f"{folder}/{k}.png", png(k)), (f"__MACOSX/{folder}/._{k}.png", b"")]:
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, content)
