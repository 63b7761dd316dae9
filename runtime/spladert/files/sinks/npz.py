"""npz: what `scipy.sparse.load_npz` reads (a csr_array), and the array `ids`; rows are sorted by falling weight.

Of passages there are the arrays `begin` and `end` too.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from ...vectors import SparseVectors
from ..records import Record
from .columns import BEGINS, ENDS, FILES, INDICES, LENGTHS, VALUES, Columns, Part, spool_columns
from .spooled import SpooledSink


class NpzSink(SpooledSink):
    """A CSR matrix in one file, or in a folder of parts of its rows; `ids` are integers where every one is."""

    spool_files: ClassVar[tuple[str, ...]] = FILES

    def write(self, records: Sequence[Record], vectors: SparseVectors) -> None:
        self.spool.append(spool_columns(records, vectors))

    def assemble(self, folder: Path) -> list[Path]:
        files = []
        with Columns(self.spool.folder, self.place.rows_per_part, self.rows_per_group) as columns:
            for number, part in enumerate(columns.parts):
                files.append(folder / self.place.name(number))
                with zipfile.ZipFile(files[-1], "w", zipfile.ZIP_STORED) as archive:
                    self._write_part(archive, columns, part)
        return files

    def _write_part(self, archive: zipfile.ZipFile, columns: Columns, part: Part) -> None:
        step = self.rows_per_group
        for name, array in (
            ("format", np.array(b"csr")),
            ("shape", np.array([part.rows, self.vocabulary.size], "<i8")),
            ("_is_array", np.array(True)),
        ):
            with _npy(archive, name, array.dtype, array.shape) as entry:
                entry.write(array.tobytes())
        for name, dtype, column in (("indices", "<i4", INDICES), ("data", "<f4", VALUES)):
            with _npy(archive, name, np.dtype(dtype), (part.entries,)) as entry:
                for block in columns.read(column, part.entries, step):
                    entry.write(block.tobytes())
        with _npy(archive, "indptr", np.dtype("<i8"), (part.rows + 1,)) as entry:
            at = np.zeros(1, "<i8")
            entry.write(at.tobytes())
            for lengths in columns.read(LENGTHS, part.rows, step):
                ends = at[-1] + np.cumsum(lengths)
                entry.write(ends.astype("<i8").tobytes())
                at = ends
        for name, column in (("begin", BEGINS), ("end", ENDS)):
            if columns.passages:
                with _npy(archive, name, np.dtype("<i8"), (part.rows,)) as entry:
                    for block in columns.read(column, part.rows, step):
                        entry.write(block.tobytes())
        id_dtype = np.dtype("<i8" if columns.ids.integers else f"<U{columns.ids.longest}")
        with _npy(archive, "ids", id_dtype, (part.rows,)) as entry:
            for ids in columns.read_ids(part.rows, step):
                entry.write(np.array(ids, id_dtype).tobytes())


@contextmanager
def _npy(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """An entry of the archive, open for the array's bytes; dated 1980 so that equal content gives equal files."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(entry, header)
        yield entry
