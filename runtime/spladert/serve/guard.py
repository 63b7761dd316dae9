"""What stands before the endpoints, as plain ASGI: the API key, a body's time, and what is counted."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import Metrics
from .options import ServerOptions
from .refusals import RefusalError, too_large, unauthorized, unsupported

# Open without the API key: what probes and scrapers call, and the page, which asks for the key itself.
PUBLIC = frozenset({"/", "/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"})
PUBLIC_FOLDER = "/page/"
ENCODING = frozenset({"/embed_sparse", "/v1/encode"})


class Guard:
    """Lets no request pass without the API key, compressed, in an overload, or with a body too large or too slow."""

    def __init__(
        self, app: ASGIApp, options: ServerOptions, overload: Callable[[], RefusalError | None] | None
    ) -> None:
        """`overload` says what requests to encode are answered with, None with their vectors."""
        self._app, self._seconds, self._most = app, options.receive_timeout, options.max_body
        self._overload = overload
        self._key = None if options.api_key is None else f"Bearer {options.api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the server sends no body for it; balancers probe so
            scope = {**scope, "method": "GET"}
        try:
            self._check(scope["path"], Headers(scope=scope))
        except RefusalError as refusal:
            await refusal.response()(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._seconds
        complete, size = False, 0

        async def received() -> Message:
            nonlocal complete, size
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                text = f"the body did not arrive in {self._seconds:g} seconds; send it again"
                raise HTTPException(408, text, {"Connection": "close"}) from None
            complete = not message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, self._over, {"Connection": "close"})
            return message

        await self._app(scope, received, send)

    def _check(self, path: str, headers: Headers) -> None:
        public = path in PUBLIC or path.startswith(PUBLIC_FOLDER)
        if self._key is not None and not public:
            given = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self._key):
                raise unauthorized()
        encoding = headers.get("content-encoding", "identity")
        if encoding != "identity":  # so that a small body cannot unpack into a large one
            raise unsupported(f"the body has Content-Encoding {encoding!r}; send it uncompressed")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            raise too_large(self._over)
        if path in ENCODING and self._overload is not None and (refusal := self._overload()) is not None:
            raise refusal

    @property
    def _over(self) -> str:
        return f"the body is larger than {self._most} bytes; send fewer texts a request"


class Measure:
    """Observes every request's time, by its route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")  # of the routes only, so that their number has a bound
            self._metrics.requests.labels(path, str(status)).observe(time.perf_counter() - started)
            if status == 429:
                self._metrics.rejected.labels("queue").inc()
            elif 400 <= status < 500:
                self._metrics.rejected.labels("request").inc()
