"""Reading parquet: records from rows, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

from ..errors import DependencyError, InputError
from .records import BadRecord, Fields, Record, UnreadableError

ROWS_AT_A_TIME = 1024
BUFFER_BYTES = 2**20  # of each column, instead of all that a row group has of it


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


def read_parquet(stream: IO[bytes], fields: Fields) -> Iterator[Record | BadRecord]:
    """The records of a parquet file's rows; their lines are the rows' numbers, the first is 1.

    Raises:
        InputError: it is no parquet file, comes from a pipe, or lacks a column.
        DependencyError: pyarrow is not installed.
    """
    pyarrow = require_pyarrow()
    if not stream.seekable():
        raise InputError("parquet is read from a file alone, not from a pipe or a compressed file")
    try:
        file = pyarrow.parquet.ParquetFile(stream, buffer_size=BUFFER_BYTES)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"the input is not a whole parquet file: {error}") from None
    schema = file.schema_arrow
    for name in (*fields.text, fields.id):
        if name is not None and schema.names.count(name) != 1:
            problem = "has no column" if name not in schema.names else "has more than one column"
            raise InputError(f"the parquet file {problem} {name!r}; it has: {', '.join(map(repr, schema.names))[:200]}")
    for name in fields.text:
        if not _is_text(pyarrow, schema.field(name).type):
            raise InputError(f"column {name!r} of the parquet file holds {schema.field(name).type}, not strings")
    return _records(pyarrow, file, fields)


def _is_text(pyarrow: Any, kind: Any) -> bool:
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _records(pyarrow: Any, file: Any, fields: Fields) -> Iterator[Record | BadRecord]:
    needed = {*fields.text, fields.id_in(file.schema_arrow.names)}
    line = 0
    try:
        for batch in file.iter_batches(ROWS_AT_A_TIME, use_threads=False):
            names = batch.schema.names
            columns = [
                column_values(batch.column(i)) if name in needed else batch.column(i) for i, name in enumerate(names)
            ]
            by_name = dict(zip(names, columns, strict=True))
            size = batch.nbytes // max(batch.num_rows, 1)
            for row in range(batch.num_rows):
                line += 1
                try:
                    yield fields.record(line, _Row(by_name, row), size)
                except UnreadableError as error:
                    yield BadRecord(line, str(error), b"")
    except (pyarrow.ArrowException, OSError) as error:
        yield BadRecord(line + 1, f"the parquet data is damaged here ({error})", b"", last=True)


def column_values(column: Any) -> list[object]:
    """A column's values; a string that is not valid UTF-8 stays bytes."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_string(value) for value in column.cast("binary").to_pylist()]


def _string(value: bytes | None) -> object:
    try:
        return value if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return value


class _Row(Mapping[str, object]):
    """A row of a batch; a value becomes a Python object when it is asked for."""

    __slots__ = ("_columns", "_row")

    def __init__(self, columns: Mapping[str, Any], row: int) -> None:
        self._columns, self._row = columns, row

    def __getitem__(self, name: str) -> object:
        column = self._columns[name]
        return column[self._row] if isinstance(column, list) else column_values(column.slice(self._row, 1))[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)
