"""Spark: `sparse_encode` for `DataFrame.mapInArrow`.

mapInArrow rather than a pandas UDF: the vectors are Arrow arrays already, and pandas is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from ..cluster.columns import ERROR, INDICES, VALUES, encoded_columns
from ..encoder import SparseEncoder
from ..files import Encoding, Fields
from ..files.parquet import require_pyarrow
from ..pruning import Pruning
from ..tokenizer import Side

COLUMNS = f"{INDICES} array<int>, {VALUES} array<float>, {ERROR} string"  # what is added, as Spark's DDL writes it


def sparse_encode(
    bundle: str | None = None,
    *,
    text: str | tuple[str, ...] = "text",
    side: Side | None = "document",
    threads: int = 1,
    batch_size: int = 32,
    top_k: int | None = None,
    prune: str | None = None,
    max_length: int | None = None,
) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """The function of `frame.mapInArrow(sparse_encode(...), schema)`: the same rows with `COLUMNS` added.

        schema = f"id string, text string, {COLUMNS}"
        frame.mapInArrow(sparse_encode(), schema)

    A row whose text cannot be encoded has null vectors, and the reason in `error`. The bundle is loaded once in each of
    Spark's Python workers.

    Args:
        threads: cores that Spark gives a task (`spark.task.cpus`).
        bundle, text, side, batch_size, top_k, prune, max_length: as for `integrations.ray.SparseEncode`.
    """
    how = Encoding(side, top_k, None if prune is None else Pruning.parse(prune), max_length)
    fields = Fields((text,) if isinstance(text, str) else tuple(text))

    def encode(batches: Iterator[Any]) -> Iterator[Any]:
        pa = require_pyarrow()
        encoder = _loaded(bundle, threads)
        for batch in batches:
            made = encoded_columns(encoder, batch, fields, how, batch_size)
            names = [*batch.schema.names, *made]
            yield pa.RecordBatch.from_arrays([*batch.columns, *made.values()], names)

    return encode


@lru_cache(maxsize=2)
def _loaded(bundle: str | None, threads: int) -> SparseEncoder:
    return SparseEncoder.load(bundle, threads=threads, spin=False)
