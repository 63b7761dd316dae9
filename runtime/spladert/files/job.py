"""What a job is (what decides its output) apart from how it runs, how far it is, and what it did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ..encoder import SparseEncoder
from ..passages import Passages
from ..pruning import Pruning
from ..tokenizer import Side
from .records import BadRecord, Record


@dataclass(frozen=True)
class ChunkLimits:
    """How much is encoded, written and recorded at a time: records, and bytes where records are long."""

    records: int = 1024
    bytes: int = 2**23


@dataclass(frozen=True)
class Encoding:
    """How texts are encoded: the options of `SparseEncoder.encode` that change a vector, by their names there."""

    side: Side | None = None
    top_k: int | None = None
    prune: Pruning | None = None
    max_length: int | None = None
    split_special_tokens: bool = False


@dataclass(frozen=True)
class Job:
    """What decides the output, besides the input; only the same job goes on where an interrupted run stopped.

    Attributes:
        model: hash of the graph.
        weights: hashes of its data files.
        tokenizer: hash of the tokenizer.
        device: what the graph runs on; another one rounds otherwise.
        engine: what computes there, which rounds in its own way too.
        format: name of the output's format.
        tokens: whether tokens are written instead of their ids.
        encoding: how texts are encoded.
        passages: how documents are cut into passages, None where they are not.
        chunk: where the input is cut; a text's neighbours are in its vector's last digits.
    """

    model: str
    weights: tuple[str, ...]
    tokenizer: str
    device: str
    engine: str
    format: str
    tokens: bool
    encoding: Encoding = field(default_factory=Encoding)
    passages: Passages | None = None
    chunk: ChunkLimits = field(default_factory=ChunkLimits)

    @classmethod
    def of(
        cls,
        encoder: SparseEncoder,
        *,
        format: str,
        tokens: bool = False,
        encoding: Encoding | None = None,
        passages: Passages | None = None,
        chunk: ChunkLimits | None = None,
    ) -> Job:
        graph, *data = encoder.variant.files
        return cls(
            model=graph.sha256,
            weights=tuple(file.sha256 for file in data),
            tokenizer=encoder.manifest.tokenizer.sha256,
            device=encoder.device,
            engine=encoder.engine.runs_on,
            format=format,
            tokens=tokens,
            encoding=encoding or Encoding(),
            passages=passages,
            chunk=chunk or ChunkLimits(),
        )

    def facts(self) -> dict[str, Any]:
        """The job as it is after a way through JSON."""
        facts: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        encoding: dict[str, Any] = facts.pop("encoding")
        return facts | encoding


@dataclass(frozen=True)
class RunOptions:
    """How a job runs; it may be finished with others.

    Attributes:
        batch_size: the most texts of a batch.
        skip_errors: go on after bad records instead of stopping at the first.
        patience: seconds to wait for a chunk to fill up while the model has nothing to do; None waits for ever, so
            that chunks, and with them the output's last digits, do not depend on time.
    """

    batch_size: int = 32
    skip_errors: bool = False
    patience: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        records: records of the input that are done, bad ones included.
        errors: how many of them were bad.
        truncated: how many texts were cut, for they were longer than the model takes.
        cut_characters: characters of those texts that it was measured on, some of each chunk.
        unread_characters: how many of them were not read.
        digest: digest of those records.
        tokens: token ids that were run.
    """

    records: int = 0
    errors: int = 0
    truncated: int = 0
    cut_characters: int = 0
    unread_characters: int = 0
    digest: str = ""
    tokens: int = 0


@dataclass(frozen=True)
class Summary:
    """What a finished job did, interrupted runs of it included.

    Attributes:
        texts: texts encoded.
        errors: bad records skipped.
        truncated: texts that were cut, for they were longer than the model takes.
        resumed: records that an interrupted run had done.
        damage: where and why the input ended before its end; None where it was whole.
        unread: the share of the characters of cut texts that was not read, 0 to 1, measured on some of each chunk.
        refused: those of the texts that the output does not take, which are kept aside.
        tokens: token ids that were run.
    """

    texts: int
    errors: int
    truncated: int
    resumed: int
    damage: str | None = None
    unread: float = 0.0
    refused: int = 0
    tokens: int = 0


class Digest:
    """A running digest of records, of all that the output depends on."""

    def __init__(self, *, with_fields: bool) -> None:
        """With `with_fields`, what a record has beside its id and text is in the output too."""
        self._with_fields = with_fields
        self._hash = hashlib.blake2b(digest_size=20)

    def add(self, records: Iterable[Record | BadRecord]) -> None:
        for record in records:
            if isinstance(record, Record):
                fields = [dict(record.fields)] if self._with_fields and record.fields else []
                self._hash.update(json.dumps([record.id, record.text, *fields], default=repr).encode())
            else:
                self._hash.update(record.to_json())

    def hex(self) -> str:
        return self._hash.hexdigest()
