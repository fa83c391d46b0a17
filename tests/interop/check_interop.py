"""Opens an activation store with pyarrow, polars, pandas and DuckDB and compares what they read.

    pip install -r tests/requirements.txt
    python tests/interop/check_interop.py tests/fixtures/contracts/store

All four readers must agree with the store's manifest and records on rows, widths and types, and
with each other on every value, bit for bit. The kept store is also compared with the numbers that
its writer was given (src/activations/tests/contract.rs).
"""

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ID_COLUMNS = {
    "dialogue_id": (pa.string(), pl.String, "VARCHAR"),
    "message": (pa.int32(), pl.Int32, "INTEGER"),
    "token_index": (pa.int32(), pl.Int32, "INTEGER"),
    "token_id": (pa.int32(), pl.Int32, "INTEGER"),
    "segment": (pa.string(), pl.String, "VARCHAR"),
    "in_response": (pa.bool_(), pl.Boolean, "BOOLEAN"),
    "in_span": (pa.bool_(), pl.Boolean, "BOOLEAN"),
    "from_end": (pa.int32(), pl.Int32, "INTEGER"),
    "logprob": (pa.float32(), pl.Float32, "FLOAT"),
    "entropy": (pa.float32(), pl.Float32, "FLOAT"),
}
SITES = {
    "hook_resid_pre": "resid_pre",
    "attn.hook_z": "attn_z",
    "hook_attn_out": "attn_out",
    "hook_resid_mid": "resid_mid",
    "mlp.hook_router_logits": "mlp_router_logits",
    "mlp.hook_post": "mlp_post",
    "hook_mlp_out": "mlp_out",
    "hook_resid_post": "resid_post",
}


def column_name(hook_point):
    """`resid_post_12` of `blocks.12.hook_resid_post`."""
    _, layer, site = hook_point.split(".", 2)
    return f"{SITES[site]}_{layer}"


def matrix(rows, n_rows, width):
    """Vectors as float32 [row, width], refusing ragged ones."""
    values = np.array([np.asarray(row, dtype=np.float32) for row in rows], dtype=np.float32)
    assert values.shape == (n_rows, width), (values.shape, n_rows, width)
    return values


def read_pyarrow(path, n_rows, widths):
    file = pq.ParquetFile(path)
    metadata = file.metadata.metadata
    assert metadata[b"format_version"].startswith(b"1."), metadata
    table = file.read()
    for name, (dtype, _, _) in ID_COLUMNS.items():
        assert table.schema.field(name).type == dtype, name
    vectors = {}
    for name, (hook_point, width) in widths.items():
        field = table.schema.field(name)
        assert pa.types.is_fixed_size_list(field.type), field
        assert field.type.list_size == width and field.type.value_type == pa.float32(), field
        assert not field.nullable and not field.type.value_field.nullable, field
        assert field.metadata[b"hook_point"].decode() == hook_point, field.metadata
        values = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        assert values.dtype == np.float32
        vectors[name] = values.reshape(-1, width)
    return table.num_rows, table.select(list(ID_COLUMNS)).to_pylist(), vectors


def read_polars(path, n_rows, widths):
    frame = pl.read_parquet(path)
    for name, (_, dtype, _) in ID_COLUMNS.items():
        assert frame.schema[name] == dtype, (name, frame.schema[name])
    vectors = {}
    for name, (_, width) in widths.items():
        assert frame.schema[name] == pl.Array(pl.Float32, width), frame.schema[name]
        vectors[name] = frame[name].to_numpy()
        assert vectors[name].dtype == np.float32
    return frame.height, frame.select(list(ID_COLUMNS)).to_dicts(), vectors


def read_pandas(path, n_rows, widths):
    frame = pd.read_parquet(path, dtype_backend="pyarrow")
    for name, (dtype, _, _) in ID_COLUMNS.items():
        found = frame.dtypes[name].pyarrow_dtype
        assert found == dtype or (dtype == pa.string() and pa.types.is_large_string(found)), name
    vectors = {}
    for name, (_, width) in widths.items():
        assert frame.dtypes[name].pyarrow_dtype.list_size == width, frame.dtypes[name]
        vectors[name] = matrix(frame[name], n_rows, width)
    ids = frame[list(ID_COLUMNS)].astype(object).to_dict("records")
    ids = [{k: None if v is pd.NA else v for k, v in row.items()} for row in ids]
    return len(frame), ids, vectors


def read_duckdb(path, n_rows, widths):
    relation = duckdb.read_parquet(str(path))
    types = dict(zip(relation.columns, map(str, relation.types)))
    for name, (_, _, dtype) in ID_COLUMNS.items():
        assert types[name] == dtype, (name, types[name])
    vectors = {}
    for name, (_, width) in widths.items():
        assert types[name] in ("FLOAT[]", f"FLOAT[{width}]"), types[name]
        rows = relation.project(f'"{name}"').fetchall()
        vectors[name] = matrix([row[0] for row in rows], n_rows, width)
    rows = relation.project(", ".join(ID_COLUMNS)).fetchall()
    ids = [dict(zip(ID_COLUMNS, row)) for row in rows]
    return len(rows), ids, vectors


