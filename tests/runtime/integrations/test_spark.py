"""A local Spark, where pyspark and Java are there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spladert import SparseEncoder

pytest.importorskip("pyspark", reason="needs the spark extra: pip install 'spladert[spark]'")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java", allow_module_level=True)


def test_map_in_arrow(tiny_bundle: Path) -> None:
    from pyspark.sql import SparkSession

    from spladert.integrations.spark import COLUMNS, sparse_encode

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    try:
        frame = session.createDataFrame([(1, "당뇨병"), (2, None), (3, "계약서")], "id int, text string")
        made = frame.mapInArrow(sparse_encode(str(tiny_bundle)), f"id int, text string, {COLUMNS}")
        rows = sorted(made.collect(), key=lambda row: row.id)
    finally:
        session.stop()
    with SparseEncoder.load(tiny_bundle) as encoder:
        expected = encoder.encode_document(["당뇨병", "계약서"])
    assert [rows[0].indices, rows[2].indices] == [vector.indices.tolist() for vector in expected]
    assert rows[1].indices is None
    assert rows[1].error == "field 'text' holds a null instead of a string"
