"""Traces, where OpenTelemetry is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

CODE = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from spladert import SparseEncoder
from support.server import running

spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
with SparseEncoder.load(sys.argv[1], threads=1) as encoder, running(encoder) as client:
    parent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    assert client.post("/v1/encode", json={"inputs": "a"}, headers=parent).status_code == 200
for span in spans.get_finished_spans():
    print(f"{span.context.trace_id:032x}", span.name)
"""


def test_a_request_is_a_span_of_its_caller_s_trace(tiny_bundle: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="needs OpenTelemetry: pip install opentelemetry-sdk")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tiny_bundle)],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "0af7651916cd43dd8448eb211c80319c POST /v1/encode" in done.stdout.splitlines(), done.stderr