READERS = {
    f"pyarrow {pa.__version__}": read_pyarrow,
    f"polars {pl.__version__}": read_polars,
    f"pandas {pd.__version__}": read_pandas,
    f"duckdb {duckdb.__version__}": read_duckdb,
}


def same_ids(one, two):
    """Whether rows are equal; floats pass through float32 and back without change."""
    return [{k: row[k] for k in ID_COLUMNS} for row in one] == [
        {k: row[k] for k in ID_COLUMNS} for row in two
    ]


def check_part(folder, manifest, record, seen):
    index = record["index"]
    path = folder / f"part-{index:05}.parquet"
    assert path.stat().st_size == record["bytes"], path
    widths = {
        column_name(column["hook_point"]): (column["hook_point"], column["width"])
        for column in manifest["hook_points"]
    }
    first = None
    for name, read in READERS.items():
        n_rows, ids, vectors = read(path, record["rows"], widths)
        assert n_rows == record["rows"] == len(ids), (name, n_rows, record["rows"])
        order = list(dict.fromkeys(row["dialogue_id"] for row in ids))
        assert order == manifest["parts"][index]["dialogues"], (name, order)
        for column, values in vectors.items():
            assert values.shape == (n_rows, widths[column][1]), (name, column, values.shape)
            assert np.isfinite(values).all(), (name, column)
        if first is None:
            first = (ids, vectors)
        assert same_ids(ids, first[0]), name
        for column, values in vectors.items():
            bits = np.ascontiguousarray(values).view(np.uint32)
            expected = np.ascontiguousarray(first[1][column]).view(np.uint32)
            assert (bits == expected).all(), (name, column)
        seen[name] = seen.get(name, 0) + n_rows
    return first


def check_dialogues(folder, manifest):
    path = folder / "dialogues.parquet"
    ids = [id for part in manifest["parts"] for id in part["dialogues"]]
    tables = {
        "pyarrow": pq.read_table(path).to_pylist(),
        "polars": pl.read_parquet(path).to_dicts(),
        "pandas": pd.read_parquet(path).to_dict("records"),
        "duckdb": [
            dict(zip(duckdb.read_parquet(str(path)).columns, row))
            for row in duckdb.read_parquet(str(path)).fetchall()
        ],
    }
    for name, rows in tables.items():
        assert [row["id"] for row in rows] == ids, name
        for row, expected in zip(rows, tables["pyarrow"]):
            assert row["label"] == expected["label"], name
            assert list(row["entities"]) == expected["entities"], name
            assert json.loads(row["messages"]) == json.loads(expected["messages"]), name
    return tables["pyarrow"]


def check_kept(ids, vectors, dialogues):
    """The kept store's numbers."""
    resid, later = [], []
    for start, n_tokens in ((0, 3), (100, 4)):
        numbers = np.arange(start, start + 4 * n_tokens, dtype=np.float32).reshape(-1, 4)
        resid.append(numbers * np.float32(0.5))
        later.append(numbers * np.float32(-64.0))
    assert (vectors["resid_post_2"] == np.concatenate(resid)).all()
    assert (vectors["resid_post_12"] == np.concatenate(later)).all()
    assert [row["token_id"] for row in ids] == [10, 11, 12, 20, 21, 22, 23]
    assert [row["logprob"] for row in ids] == [None, -0.25, -0.5, None, -0.25, -0.5, -0.75]
    assert [row["entropy"] for row in ids] == [None, 0.5, 1.0, None, 0.5, 1.0, 1.5]
    assert [row["from_end"] for row in ids] == [None, None, 0, None, None, None, 0]
    assert [row["in_span"] for row in ids] == [False, False, True] + [False] * 4
    assert [row["message"] for row in ids] == [-1, 0, 1, -1, 0, 0, 1]
    segments = ["template", "user", "assistant", "template", "user", "user", "assistant"]
    assert [row["segment"] for row in ids] == segments
    assert [row["label"] for row in dialogues] == ["deceptive", "control"]
    assert dialogues[0]["entities"] == ["Zoë", "Acme"]
    assert json.loads(dialogues[0]["extra"]) == {"from_the_future": {"x": 0.1}}


def main():
    folder = Path(sys.argv[1])
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    seen = {}
    for part in manifest["parts"]:
        record = json.loads((folder / f"part-{part['index']:05}.json").read_text(encoding="utf-8"))
        ids, vectors = check_part(folder, manifest, record, seen)
    dialogues = check_dialogues(folder, manifest)
    if "from_the_future" in manifest:
        check_kept(ids, vectors, dialogues)
    widths = ", ".join(
        f"{column_name(column['hook_point'])}[{column['width']}]"
        for column in manifest["hook_points"]
    )
    for name, n_rows in seen.items():
        print(f"{name}: {n_rows} rows, {len(dialogues)} dialogues, {widths}: ok")


if __name__ == "__main__":
    main()
