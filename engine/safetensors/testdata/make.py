"""Writes python.safetensors with the reference library; checks go.safetensors, ours, with it.

    pip install numpy safetensors && python make.py
"""
import os

import numpy as np
from safetensors.numpy import load_file, save_file

here = os.path.dirname(os.path.abspath(__file__))


def content():
    return {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
        "ids": np.arange(35, dtype=np.uint8).reshape(5, 7),
        "steps": np.array([-1, 2**40], dtype=np.int64),
        "half": np.array([0.5, -2], dtype=np.float16),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "scalar": np.array(2.5, dtype=np.float64),
        "naïve/名 <&>\"": np.array([1, -1], dtype=np.int32),
    }


if __name__ == "__main__":
    save_file(content(), os.path.join(here, "python.safetensors"), metadata={"format": "np", "ключ": "a\nb\"<"})
    ours = os.path.join(here, "go.safetensors")
    if os.path.exists(ours):
        got = load_file(ours)
        assert sorted(got) == sorted(content()), sorted(got)
        for name, want in content().items():
            assert got[name].dtype == want.dtype and got[name].shape == want.shape, name
            assert np.array_equal(got[name], want), name
        print("go.safetensors: read and equal")
