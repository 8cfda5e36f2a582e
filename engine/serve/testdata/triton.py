"""Ask a server of the Open Inference Protocol with Triton's own clients, by HTTP and by gRPC.

    triton.py HOST:PORT MODEL PIXELS IMAGE...

IMAGE are encoded images, PIXELS the same preprocessed, raw float32. Asks about each as image and as pixels, in binary
and in JSON, and prints a JSON object for each: label, probability, what the classification extension says, and whether
all answers were the same.
"""
import base64
import json
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http

address, model, pixels_path, *paths = sys.argv[1:]
images = [open(path, "rb").read() for path in paths]


def text(label):  # JSON has strings where binary has bytes
    return label.decode() if isinstance(label, bytes) else str(label)


def ask(triton, client, name, datatype, data, outputs, binary):
    how = {"binary_data": binary} if triton is tritonclient.http else {}  # gRPC is always binary
    given = triton.InferInput(name, list(data.shape), datatype)
    given.set_data_from_numpy(data, **how)
    wanted = [triton.InferRequestedOutput(o, **how) for o in outputs]
    r = client.infer(model, [given], outputs=wanted, request_id="7", model_version="1")
    about = r.get_response()
    assert (about["id"] if isinstance(about, dict) else about.id) == "7"
    listed = client.infer(model, [given], outputs=[triton.InferRequestedOutput("probabilities", class_count=2, **how)])
    return {"listed": listed.as_numpy("probabilities"), **{o: r.as_numpy(o) for o in outputs}}


def about(triton):
    """What one client learns of server and model; the other must learn the same."""
    client = triton.InferenceServerClient(address)
    as_json = {} if triton is tritonclient.http else {"as_json": True}
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    assert client.is_model_ready(model, "1")
    try:
        assert not client.is_model_ready("no such model")
    except tritonclient.grpc.InferenceServerException as e:
        assert "NOT_FOUND" in e.status(), e
    server = client.get_server_metadata(**as_json)
    assert server["name"] == "vitft" and "classification" in server["extensions"], server
    metadata = client.get_model_metadata(model, "1", **as_json)
    assert metadata["name"] == model and metadata["versions"] == ["1"], metadata
    config = client.get_model_config(model, **as_json)
    config = config.get("config", config)
    assert [o["name"] for o in config["output"]] == [o["name"] for o in metadata["outputs"]], config
    stats = client.get_inference_statistics(model, **as_json)["model_stats"]
    assert [s["name"] for s in stats] == [model], stats
    index = client.get_model_repository_index(**as_json)
    index = index.get("models", index) if isinstance(index, dict) else index
    assert index[0]["name"] == model and index[0]["state"] == "READY", index
    return client, {o["name"]: [int(n) for n in o["shape"]] for o in metadata["inputs"] + metadata["outputs"]}


encoded = np.array(images, dtype=np.object_)
written = np.array([base64.b64encode(i) for i in images], dtype=np.object_)
http, shapes = about(tritonclient.http)
grpc, same_shapes = about(tritonclient.grpc)
assert shapes == same_shapes, (shapes, same_shapes)
outputs = [o for o in shapes if o not in ("image", "pixel_values")]
pixels = np.fromfile(pixels_path, np.float32).reshape(len(paths), *shapes["pixel_values"][1:])
answers = [
    ask(tritonclient.http, http, "image", "BYTES", encoded, outputs, True),
    ask(tritonclient.http, http, "image", "BYTES", written, outputs, False),
    ask(tritonclient.http, http, "pixel_values", "FP32", pixels, outputs, True),
    ask(tritonclient.http, http, "pixel_values", "FP32", pixels, outputs, False),
    ask(tritonclient.grpc, grpc, "image", "BYTES", encoded, outputs, True),
    ask(tritonclient.grpc, grpc, "pixel_values", "FP32", pixels, outputs, True),
]
for i in range(len(images)):
    first = answers[0]
    same = all(np.array_equal(a[o][i], first[o][i]) for a in answers for o in outputs if o != "label")
    same = same and len({text(a["label"][i]) for a in answers}) == 1
    same = same and len({tuple(map(text, a["listed"][i])) for a in answers}) == 1
    print(json.dumps({
        "label": text(first["label"][i]), "probability": float(first["probabilities"][i].max()),
        "listed": [text(line) for line in first["listed"][i]], "same": bool(same),
    }))
