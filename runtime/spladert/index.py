"""Search without a server: documents and their vectors in a folder, by Qdrant's engine in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from numbers import Integral
from pathlib import Path
from types import TracebackType

from .encoder import SparseEncoder
from .errors import InputError
from .files.passages import InPassages
from .files.records import BadRecord, Fields, Record, UnreadableError, lone_surrogate
from .files.sinks.store import KindOfIds, Rows, StoreSink, open_store_sink
from .hits import check_question
from .passages import PassageCutter, Passages
from .qdrant.collection import PointsCollection
from .qdrant.edge import JOBS, EdgePoints, open_points, read_origin
from .qdrant.points import point_id
from .qdrant.search import PointsSearcher
from .stores import Answer, How, Load

CHUNK = 1024  # documents that are encoded and written at a time


@contextmanager
def open_index_sink(folder: Path, encoder: SparseEncoder, input: str) -> Iterator[StoreSink]:
    """The sink of a folder, which is made if it is not there.

    Raises:
        InputError: the folder holds something else, or another process has it open.
        StoreError: the engine cannot open it.
        DependencyError: Qdrant Edge is not installed.
    """
    with open_points(folder) as points:
        collection = PointsCollection(points, f"the index {folder}", encoder)
        with open_store_sink(collection, str(folder), folder.name, Load(input, folder / JOBS)) as sink:
            yield sink


def indexed_by(folder: Path) -> tuple[str | None, str | None]:
    """(bundle, revision) of the model that made the index of a folder; (None, None), the default, if there is none.

    Raises:
        InputError: the folder's description cannot be read.
    """
    origin = read_origin(folder)
    return (None, None) if origin is None else (origin.bundle, origin.revision)


@contextmanager
def open_index_searcher(folder: Path) -> Iterator[PointsSearcher]:
    """The searcher of a folder.

    Raises:
        InputError: there is no index, or another process has it open.
        StoreError: the engine cannot open it.
        DependencyError: Qdrant Edge is not installed.
    """
    if read_origin(folder) is None:
        raise InputError(f"there is no index {folder}; make it with spladert index INPUT '{folder}'")
    with open_points(folder) as points:
        origin = points.origin()
        assert origin is not None
        points.read_ahead()
        yield PointsSearcher(points, f"the index {folder}", origin)


class SparseIndex:
    """Documents in a folder that can be searched; a context manager. One process has it open at a time.

    What `add` and `delete` have done when they return survives any kill. Once closed, all its methods raise InputError.

    Attributes:
        folder: where it is.
        encoder: what makes the vectors.
    """

    def __init__(self, folder: Path, points: EdgePoints, encoder: SparseEncoder) -> None:
        """`open` makes one."""
        self.folder, self.encoder = folder, encoder
        self._points, self._resources = points, ExitStack()
        self._is_closed = False
        self._collection = PointsCollection(points, f"the index {folder}", encoder)
        self._collection.open(fresh=True)
        self._rows = Rows(self._collection.text_field)

    @classmethod
    def open(cls, folder: str | Path, encoder: SparseEncoder | None = None) -> SparseIndex:
        """Open the index of a folder; one that is not there is made with the first documents.

        Args:
            folder: its own; nothing else may be in it.
            encoder: what makes the vectors; None loads the model that made the index, for a new one the default.

        Raises:
            InputError: an argument is of another type, or the index is another model's, or another process has it open,
                or the folder is none of ours.
            StoreError: the engine cannot open it.
            BundleError, DeviceError: the model cannot be loaded.
            DependencyError: Qdrant Edge or onnxruntime is not installed.
        """
        if not isinstance(folder, str | Path):
            raise InputError(f"the folder is {type(folder).__name__}; give a str or a Path")
        if not isinstance(encoder, SparseEncoder | None):
            raise InputError(f"the encoder is {type(encoder).__name__}; give a SparseEncoder, of SparseEncoder.load()")
        folder = Path(folder)
        with ExitStack() as stack:
            points = stack.enter_context(open_points(folder))
            origin = points.origin()
            points.read_ahead()
            if encoder is None:
                bundle, revision = (origin.bundle, origin.revision) if origin is not None else (None, None)
                encoder = stack.enter_context(SparseEncoder.load(bundle, revision=revision))
            index = cls(folder, points, encoder)
            index._resources = stack.pop_all()
        return index

    def add(self, documents: Iterable[str | Mapping[str, object]], *, passages: Passages | None = None) -> int:
        """Write documents, in the place of those with the same ids; returns how many there were.

        Args:
            documents: texts, or mappings with a "text", an "_id", "id" or "docid" (else a hash of the document is its
                id) and any other fields, which come back with a hit.
            passages: how long ones are cut; None takes their beginning alone.

        Raises:
            InputError: one cannot be taken; the message gives its position. The chunks before it are written. Or a
                single document is given, of which each character or field would be one.
            StoreError: the engine refuses.
        """
        self._check_open()
        if isinstance(documents, str | Mapping) or not isinstance(documents, Iterable):
            kind = type(documents).__name__
            raise InputError(f"documents are a list, not a single {kind}: write [document]")
        if not isinstance(passages, Passages | None):
            raise InputError(f"passages are {type(passages).__name__}; give Passages(), or None for none")
        records: Iterable[Record | BadRecord] = (_record(n, document) for n, document in enumerate(documents))
        if passages is not None:
            cutter = PassageCutter(self.encoder.tokenizer, passages, self.encoder.tokenizer.room("document"))
            records = InPassages(records, cutter, ["text"])
        count, remaining, kind_of_ids = 0, iter(records), KindOfIds()
        while chunk := list(islice(remaining, CHUNK)):
            count += self._write(chunk, kind_of_ids)
        return count

    def delete(self, ids: Iterable[str | int]) -> None:
        """Delete documents, with all their passages; one that is not there is no error.

        Raises:
            InputError: a single string is given, which would be an id a character; or one is no id.
            StoreError: the engine refuses.
        """
        self._check_open()
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            raise InputError(f"ids are a list, not a single {type(ids).__name__}: write [id]")
        documents = [_id(each) for each in ids]
        if documents and self._points.origin() is not None:
            self._points.delete([point_id(document) for document in documents])
            self._points.delete_passages(documents)

    def search(
        self, question: str, *, top: int = 10, hybrid: bool = False, filters: Mapping[str, str] | None = None
    ) -> Answer:
        """The best documents for a question, see `spladert.stores.Searcher.search`.

        Raises:
            InputError: the question is no text, empty or has no known token, or `top` or a filter cannot be taken.
            StoreError: the engine refuses.
        """
        self._check_open()
        how = How(top, hybrid, filters or {})
        check_question(question)
        origin = self._points.origin()
        if origin is None:
            return Answer(())
        return PointsSearcher(self._points, f"the index {self.folder}", origin).search(self.encoder, question, how)

    def optimize(self) -> None:
        """Bring what was added into the form that is searched fastest; worth it after many documents."""
        self._check_open()
        if self._points.origin() is not None:
            self._points.settle()
            self._points.read_ahead()

    def __len__(self) -> int:
        """Documents and passages there are."""
        self._check_open()
        return self._points.count() if self._points.origin() is not None else 0

    def close(self) -> None:
        """Let go of the folder."""
        self._is_closed = True
        self._resources.close()

    def __enter__(self) -> SparseIndex:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise InputError(f"the index {self.folder} is closed; open it again")

    def _write(self, records: Sequence[Record | BadRecord], kind_of_ids: KindOfIds) -> int:
        """Returns how many documents begin among them."""
        good = [each for each in records if isinstance(each, Record)]
        if len(good) < len(records):
            bad = next(each for each in records if isinstance(each, BadRecord))
            raise InputError(f"document {bad.line}: {bad.error}")
        rows = []
        for record in good:
            if (reason := kind_of_ids.refusal(record)) is not None:
                raise InputError(f"document {record.line}: {reason}")
            try:
                rows.append(self._rows(record))
            except InputError as error:
                raise InputError(f"document {record.line}: {error}") from None
        refused = self._collection.write(rows, self.encoder.encode_document([row.text for row in rows]))
        if refused:
            raise InputError(f"document {good[refused[0].position].line}: {refused[0].reason}")
        return sum(record.passage is None or record.passage.number == 0 for record in good)


def _record(position: int, document: str | Mapping[str, object]) -> Record | BadRecord:
    values = {"text": document} if isinstance(document, str) else document
    if not isinstance(values, Mapping):
        return BadRecord(position, f"{type(document).__name__} instead of a str or a mapping", b"")
    try:
        return Fields().record(position, values, size=0)
    except UnreadableError as error:
        return BadRecord(position, str(error), b"")


def _id(value: object) -> str:
    if not isinstance(value, str | Integral) or isinstance(value, bool):
        raise InputError(f"the id {value!r} is {type(value).__name__}; give a str or an int")
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the id {value!r} {lone_surrogate(error)}") from None
    return str(value)
