"""What a server may be told: its limits, how long it waits, and who may talk to it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ..errors import InputError


@dataclass(frozen=True)
class ServerOptions:
    """How a server takes, queues and answers requests; none of it changes a vector.

    Attributes:
        max_wait_ms: how long an idle engine waits for more texts before it runs a batch that is not full.
        max_queue: the most texts that wait; what would go over it is refused with 429.
        max_client_batch_size: the most texts of a request.
        max_text_length: the most characters of a text.
        max_body: the most bytes of a request's body.
        batch_size: the most texts of a batch (of long ones less, see the engine's `limits`).
        timeout: seconds in which a request has to be answered, else 503.
        receive_timeout: seconds in which a request's head, and then its body, has to arrive, else 408.
        drain_timeout: seconds that accepted requests may take after a SIGTERM.
        auto_truncate: whether /embed_sparse cuts a long text where a request does not say; else it is refused.
        api_key: what a client has to send as `Authorization: Bearer KEY`; None takes everybody.
        cors_origins: origins whose pages may call this server; "*" is every one.

    Raises:
        InputError: a number is out of range, or `max_queue` is less than `max_client_batch_size`.
    """

    max_wait_ms: float = 0.0
    max_queue: int = 2048
    max_client_batch_size: int = 128
    max_text_length: int = 100_000
    max_body: int = 2_000_000
    batch_size: int = 32
    timeout: float = 30.0
    receive_timeout: float = 10.0
    drain_timeout: float = 30.0
    auto_truncate: bool = True
    api_key: str | None = None
    cors_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.max_wait_ms < inf:
            raise InputError(f"max_wait_ms is {self.max_wait_ms}; give 0 or more")
        for name in ("max_queue", "max_client_batch_size", "max_text_length", "max_body", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give 1 or more")
        for name in ("timeout", "receive_timeout", "drain_timeout"):
            if not 0 < getattr(self, name) < inf:
                raise InputError(f"{name} is {getattr(self, name)}; give more than 0 seconds")
        for origin in self.cors_origins:
            if origin != "*" and not origin.startswith(("http://", "https://")):
                raise InputError(f"the origin {origin!r} is none; give one such as https://example.org, or *")
        if self.max_queue < self.max_client_batch_size:
            raise InputError(
                f"max_queue is {self.max_queue}, less than the {self.max_client_batch_size} texts of one request "
                "(max_client_batch_size): such a request could never be taken"
            )
        if self.api_key is not None and not (self.api_key and self.api_key.isascii() and self.api_key.isprintable()):
            raise InputError("the API key has to be printable ASCII, for it travels in a header; give another one")
