"""Writes files of embeddings as other programs do (pyarrow 26, polars 2.1, numpy 2.4, safetensors 0.8, from PyPI): the same six rows
in each. Row i has the vector [i, i + 0.25, -i] and the label of its place in LABELS. Run in this folder."""
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

LABELS = ["cat", "dog", "cat", "ant", "dog", "cat"]
NAMES = ["dog", "cat", "ant"]
numbers = [NAMES.index(x) for x in LABELS]
vectors = np.array([[i, i + 0.25, -i] for i in range(6)], dtype=np.float32)
paths = [f"photos/{i}.jpg" for i in range(6)]
splits = ["train"] * 4 + ["test"] * 2


def parquet(name, columns, **kw):
    pq.write_table(pa.table(columns), name + ".parquet", **kw)


doubles = pa.array(vectors.astype(float).tolist())
parquet("list-double", {"image_path": paths, "category": LABELS, "emb": doubles, "split": splits})
fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3)
parquet("fixed-size", {"id": paths, "target": pa.array(numbers, pa.int32()), "vector": fixed}, compression="zstd")
halves = pa.array([list(v) for v in vectors.astype(np.float16)], pa.list_(pa.float16()))
parquet("float16", {"label": LABELS, "features": halves}, row_group_size=2)
table = pa.table({"label": pa.array(numbers, pa.int64()), "embedding": pa.array(vectors.tolist(), pa.list_(pa.float32()))})
features = {"label": {"names": NAMES, "_type": "ClassLabel"}, "embedding": {"feature": {"dtype": "float32"}}}
table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
pq.write_table(table, "class-label.parquet")
parquet("dictionary", {"Label": pa.array(LABELS).dictionary_encode(), "Embedding": fixed}, data_page_version="2.0")
pl.DataFrame({"label": LABELS, "embeddings": vectors.tolist()}).write_parquet("polars.parquet")

parquet("null-vector", {"label": LABELS, "embedding": pa.array([None if i == 3 else v.tolist() for i, v in enumerate(vectors)])})
parquet("null-value", {"label": LABELS, "embedding": pa.array([[None, 1.0, 2.0] if i == 2 else v.tolist() for i, v in enumerate(vectors)])})
parquet("ragged", {"label": LABELS, "embedding": pa.array([v.tolist()[: 2 if i == 4 else 3] for i, v in enumerate(vectors)])})
parquet("null-label", {"label": [None if i == 5 else x for i, x in enumerate(LABELS)], "embedding": doubles})
parquet("not-finite", {"label": LABELS, "embedding": pa.array([[0, float("nan") if i == 1 else 1.0] for i in range(6)])})
parquet("no-label", {"name": LABELS, "embedding": doubles})
parquet("two-vectors", {"label": LABELS, "a": doubles, "b": doubles})
parquet("float-label", {"label": [0.5] * 6, "embedding": doubles})
parquet("images", {"image": pa.array([{"bytes": b"\xff\xd8", "path": p} for p in paths]), "label": numbers})

np.savez_compressed("compressed.npz", X=np.asfortranarray(vectors.astype(np.float64)), y=np.array(LABELS))
np.savez("bytes.npz", embeddings=vectors.astype(">f4"), labels=np.array(LABELS, dtype="S"), split=np.array(splits))
np.savez("objects.npz", features=vectors, labels=np.array(LABELS, dtype=object))
np.savez("fewer.npz", features=vectors, labels=np.array(LABELS[:5]))
np.save("numbers.npy", vectors.astype(np.float16))
open("numbers.csv", "w").write("\ufefflabel,path\n" + "".join(f"{n},{p}\n" for n, p in zip(numbers, paths)))
np.save("alone.npy", vectors)
save_file({"embeddings": vectors, "labels": np.array(numbers, dtype=np.int32)}, "numbers.safetensors")
save_file({"embeddings": vectors}, "unlabelled.safetensors")
