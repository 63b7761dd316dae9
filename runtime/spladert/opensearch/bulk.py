"""Bulk requests: bounded in bytes, sent again where that helps, with what the cluster refused given back.

Every document has an `_id` and is written by "index", so that sending it twice leaves it there once.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..stores import StoreUrl
from .client import explain, is_read_only

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

REQUEST_BYTES = 5 * 2**20
RETRIED = {429, 502, 503, 504}


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
        self.retries = 0

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
        while positions:
            left, refusals, reason = self._try(documents, positions)
            refused += refusals
            if len(left) < len(positions):
                last_success, wait = self._clock(), self._options.first
            positions = left
            if not positions:
                break
            if self._clock() - last_success > self._options.patience:
                raise StoreError(
                    f"{self._url} has taken nothing for {self._options.patience:.0f} s: {reason}; "
                    "when it is well again, the same command goes on"
                )
            self.retries += 1
            self._waiting(reason)
            self._sleep(wait * (1 + random.random() / 2))
            wait = min(2 * wait, self._options.longest)
        return refused

    def _try(self, documents: Sequence[Document], positions: Sequence[int]) -> tuple[Sequence[int], list[Refusal], str]:
        """One request: what is to be sent again, what is refused, and why the first of those is to be sent again."""
        from opensearchpy.exceptions import ConnectionError, SSLError, TransportError

        lines = [line for i in positions for line in (_action(documents[i].id), documents[i].body)]
        try:
            answer = self._client.bulk(body=b"\n".join([*lines, b""]), index=self._url.name)
        except SSLError as error:
            raise StoreError(explain(self._url, error)) from None
        except ConnectionError as error:  # time-outs too
            return positions, [], explain(self._url, error)
        except TransportError as error:
            if error.status_code == 413 and len(positions) > 1:
                half = len(positions) // 2
                refused = self._send_part(documents, positions[:half])
                return [], refused + self._send_part(documents, positions[half:]), ""
            if error.status_code == 413:
                return [], [Refusal(positions[0], 413, "the cluster takes no document as large as this")], ""
            if error.status_code in RETRIED:
                return positions, [], explain(self._url, error)
            raise StoreError(explain(self._url, error)) from None
        return self._sorted(answer, positions)

    def _sorted(self, answer: Any, positions: Sequence[int]) -> tuple[list[int], list[Refusal], str]:
        again: list[int] = []
        refused: list[Refusal] = []
        first_reason = ""
        if not answer["errors"]:
            return again, refused, first_reason
        for position, item in zip(positions, answer["items"], strict=True):
            result = item["index"]
            status = int(result["status"])
            if status < 300:
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
        return again, refused, first_reason


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
