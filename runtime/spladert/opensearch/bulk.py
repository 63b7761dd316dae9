"""Bulk requests: bounded in bytes, sent again where that helps, with what the cluster refused given back.

Every document has an `_id` and is written by "index", so that sending it twice leaves it there once.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import StoreError
from ..stores import StoreUrl
from .client import explain, explained, is_read_only

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

REQUEST_BYTES = 5 * 2**20
RETRIED = {429, 502, 503, 504}
T = TypeVar("T")


@dataclass(frozen=True)
class Retries:
    """When something is sent again.

    Attributes:
        first: seconds before the second try; each further wait is twice as long, and up to half as long again by
            chance, so that many clients do not come at once.
        longest: the longest wait in seconds.
        patience: seconds without a single document accepted before giving up.
    """

    first: float = 0.5
    longest: float = 30.0
    patience: float = 600.0


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is sent: its `_id`, and its JSON without a line end."""

    id: str
    body: bytes

    @property
    def size(self) -> int:
        return len(self.id) + len(self.body) + 32


@dataclass(frozen=True)
class Refusal:
    """A document that the cluster does not take: its place among those that were sent, the status and the reason."""

    position: int
    status: int
    reason: str


class BulkSender:
    """Sends documents to one index.

    Attributes:
        retries: how many times a request or a document was sent again so far.
        replaced: documents that took the place of ones with the same `_id`, as far as the cluster's answers tell.
    """

    def __init__(
        self,
        client: OpenSearch,
        url: StoreUrl,
        *,
        options: Retries | None = None,
        request_bytes: int = REQUEST_BYTES,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        waiting: Callable[[str], object] = lambda reason: None,
    ) -> None:
        """
        Args:
            client: of `connect`.
            url: whose name is the index.
            options: when something is sent again.
            request_bytes: the most bytes of a request; one document alone may have more.
            sleep: what waits.
            clock: seconds, by which the patience is measured.
            waiting: called with the reason before each wait.
        """
        self._client, self._url = client, url
        self._options = options or Retries()
        self._request_bytes = request_bytes
        self._sleep, self._clock, self._waiting = sleep, clock, waiting
        self.retries = self.replaced = 0

    def ask(self, request: Callable[[], T], *, first: bool = False) -> T:
        """What a request of another kind gives; it is sent again by the same rule, so twice has to be harmless.

        Args:
            request: that is sent.
            first: nothing was heard from the cluster yet: a host that is not there, or where nothing listens, is a
                mistake to be told at once.

        Raises:
            StoreError: the cluster refuses, or cannot answer for longer than the patience.
        """
        from opensearchpy.exceptions import TransportError

        start, wait = self._clock(), self._options.first
        while True:
            with explained(self._url):
                try:
                    return request()
                except TransportError as error:
                    if not _passes(error) or (first and _nobody_listens(error)):
                        raise
                    reason = explain(self._url, error)
            wait = self._pause(start, wait, "has not answered", reason)

    def send(self, documents: Sequence[Document]) -> list[Refusal]:
        """Send documents; returns those that the cluster refuses for good, after all others are written.

        Raises:
            StoreError: the cluster takes none for longer than the patience, or refuses as a whole: a read-only index,
                a login. What was written stays; sending all again is harmless.
        """
        refused: list[Refusal] = []
        for part in _parts(documents, self._request_bytes):
            refused += self._send_part(documents, part)
        return refused

    def _send_part(self, documents: Sequence[Document], positions: Sequence[int]) -> list[Refusal]:
        refused: list[Refusal] = []
        last_success, wait = self._clock(), self._options.first
        surely_unwritten = True
        while positions:
            left, refusals, reason, replaced = self._try(documents, positions)
            refused += refusals
            self.replaced += replaced if surely_unwritten else 0
            surely_unwritten = surely_unwritten and len(left) < len(positions)
            if len(left) < len(positions):
                last_success, wait = self._clock(), self._options.first
            positions = left
            if not positions:
                break
            wait = self._pause(last_success, wait, "has taken nothing", reason)
        return refused

    def _pause(self, since: float, wait: float, what: str, reason: str) -> float:
        """Wait before something is sent again; returns how long the next wait is.

        Raises:
            StoreError: the patience is at its end.
        """
        if self._clock() - since > self._options.patience:
            raise StoreError(
                f"{self._url} {what} for {self._options.patience:.0f} s: {reason}; "
                "when it is well again, the same command goes on"
            )
        self.retries += 1
        self._waiting(reason)
        self._sleep(wait * (1 + random.random() / 2))
        return min(2 * wait, self._options.longest)

    def _try(
        self, documents: Sequence[Document], positions: Sequence[int]
    ) -> tuple[Sequence[int], list[Refusal], str, int]:
        """One request: what is to be sent again, what is refused, why the first of those is to be sent again, and how
        many documents replaced others."""
        from opensearchpy.exceptions import SerializationError, TransportError

        lines = [line for i in positions for line in (_action(documents[i].id), documents[i].body)]
        try:
            answer = self._client.bulk(body=b"\n".join([*lines, b""]), index=self._url.name)
        except TransportError as error:
            if error.status_code == 413 and len(positions) > 1:
                half = len(positions) // 2
                refused = self._send_part(documents, positions[:half])
                return [], refused + self._send_part(documents, positions[half:]), "", 0
            if error.status_code == 413:
                return [], [Refusal(positions[0], 413, "the cluster takes no document as large as this")], "", 0
            if _passes(error):
                return positions, [], explain(self._url, error), 0
            raise StoreError(explain(self._url, error)) from None
        except SerializationError:
            raise StoreError(f"{self._url} answers what is no JSON: is there an OpenSearch, or a proxy?") from None
        return self._sorted(answer, positions)

    def _sorted(self, answer: Any, positions: Sequence[int]) -> tuple[list[int], list[Refusal], str, int]:
        again: list[int] = []
        refused: list[Refusal] = []
        first_reason = ""
        replaced = 0
        for position, item in zip(positions, answer["items"], strict=True):
            result = item["index"]
            status = int(result["status"])
            if status < 300:
                replaced += result["result"] == "updated"
                continue
            reason = _reason(result.get("error"))
            if status in RETRIED:
                again.append(position)
                first_reason = first_reason or reason
            elif is_read_only(reason):
                raise StoreError(
                    f"{self._url} takes no writes: {reason}; when they are allowed again, the same command goes on"
                )
            else:
                refused.append(Refusal(position, status, reason))
        return again, refused, first_reason, replaced


