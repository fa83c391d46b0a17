#!/usr/bin/env python3
"""What the default arithmetic costs a probe's scores, in standard deviations of the exact ones.

    candor capture DATA --compute int8 --precision f32 --layers L --out INT8
    candor capture DATA --compute f32 --precision f32 --layers L --out F32
    python precision.py INT8 F32 BUNDLE

L is the layer that BUNDLE reads. Prints the root mean square and the largest difference of reply scores (means over
the reply's tokens) and of token scores. Needs pyarrow, numpy and safetensors.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file


def main(fast, exact, bundle):
    point = json.loads((Path(bundle) / "config.json").read_text())["hook_points"][0]
    tensors = load_file(Path(bundle) / "model.safetensors")
    weight, mean, scale = (tensors[f"{point}.{part}"].reshape(-1) for part in ("weight", "mean", "scale"))
    column = f"resid_post_{point.split('.')[1]}"

    def scores(store):
        table = pq.read_table(sorted(Path(store).glob("part-*.parquet")), columns=["dialogue_id", column])
        vectors = np.asarray(table[column].combine_chunks().flatten()).reshape(table.num_rows, -1)
        return np.asarray(table["dialogue_id"].to_pylist()), ((vectors - mean) / scale) @ weight

    ids, found = scores(fast)
    others, expected = scores(exact)
    assert (ids == others).all(), "the two stores are of the same dialogues"
    report("tokens", found, expected)
    of_replies = [np.array([values[ids == name].mean() for name in dict.fromkeys(ids)]) for values in (found, expected)]
    report("replies", *of_replies)


def report(name, found, expected):
    difference, sigma = found - expected, expected.std()
    rms = np.sqrt((difference**2).mean()) / sigma
    print(f"{len(expected)} {name}: rms {rms:.4f} sigma, largest {np.abs(difference).max() / sigma:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
