"""The three output formats. Each is spooled by appending bytes to a few files, and assembled from them at the end.

JSONL is its own spool. Parquet and npz cannot be appended to (both end in a directory of their parts), so their
columns are spooled as plain arrays and assembled in one pass of constant memory; that takes the disk space twice.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DependencyError, InputError
from ..vectors import SparseVectors

OutputFormat = Literal["jsonl", "parquet", "npz"]
Id = str | int

JSONL = "vectors.jsonl"
IDS, LENGTHS, INDICES, VALUES = "ids.jsonl", "lengths.i64", "indices.i32", "values.f32"
WHOLE = "whole"
ROWS_PER_GROUP = 16_384  # rows of a parquet row group, and of a step of assembly
COPY_BYTES = 2**22


@dataclass(frozen=True)
class Format:
    """An output format.

    Attributes:
        files: the names of its spool files.
        spool: (ids, vectors, token names by id or None) -> the bytes to append to each spool file.
        assemble: (spool folder, token names or None, vocabulary size) -> the whole output, a file in that folder.
    """

    files: tuple[str, ...]
    spool: Callable[[Sequence[Id], SparseVectors, Sequence[str] | None], dict[str, bytes]]
    assemble: Callable[[Path, Sequence[str] | None, int], Path]


def unique_names(tokens: Sequence[str]) -> list[str]:
    """The tokens of a vocabulary by id, made unique: as keys of an object, two ids must not fall on one name.

    The lowest id keeps the bare token, another one gets `token#id`.
    """
    names: dict[str, None] = {}
    for i, token in enumerate(tokens):
        name = token
        while name in names:
            name = f"{name}#{i}"
        names[name] = None
    return list(names)


def jsonl_bytes(ids: Sequence[Id], vectors: SparseVectors, names: Sequence[str] | None) -> bytes:
    """A line a vector: `{"id", "indices", "values"}`, or `{"id", "vector": {token: weight}}` with `names`.

    Weights have the fewest digits that give the same float32 back.

    Raises:
        InputError: a weight is infinite, which JSON cannot hold.
    """
    if not np.isfinite(vectors.values).all():
        raise InputError("the model gave an infinite weight, which JSON cannot hold; try another precision")
    indices = vectors.indices.tolist()
    weights = vectors.values.astype(str).tolist()
    lines = []
    for row, record_id in enumerate(ids):
        part = slice(vectors.indptr[row], vectors.indptr[row + 1])
        if names is None:
            body = f'"indices":[{",".join(map(str, indices[part]))}],"values":[{",".join(weights[part])}]'
        else:
            pairs = zip(indices[part], weights[part], strict=True)
            body = '"vector":{' + ",".join(f"{_json(names[i])}:{weight}" for i, weight in pairs) + "}"
        lines.append(f'{{"id":{_json(record_id)},{body}}}\n')
    return "".join(lines).encode("utf-8")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _spool_jsonl(ids: Sequence[Id], vectors: SparseVectors, names: Sequence[str] | None) -> dict[str, bytes]:
    return {JSONL: jsonl_bytes(ids, vectors, names)}


def _assemble_jsonl(folder: Path, names: Sequence[str] | None, vocabulary_size: int) -> Path:
    return folder / JSONL


def _spool_columns(ids: Sequence[Id], vectors: SparseVectors, names: Sequence[str] | None) -> dict[str, bytes]:
    return {
        IDS: "".join(f"{_json(record_id)}\n" for record_id in ids).encode("utf-8"),
        LENGTHS: np.diff(vectors.indptr).astype("<i8").tobytes(),
        INDICES: vectors.indices.astype("<i4").tobytes(),
        VALUES: vectors.values.astype("<f4").tobytes(),
    }


def require_pyarrow() -> Any:
    """The pyarrow module with its parquet part.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DependencyError(f"parquet needs pyarrow ({error}): pip install 'spladert[parquet]'") from error
    return pyarrow