def _passes(error: Exception) -> bool:
    """Whether an error is of the kind that another try helps: time-outs, broken connections, an overload."""
    from opensearchpy.exceptions import ConnectionError, SSLError

    if isinstance(error, ConnectionError):  # time-outs too
        return not isinstance(error, SSLError)
    return getattr(error, "status_code", None) in RETRIED


def _nobody_listens(error: Exception) -> bool:
    """Whether no connection could be made at all: an unknown host, or a port where nothing listens."""
    from urllib3.exceptions import NewConnectionError

    return isinstance(getattr(error, "info", None), NewConnectionError)


def _parts(documents: Sequence[Document], most: int) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for i, document in enumerate(documents):
        if part and size + document.size > most:
            yield part
            part, size = [], 0
        part.append(i)
        size += document.size
    if part:
        yield part


def _action(document_id: str) -> bytes:
    return json.dumps({"index": {"_id": document_id}}, ensure_ascii=False).encode()


def _reason(error: Any) -> str:
    """The innermost cause, which names the field, after the outermost type."""
    if not isinstance(error, dict):
        return str(error)
    inner = error
    while isinstance(inner.get("caused_by"), dict):
        inner = inner["caused_by"]
    text = f"{error.get('type')}: {error.get('reason')}"
    return text if inner is error else f"{text}: {inner.get('reason')}"
