"""Points in a folder: Qdrant Edge, the engine itself in this process, with a write-ahead log."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from math import inf, nextafter
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ..bm25 import Entries
from ..errors import DependencyError, InputError, StoreError
from ..files.records import PASSAGE
from ..files.spool import write_whole
from ..filters import wanted_values
from ..json_text import parse_json
from ..origin import Origin, origin_from
from .points import BM25, FUSED, RRF_K, Found, PointData, quoted_paths

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

META, SHARD, LOCK, JOBS = "spladert.json", "shard", "lock", "jobs"
NEW_SHARD = f"{SHARD}.new"  # while it is made
VECTOR = "sparse"
SCHEMA = 1
MOST_AHEAD = 2**30  # bytes of an index that the system is asked to read ahead
AHEAD = 2**17  # bytes of a request for it; the system cuts longer ones


def require_edge() -> Any:
    """The qdrant_edge module.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import qdrant_edge
    except ImportError as error:
        raise DependencyError("an index in a folder needs Qdrant Edge: pip install 'spladert[search]'") from error
    return qdrant_edge


def check_folder(folder: Path) -> None:
    """
    Raises:
        InputError: no file system takes the name.
    """
    try:
        folder.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # the latter: a NUL, a lone surrogate
        raise InputError(f"no index can be in {str(folder)!r}: {error}") from None


def read_origin(folder: Path) -> Origin | None:
    """What made the index of a folder; None if there is none.

    Raises:
        InputError: its description cannot be read, or is of a newer version.
    """
    check_folder(folder)
    path = folder / META
    if not path.is_file():
        return None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        schema, made_by = content["schema"], content["origin"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error!r}); make the index again") from None
    if schema != SCHEMA:
        raise InputError(f"{path} is of schema {schema}, and this spladert knows {SCHEMA}; upgrade it")
    return origin_from(made_by, str(path))


@contextmanager
def open_points(folder: Path) -> Iterator[EdgePoints]:
    """The points of a folder, for this process alone.

    Raises:
        InputError: the folder holds something else, or an index without its description, or another process has it
            open.
        StoreError: the engine cannot open it.
        DependencyError: Qdrant Edge is not installed.
    """
    require_edge()
    check_folder(folder)
    if not (folder / META).is_file() and folder.exists():
        if not folder.is_dir():
            raise InputError(f"{folder} is a file, and an index is a folder; choose another name")
        strange = sorted({path.name for path in folder.iterdir()} - {SHARD, NEW_SHARD, LOCK, JOBS, f"{META}.new"})
        if strange:
            raise InputError(f"{folder} is no index of spladert, and has {strange[0]!r} in it; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} of the index cannot be made: {error.strerror}") from None
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"the index {folder} is open elsewhere, in another process or in this one; wait until that is done"
        ) from None
    points = EdgePoints(folder)
    try:
        points.check_described()
        yield points
    finally:
        points.close()
        lock.release()


