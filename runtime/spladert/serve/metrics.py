"""What the server counts and times, in Prometheus' form."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one process; with PROMETHEUS_MULTIPROC_DIR set, `exposition` sums those of all workers."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()

        def seconds(name: str, what: str) -> Histogram:
            return Histogram(f"spladert_{name}_seconds", what, buckets=SECONDS, registry=registry)

        self.requests = Histogram(
            "spladert_request_seconds",
            "From a request's head to the end of its answer.",
            ["path", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self.tokenize = seconds("tokenize", "Tokenizing the texts of a request.")
        self.queue = seconds("queue", "From tokenized to the start of the first batch with texts of the request.")
        self.inference = seconds("inference", "A run of the graph.")
        self.batch_texts = Histogram("spladert_batch_texts", "Texts of a batch.", buckets=COUNTS, registry=registry)
        self.texts = Counter("spladert_texts", "Texts encoded.", registry=registry)
        self.tokens = Counter("spladert_tokens", "Tokens encoded, without padding.", registry=registry)
        self.padding = Counter("spladert_padding_tokens", "Padding of batches, in tokens.", registry=registry)
        self.rejected = Counter("spladert_rejected", "Requests refused, by reason.", ["reason"], registry=registry)
        self.dropped = Counter("spladert_dropped", "Requests given up as their client was gone.", registry=registry)
        self.waiting = Gauge(
            "spladert_waiting_texts", "Texts that wait for a batch.", registry=registry, multiprocess_mode="livesum"
        )

    def batch(self, texts: int, tokens: int, padding: int, seconds: float) -> None:
        """Count one run of the graph."""
        self.batch_texts.observe(texts)
        self.texts.inc(texts)
        self.tokens.inc(tokens)
        self.padding.inc(padding)
        self.inference.observe(seconds)

    def exposition(self) -> bytes:
        """All of it as text, as GET /metrics gives it."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
