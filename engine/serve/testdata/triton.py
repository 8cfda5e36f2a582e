"""Ask a server of the Open Inference Protocol with Triton's own client.

    triton.py HOST:PORT MODEL PIXELS IMAGE...

IMAGE are encoded images, PIXELS the same preprocessed, raw float32. Asks about each as image and as pixels, in binary
and in JSON, and prints a JSON object for each: label, probability, and whether all answers were the same.
"""
import base64
import json
import sys

import numpy as np
import tritonclient.http as triton

address, model, pixels_path, *paths = sys.argv[1:]
client = triton.InferenceServerClient(address)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
assert client.is_model_ready(model, "1") and not client.is_model_ready("no such model")
assert client.get_server_metadata()["name"] == "vitft"
about = client.get_model_metadata(model)
assert about["name"] == model and about["versions"] == ["1"], about
inputs = {i["name"]: i for i in about["inputs"]}
outputs = [o["name"] for o in about["outputs"]]
shape = inputs["pixel_values"]["shape"][1:]
pixels = np.fromfile(pixels_path, np.float32).reshape(len(paths), *shape)
images = [open(path, "rb").read() for path in paths]


def ask(name, datatype, data, binary):
    given = triton.InferInput(name, list(data.shape), datatype)
    given.set_data_from_numpy(data, binary_data=binary)
    wanted = [triton.InferRequestedOutput(o, binary_data=binary) for o in outputs]
    r = client.infer(model, [given], outputs=wanted, request_id="7")
    assert r.get_response()["id"] == "7"
    return {o: r.as_numpy(o) for o in outputs}


answers = [
    ask("image", "BYTES", np.array(images, dtype=np.object_), True),
    ask("image", "BYTES", np.array([base64.b64encode(i) for i in images], dtype=np.object_), False),
    ask("pixel_values", "FP32", pixels, True),
    ask("pixel_values", "FP32", pixels, False),
]
for i in range(len(images)):
    label = answers[0]["label"][i]
    same = all(np.array_equal(a[o][i], answers[0][o][i]) for a in answers for o in outputs if o != "label")
    # JSON has strings where binary has bytes
    same = same and len({l.decode() if isinstance(l, bytes) else str(l) for l in (a["label"][i] for a in answers)}) == 1
    print(json.dumps({"label": label.decode() if isinstance(label, bytes) else str(label), "probability": float(answers[0]["probabilities"][i].max()), "same": bool(same)}))
