"""Encoding as the endpoints use it: token ids in, vectors and timings out, through the queue."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.requests import Request

from ..encoder import SparseEncoder
from ..opensearch.keys import Keys, Spelling, keys_of
from ..tokenizer import Side, TokenizedTexts
from ..vectors import SparseVectors
from .batcher import Batcher, Job
from .metrics import Metrics
from .options import ServerOptions
from .refusals import RefusalError, invalid, unavailable
from .texts import Texts


@dataclass(frozen=True)
class Timing:
    """Where a request's time went, in seconds, and with how many texts it shared its (last) batch."""

    tokenize: float
    queue: float
    inference: float
    total: float
    batch_texts: int
    tokens: int

    def headers(self) -> dict[str, str]:
        """text-embeddings-inference's headers (whole milliseconds), and the standard `Server-Timing` (exact)."""
        stages = {"tokenize": self.tokenize, "queue": self.queue, "inference": self.inference, "total": self.total}
        return {
            "x-compute-tokens": str(self.tokens),
            "x-tokenization-time": str(int(self.tokenize * 1000)),
            "x-queue-time": str(int(self.queue * 1000)),
            "x-inference-time": str(int(self.inference * 1000)),
            "x-total-time": str(int(self.total * 1000)),
            "x-batch-texts": str(self.batch_texts),
            "server-timing": ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in stages.items()),
        }


class Service:
    """What the endpoints share. All methods belong to one event loop.

    Attributes:
        encoder: the bundle that is served.
        options: limits and times.
        metrics: what is counted.
        texts: checks and tokenizes inputs.
        batcher: the queue and the engine's thread.
        draining: whether the server is about to end.
    """

    def __init__(self, encoder: SparseEncoder, options: ServerOptions) -> None:
        self.encoder, self.options = encoder, options
        self.metrics = Metrics()
        self.texts = Texts(
            encoder,
            max_client_batch_size=options.max_client_batch_size,
            max_text_length=options.max_text_length,
        )
        self.batcher = Batcher(
            encoder.engine.run,
            encoder.engine.limits.with_texts(options.batch_size),
            self.metrics,
            max_queue=options.max_queue,
            max_wait=options.max_wait_ms / 1000,
        )
        self.draining = False
        self._keys: dict[Spelling, Keys] = {}

    @property
    def queries_without_model(self) -> bool:
        """Whether queries are looked up in a table."""
        return self.encoder.manifest.query_table is not None

    def keys(self, spelling: Spelling) -> Keys:
        """How OpenSearch spells this vocabulary."""
        if spelling not in self._keys:
            self._keys[spelling] = keys_of(self.encoder.bundle, spelling)
        return self._keys[spelling]

    def check_room(self, texts: int, side: Side | None) -> None:
        """Before texts are tokenized: whether there will be room for them.

        Raises:
            RefusalError: 429, the queue is full.
        """
        if not (side == "query" and self.queries_without_model):
            self.batcher.check_room(texts)

    async def encode(
        self,
        tokenized: TokenizedTexts,
        request: Request,
        *,
        started: float,
        side: Side | None,
        top_k: int | None = None,
    ) -> tuple[SparseVectors, Timing]:
        """Vectors of tokenized texts.

        Args:
            tokenized: the texts.
            request: where they came from; once its client is gone they are dropped.
            started: `time.perf_counter()` when their tokenizing began.
            side: queries go before documents, or need no model at all.
            top_k: entries kept of each vector.

        Raises:
            RefusalError: the queue is full, time is up, the graph failed, or `top_k` is out of range.
            ClientGoneError: there is nobody to answer.
        """
        if top_k is not None and top_k > self.encoder.manifest.top_k:
            raise invalid(f"`top_k` is {top_k}; this bundle gives 1 to {self.encoder.manifest.top_k}")
        ready = time.perf_counter()
        self.metrics.tokenize.observe(ready - started)
        tokens = sum(map(len, tokenized.input_ids))
        if side == "query" and self.queries_without_model:
            results = self.encoder.run(tokenized.input_ids, side="query")
            vectors = self.encoder.assemble(results, tokenized, top_k)
            return vectors, Timing(ready - started, 0.0, 0.0, time.perf_counter() - started, 0, tokens)
        job = await self._through_queue(tokenized, request, query=side == "query")
        vectors = self.encoder.assemble(job.result.result(), tokenized, top_k)
        timing = Timing(
            tokenize=ready - started,
            queue=job.started - job.queued,
            inference=job.finished - job.started,
            total=time.perf_counter() - started,
            batch_texts=job.batch_texts,
            tokens=tokens,
        )
        return vectors, timing

    async def _through_queue(self, tokenized: TokenizedTexts, request: Request, *, query: bool) -> Job:
        job = self.batcher.submit(tokenized.input_ids, query=query)
        if not job.result.done():
            gone = asyncio.ensure_future(_gone(request))
            try:
                await asyncio.wait(
                    (job.result, gone), timeout=self.options.timeout, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                left = gone.done()
                gone.cancel()
                self.batcher.cancel(job)
            if job.result.cancelled():
                if left:
                    self.metrics.dropped.inc()
                    raise ClientGoneError
                raise unavailable(f"no answer within {self.options.timeout:g} seconds; try again", 1)
        return job

    async def probe(self) -> None:
        """Run one text if the last batch failed, or none has run yet.

        Raises:
            RefusalError: it fails (503).
        """
        if self.batcher.healthy:
            return
        job = self.batcher.submit(self.encoder.tokenize_batch(["health"]).input_ids, query=True)
        try:
            await asyncio.wait_for(job.result, self.options.timeout)
        except (RefusalError, TimeoutError):
            raise unavailable("unhealthy", 1) from None


class ClientGoneError(Exception):
    """The client closed its connection before the answer."""


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
