"""Parquet: columns `id`, `indices` or `tokens`, and `values`, the last two as lists; of passages `begin` and `end`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...vectors import SparseVectors
from ..parquet import require_pyarrow
from ..records import Record
from .columns import BEGINS, ENDS, FILES, INDICES, LENGTHS, VALUES, Columns, Part, spool_columns
from .spooled import SpooledSink


class ParquetSink(SpooledSink):
    """Rows in one parquet file or in a folder of parts; `id` is int64 where every id is an integer, else string."""

    spool_files: ClassVar[tuple[str, ...]] = FILES

    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None:
        self.spool.append(spool_columns(records, vectors))

    def assemble(self, folder: Path) -> list[Path]:
        files = []
        with Columns(self.spool.folder, self.place.rows_per_part, self.rows_per_group) as columns:
            for number, part in enumerate(columns.parts):
                files.append(folder / self.place.name(number))
                self._write_part(files[-1], columns, part)
        return files

    def _write_part(self, path: Path, columns: Columns, part: Part) -> None:
        pa = require_pyarrow()
        names = self.vocabulary.names
        id_type = pa.int64() if columns.ids.integers else pa.string()
        key, key_type = ("indices", pa.int32()) if names is None else ("tokens", pa.string())
        spans = (BEGINS, ENDS) if columns.passages else ()
        schema = pa.schema(
            [
                ("id", id_type),
                (key, pa.list_(key_type)),
                ("values", pa.list_(pa.float32())),
                *((name, pa.int64()) for name in ("begin", "end")[: len(spans)]),
            ]
        )
        step = self.rows_per_group
        with pa.parquet.ParquetWriter(path, schema) as writer:
            groups = zip(columns.read_ids(part.rows, step), columns.read(LENGTHS, part.rows, step), strict=True)
            for ids, lengths in groups:
                offsets = np.concatenate([[0], np.cumsum(lengths)])
                entries = int(offsets[-1])
                keys: Any = np.concatenate([*columns.read(INDICES, entries, entries), np.empty(0, np.int32)])
                weights = np.concatenate([*columns.read(VALUES, entries, entries), np.empty(0, np.float32)])
                if names is not None:
                    keys = [names[i] for i in keys.tolist()]
                at = pa.array(offsets, pa.int32())
                lists = [
                    pa.ListArray.from_arrays(at, pa.array(keys, key_type)),
                    pa.ListArray.from_arrays(at, pa.array(weights)),
                ]
                rows = len(ids)
                ends = [pa.array(next(columns.read(name, rows, rows))) for name in spans if rows]
                writer.write_table(pa.Table.from_arrays([pa.array(ids, id_type), *lists, *ends], schema=schema))
