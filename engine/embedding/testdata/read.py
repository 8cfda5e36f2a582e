"""Reads the files f.* of a folder with numpy, and f.parquet with pyarrow where that is installed, as docs/embeddings.md
shows, and writes what it has read beside, a line a row."""
import csv
import json
import sys

import numpy as np

folder = sys.argv[1]


def write(name, features, labels, paths, splits, ids):
    with open(f"{folder}/{name}.txt", "w", encoding="utf-8") as out:
        for x, label, path, split, i in zip(features, labels, paths, splits, ids):
            assert x.dtype == np.float32
            print(path, label, split, i, *(f"{v:08x}" for v in x.view(np.uint32)), sep="|", file=out)


f = np.load(f"{folder}/f.npz")  # without pickle
ids = [bytes(i).hex() for i in f["sha256"]]
write("npz", f["features"], f["classes"][f["labels"]], f["paths"], f["splits"], ids)


def text(cell):  # an apostrophe is before what a spreadsheet would take for a formula
    return cell[1:] if cell.startswith("'=") else cell


rows = list(csv.DictReader(open(f"{folder}/f.csv", encoding="utf-8")))
column = lambda name: [text(r[name]) for r in rows]
write("npy", np.load(f"{folder}/f.npy", mmap_mode="r"), column("label"), column("path"), column("split"), column("sha256"))

data = open(f"{folder}/f.safetensors", "rb").read()  # safetensors.numpy.load_file does this
start = 8 + int.from_bytes(data[:8], "little")
header = json.loads(data[8:start])
said = {key.removeprefix("vitft."): value for key, value in header["__metadata__"].items()}


def tensor(name, dtype):
    begin, end = header[name]["data_offsets"]
    return np.frombuffer(data[start + begin : start + end], dtype).reshape(header[name]["shape"])


classes, splits = json.loads(said["classes"]), json.loads(said["splits"])
write("safetensors", tensor("features", "<f4"), [classes[k] for k in tensor("labels", "<i8")], json.loads(said["paths"]),
      [splits[k] for k in tensor("splits", "u1")], [bytes(i).hex() for i in tensor("ids", "u1")])

try:
    import pyarrow.parquet as pq
except ImportError:
    print("pyarrow is not installed: f.parquet was not read")
    sys.exit()
t = pq.read_table(f"{folder}/f.parquet").to_pydict()
write("parquet", np.array(t["embedding"], np.float32), t["label"], t["path"], t["split"], t["sha256"])
