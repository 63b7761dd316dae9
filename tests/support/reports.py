"""A report of a measurement that was never made."""

from __future__ import annotations

from spladert.bench.report import Latency, Memory, Report, Start, Throughput

REPORT = Report(
    source="a-model",
    architecture="ModernBertForMaskedLM",
    parameters=1_000_000,
    max_length=64,
    variant="cpu-int8",
    device="cpu",
    runs_on="ONNX Runtime",
    threads=2,
    spin=True,
    machine={"cpu": "a CPU", "family": "1", "model": "2", "cores": 2, "flags": ["avx2"], "system": "Linux"},
    versions={"spladert": "0.1.0", "numpy": "2.0"},
    mix="made up, of 8, 64 tokens in turn",
    latency=(Latency(8, 1.25, 2.5, 4.0, 9.0, 200), Latency(64, 40.0, 120.0, None, 1234.5, 20)),
    throughput=(Throughput(1, 1, 100, 1234.5, 44_442.0), Throughput(8, 1, 10, 2000.0, 72_000.0)),
    start=Start(0.2, 0.3, 0.35),
    memory=(Memory(0, 90.0), Memory(8, 1100.0)),
    warnings=("other processes took 15% of the 2 cores' time",),
)
