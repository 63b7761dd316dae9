"""uvicorn's HTTP, with a limit of time and size for the head of a request: slow and endless clients are let go."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HeadTooLargeError(Exception):
    """A request's line and headers are larger than any honest client's."""


class GuardedProtocol(HttpToolsProtocol):
    """A connection; one that does not send its next head in time is closed, an endless head is answered with 400.

    Attributes:
        head_timeout: seconds, from a connection's start or a request's first byte to the end of its headers.
        largest_head: bytes of a request's line and headers.
    """

    head_timeout = 10.0
    largest_head = 32 * 1024

    _deadline: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head = 0
        self._await_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._measure(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measure(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_timeout, self.transport.close)

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _measure(self, part: bytes) -> None:
        self._head += len(part)
        if self._head > self.largest_head:
            raise HeadTooLargeError
