"""Vectors as columns of an Arrow table: list<int32> of token ids, list<float32> of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..files import Encoding
from ..files.parquet import column_values, require_pyarrow
from ..files.records import Fields, UnreadableError

if TYPE_CHECKING:
    from ..encoder import SparseEncoder
    from ..tokenizer import TokenizedTexts
    from ..vectors import SparseVectors

INDICES, VALUES = "indices", "values"
ERROR = "error"  # why a row has no vector


@dataclass(frozen=True)
class Texts:
    """The texts of some rows.

    Attributes:
        good: positions of the rows that have one.
        texts: theirs.
        bad: (position, why) of the others.
    """

    good: list[int]
    texts: list[str]
    bad: list[tuple[int, str]]

    @classmethod
    def of(cls, table: Any, fields: Fields) -> Texts:
        """Those of a table or record batch; several columns are joined by a space.

        Raises:
            InputError: a column is missing, or has the name of one that is to be made.
        """
        names = list(table.schema.names)
        for name in fields.text:
            if name not in names:
                raise InputError(f"there is no column {name!r}; there are: {', '.join(map(repr, names))[:200]}")
        for name in (INDICES, VALUES):
            if name in names:
                raise InputError(f"there is a column {name!r} already, which the vectors' would replace: rename it")
        columns = {name: column_values(table.column(name)) for name in fields.text}
        good, texts, bad = [], [], []
        for position in range(table.num_rows):
            try:
                text = fields.text_in({name: column[position] for name, column in columns.items()})
            except UnreadableError as error:
                bad.append((position, str(error)))
            else:
                good.append(position)
                texts.append(text)
        return cls(good, texts, bad)


def tokenize(encoder: SparseEncoder, texts: Sequence[str], how: Encoding) -> TokenizedTexts:
    """The first stage of `SparseEncoder.encode`, with the options of a job."""
    return encoder.tokenize_batch(
        texts, side=how.side, max_length=how.max_length, split_special_tokens=how.split_special_tokens
    )


def run(encoder: SparseEncoder, tokenized: TokenizedTexts, how: Encoding, batch_size: int) -> SparseVectors:
    """The other two stages."""
    results = encoder.run(tokenized.input_ids, side=how.side, batch_size=batch_size)
    return encoder.assemble(results, tokenized, how.top_k, how.prune)


def vector_columns(vectors: SparseVectors, rows: Sequence[int] | None = None, total: int = 0) -> tuple[Any, Any]:
    """The vectors as Arrow arrays (indices, values).

    Args:
        rows: which of `total` rows each vector belongs to, rising; the others are null. None: a row each.
    """
    pa = require_pyarrow()
    offsets = vectors.indptr.astype(np.int32)
    if rows is None:
        at = pa.array(offsets, pa.int32())
    else:
        lengths, missing = np.zeros(total, np.int32), np.ones(total, bool)
        lengths[list(rows)] = np.diff(offsets)
        missing[list(rows)] = False
        whole = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        at = pa.array(whole, pa.int32(), mask=np.append(missing, False))
    return (
        pa.ListArray.from_arrays(at, pa.array(vectors.indices, pa.int32())),
        pa.ListArray.from_arrays(at, pa.array(vectors.values, pa.float32())),
    )


def encoded_columns(
    encoder: SparseEncoder, rows: Any, fields: Fields, how: Encoding, batch_size: int
) -> dict[str, Any]:
    """The columns `indices`, `values` and `error` of a table or record batch, as Arrow arrays.

    A row whose text cannot be encoded has null in the first two, and the reason in the third, null elsewhere.

    Raises:
        InputError: a column is missing, or has the name of one that is to be made.
    """
    texts = Texts.of(rows, fields)
    vectors = run(encoder, tokenize(encoder, texts.texts, how), how, batch_size)
    indices, values = vector_columns(vectors, texts.good, rows.num_rows)
    reasons = dict(texts.bad)
    pa = require_pyarrow()
    errors = pa.array([reasons.get(position) for position in range(rows.num_rows)], pa.string())
    return {INDICES: indices, VALUES: values, ERROR: errors}