class EdgePoints:
    """Points of a folder, see `Points`. The folder is locked by `open_points`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shard: EdgeShard | None = None

    def check_described(self) -> None:
        """
        Raises:
            InputError: there are documents, and nothing says of which model.
            StoreError: the engine cannot open it.
        """
        if (self._folder / META).is_file() or not (self._folder / SHARD).exists():
            return
        with self._explained():
            self._shard = require_edge().EdgeShard.load(str(self._folder / SHARD))
        count = self.count()
        self.close()
        if count:  # else it was killed before the description was written
            raise InputError(
                f"{self._folder} has an index without its description, {META}: "
                "put that back, or delete the folder to make the index again"
            )

    def origin(self) -> Origin | None:
        """See `Points`.

        Raises:
            InputError: its description cannot be read, or is of a newer version.
            StoreError: the engine cannot open it.
        """
        origin = read_origin(self._folder)
        if origin is None:
            return None
        if self._shard is None:
            if not (self._folder / SHARD).is_dir():
                raise InputError(
                    f"the index {self._folder} has lost its documents, the folder {SHARD!r}: "
                    "put that back, or delete the index to make it again"
                )
            with self._explained():
                self._shard = require_edge().EdgeShard.load(str(self._folder / SHARD))
        return origin

    def make(self, origin: Origin) -> None:
        edge = require_edge()
        shard, new = self._folder / SHARD, self._folder / NEW_SHARD
        for left in (shard, new):  # of a run that was killed right here
            shutil.rmtree(left, ignore_errors=True)
        config = edge.EdgeConfig(
            sparse_vectors={
                VECTOR: edge.EdgeSparseVectorParams(),
                BM25: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf),
            }
        )
        with self._explained():
            made = edge.EdgeShard.create(str(new), config)
            keyword = edge.PayloadSchemaType.Keyword
            made.update(edge.UpdateOperation.create_field_index(f"{PASSAGE}.document", keyword))
            made.close()
            new.rename(shard)  # so that one that is there is whole
            self._shard = edge.EdgeShard.load(str(shard))
        write_whole(self._folder / META, json.dumps({"schema": SCHEMA, "origin": asdict(origin)}, indent=2).encode())

    def upsert(self, points: Sequence[PointData]) -> None:
        edge = require_edge()
        made = []
        for point in points:
            vectors = {BM25: edge.SparseVector(*point.bm25)}
            if point.entries is not None:
                vectors[VECTOR] = edge.SparseVector(*point.entries)
            made.append(edge.Point(point.id, vectors, point.payload))
        self._update(edge.UpdateOperation.upsert_points(made))

    def delete(self, ids: Sequence[str]) -> None:
        self._update(require_edge().UpdateOperation.delete_points(list(ids)))

    def delete_passages(self, documents: Sequence[str]) -> None:
        edge = require_edge()
        match = edge.MatchAny(list(documents))
        condition = edge.FieldCondition(f"{PASSAGE}.document", match=match)
        self._update(edge.UpdateOperation.delete_points_by_filter(edge.Filter(must=[condition])))

    def find(self, entries: Entries, bm25: Entries | None, filters: Mapping[str, str], limit: int) -> list[Found]:
        edge = require_edge()
        chosen = _filter(filters) if filters else None
        queries = [
            edge.Query.Nearest(edge.SparseVector(*each), using=using)
            for each, using in ((entries, VECTOR), (bm25, BM25))
            if each is not None and each[0]
        ]
        if bm25 is None:
            asked: dict[str, Any] = {"query": queries[0], "filter": chosen}
        else:
            depth = max(limit, FUSED)
            prefetches = [edge.Prefetch(depth, query=query, filter=chosen) for query in queries]
            asked = {"query": edge.Fusion.Rrf(RRF_K), "prefetches": prefetches}
        with self._explained():
            hits = self._opened.query(edge.QueryRequest(limit, with_payload=True, with_vector=[VECTOR], **asked))
        return [Found(hit.score, hit.payload or {}, _weights(hit.vector)) for hit in hits]

    def count(self) -> int:
        with self._explained():
            return self._opened.count(require_edge().CountRequest(exact=True))

    def settle(self) -> None:
        with self._explained():
            self._opened.optimize()
            self._opened.flush()

    def read_ahead(self) -> None:
        """Have the documents in memory before hits ask for them; each that is not waits for the disk."""
        files = sorted((self._folder / SHARD).glob("segments/**/*.dat"))
        Thread(target=_read_ahead, args=(files,), name="spladert-ahead", daemon=True).start()

    def close(self) -> None:
        """Write what is in memory, and let go."""
        if self._shard is not None:
            with self._explained():
                self._shard.close()
            self._shard = None

    @property
    def _opened(self) -> EdgeShard:
        assert self._shard is not None, "origin() or make() comes first"
        return self._shard

    def _update(self, operation: Any) -> None:
        with self._explained():
            self._opened.update(operation)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the engine raises bare Exception
            raise StoreError(f"the index {self._folder}: {error}") from error


def _read_ahead(files: Sequence[Path]) -> None:
    if sys.platform != "linux":  # macOS and Windows have no such call
        return
    left = MOST_AHEAD
    for path in files:
        with suppress(OSError), path.open("rb") as file:  # the engine may have replaced it
            size = 512 * os.fstat(file.fileno()).st_blocks  # files have room to grow behind that
            for start in range(0, min(size, left), AHEAD):
                os.posix_fadvise(file.fileno(), start, AHEAD, os.POSIX_FADV_WILLNEED)
            left -= min(size, left)


def _weights(vector: Any) -> dict[int, float]:
    found = (vector or {}).get(VECTOR)
    return {} if found is None else dict(zip(found.indices, found.values, strict=True))


def _filter(filters: Mapping[str, str]) -> Any:
    edge = require_edge()
    return edge.Filter(
        must=[
            edge.Filter(should=[_condition(path, v) for path in quoted_paths(name) for v in wanted_values(value)])
            for name, value in filters.items()
        ]
    )


def _condition(path: str, value: str | int | float | bool) -> Any:
    edge = require_edge()
    if isinstance(value, float):
        return edge.FieldCondition(path, range=edge.RangeFloat(gte=_beside(value, -inf), lte=_beside(value, inf)))
    return edge.FieldCondition(path, match=edge.MatchValue(_Bool(value) if isinstance(value, bool) else value))


def _beside(value: float, end: float) -> float:
    """Two floats on from a value: the engine may keep a number with another last digit than it was given."""
    return nextafter(nextafter(value, end), end)


class _Bool:
    """A bool to the engine, to which one of Python is an int, and so is numpy's own before 2.3 (it has __index__).

    The engine's bindings (PyO3) know numpy's bool by the names of its class and module.
    """

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value


_Bool.__module__, _Bool.__name__ = "numpy", "bool_"
