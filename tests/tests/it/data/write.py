"""Writes the Parquet files beside it, as other tools write them: pip install pyarrow duckdb."""

import datetime as dt
import decimal
import os

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

os.chdir(os.path.dirname(os.path.abspath(__file__)))
rows = 4
micros = 1700000000123456
columns = {
    "id": pa.array(range(1, rows + 1), pa.int32()),
    "small": pa.array([1, 255, None, 4], pa.uint8()),
    "big": pa.array([2**63, None, 3, 4], pa.uint64()),
    "name": pa.array(["a", "b", None, 'é"x']).dictionary_encode(),
    "large": pa.array(["l1", None, "", "l4"], pa.large_string()),
    "price": pa.array([decimal.Decimal(d) for d in ("12.345", "-0.005", "0", "1")], pa.decimal128(10, 3)),
    "ts_ms": pa.array([0, -1, None, micros // 1000], pa.timestamp("ms")),
    "ts_us": pa.array([0, -1, None, micros], pa.timestamp("us", tz="UTC")),
    "ts_ns": pa.array([1499, -501, None, micros * 1000 + 789], pa.timestamp("ns", tz="Europe/Berlin")),
    "day": pa.array([dt.date(2020, 1, 2), None, dt.date(1969, 12, 31), dt.date(9999, 12, 31)]),
    "clock": pa.array([dt.time(1, 2, 3, 4), None, dt.time(0), dt.time(23, 59, 59, 999999)]),
    "flag": pa.array([True, False, None, True]),
    "f": pa.array([1.5, None, float("nan"), float("-inf")], pa.float32()),
    "raw": pa.array([b"\x00\x01", None, b"", b"\xff"]),
    "tags": pa.array([["x", "y"], [], None, [None, "z"]]),
    "numbers": pa.array([[1, 2], [], None, [None]], pa.list_(pa.int64())),
    "v": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(rows * 3, dtype=np.float32)), 3),
    "w": pa.array([[1.0, 2.0], None, [3.0], [4.5, 5.5, 6.5]], pa.list_(pa.float64())),
    "half": pa.array([[np.float16(0.5)] * 2] * rows, pa.list_(pa.float16())),
    "nested": pa.array([[[1]], None, [], [[2, 3]]], pa.list_(pa.list_(pa.int32()))),
    "pair": pa.array([{"a": 1}] * rows),
}
pq.write_table(pa.table(columns), "pyarrow.parquet", compression="snappy", row_group_size=3)

duckdb.execute(
    """COPY (SELECT i::INTEGER AS id, 'n' || (i % 3) AS name, (i * 1.5)::DECIMAL(8, 2) AS price,
    TIMESTAMP '2024-01-01' + to_seconds(i) AS ts, TIMESTAMPTZ '2024-01-01 00:00:00+00' AS tz,
    [i::FLOAT, (i + 1)::FLOAT]::FLOAT[2] AS v, ['a', 'b'] AS tags, i::HUGEINT AS huge,
    '00000000-0000-0000-0000-00000000000a'::UUID AS u FROM range(50) t(i)) TO 'duckdb.parquet' (FORMAT parquet)"""
)