def _assemble_parquet(folder: Path, names: Sequence[str] | None, vocabulary_size: int) -> Path:
    """Columns `id` (int64 where every id is an integer, else string), `indices` or `tokens`, and `values`, as lists."""
    pa = require_pyarrow()
    integers, _ = _id_kind(folder / IDS)
    key = ("indices", pa.int32()) if names is None else ("tokens", pa.string())
    id_type = pa.int64() if integers else pa.string()
    schema = pa.schema([("id", id_type), (key[0], pa.list_(key[1])), ("values", pa.list_(pa.float32()))])
    with (
        pa.parquet.ParquetWriter(folder / WHOLE, schema) as writer,
        (folder / INDICES).open("rb") as indices,
        (folder / VALUES).open("rb") as values,
    ):
        for ids, lengths in _row_groups(folder, integers):
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            keys: Any = np.frombuffer(indices.read(4 * offsets[-1]), "<i4")
            if names is not None:
                keys = [names[i] for i in keys.tolist()]
            weights = np.frombuffer(values.read(4 * offsets[-1]), "<f4")
            at = pa.array(offsets, pa.int32())
            lists = [
                pa.ListArray.from_arrays(at, pa.array(keys, key[1])),
                pa.ListArray.from_arrays(at, pa.array(weights)),
            ]
            writer.write_table(pa.Table.from_arrays([pa.array(ids, id_type), *lists], schema=schema))
    return folder / WHOLE


def _assemble_npz(folder: Path, names: Sequence[str] | None, vocabulary_size: int) -> Path:
    """What `scipy.sparse.load_npz` reads (a csr_array), and the array `ids`; rows are sorted by falling weight."""
    integers, longest = _id_kind(folder / IDS)
    rows = (folder / LENGTHS).stat().st_size // 8
    nnz = (folder / INDICES).stat().st_size // 4
    with zipfile.ZipFile(folder / WHOLE, "w", zipfile.ZIP_STORED) as archive:
        for name, array in (
            ("format", np.array(b"csr")),
            ("shape", np.array([rows, vocabulary_size], "<i8")),
            ("_is_array", np.array(True)),
        ):
            with _npy(archive, name, array.dtype, array.shape) as entry:
                entry.write(array.tobytes())
        for name, dtype, file in (("indices", "<i4", INDICES), ("data", "<f4", VALUES)):
            with _npy(archive, name, np.dtype(dtype), (nnz,)) as entry, (folder / file).open("rb") as stream:
                while block := stream.read(COPY_BYTES):
                    entry.write(block)
        with _npy(archive, "indptr", np.dtype("<i8"), (rows + 1,)) as entry:
            at = np.zeros(1, "<i8")
            entry.write(at.tobytes())
            for _, lengths in _row_groups(folder, integers):
                ends = at[-1] + np.cumsum(lengths)
                entry.write(ends.astype("<i8").tobytes())
                at = ends
        id_dtype = np.dtype("<i8" if integers else f"<U{longest}")
        with _npy(archive, "ids", id_dtype, (rows,)) as entry:
            for ids, _ in _row_groups(folder, integers):
                entry.write(np.array(ids, id_dtype).tobytes())
    return folder / WHOLE


@contextmanager
def _npy(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """An entry of the archive, open for the array's bytes; dated 1980 so that equal content gives equal files."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(entry, header)
        yield entry


def _id_kind(path: Path) -> tuple[bool, int]:
    """Whether every id is an integer of 64 bits, and the length of the longest one written as text (at least 1)."""
    integers, longest = True, 1
    with path.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            value: Id = json.loads(line)
            integers = integers and isinstance(value, int) and -(2**63) <= value < 2**63
            longest = max(longest, len(str(value)))
    return integers, longest


def _row_groups(folder: Path, integers: bool) -> Iterator[tuple[list[Id], NDArray[np.int64]]]:
    """(ids, vector lengths) of the rows, a group at a time; ids are all int or all str."""
    with (folder / IDS).open(encoding="utf-8", newline="\n") as ids, (folder / LENGTHS).open("rb") as lengths:
        while group := [json.loads(line) for line in islice(ids, ROWS_PER_GROUP)]:
            yield group if integers else [str(i) for i in group], np.frombuffer(lengths.read(8 * len(group)), "<i8")


FORMATS: dict[OutputFormat, Format] = {
    "jsonl": Format((JSONL,), _spool_jsonl, _assemble_jsonl),
    "parquet": Format((IDS, LENGTHS, INDICES, VALUES), _spool_columns, _assemble_parquet),
    "npz": Format((IDS, LENGTHS, INDICES, VALUES), _spool_columns, _assemble_npz),
}
