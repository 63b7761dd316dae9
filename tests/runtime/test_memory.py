"""Memory of the default model's int8 graph: a tensor of [batch, sequence, vocabulary] never exists."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

from spladert.bundle import open_bundle

MANIFEST = open_bundle().manifest
LOGITS_MB = MANIFEST.max_length * MANIFEST.vocabulary_size * 4 / 1e6  # of one text of the maximum length, in float32

PEAK = """
import sys
from spladert import SparseEncoder
from spladert.bench.machine import peak_memory_mb

stage, texts = sys.argv[1], int(sys.argv[2])
encoder = SparseEncoder.load(variant="cpu-int8", threads=1, isa="onnx")
length = encoder.manifest.max_length
if stage == "encode":
    encoder.encode(["손해배상 " * length] * texts, batch_size=texts)
else:
    encoder.engine.run([[1000 + i for i in range(length)]] * texts)
print(peak_memory_mb())
"""


@cache
def peak_mb(stage: str, texts: int) -> float:
    """Peak memory of a process that encodes texts of the maximum length, or runs them in one batch."""
    command = [sys.executable, "-c", PEAK, stage, str(texts)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_memory_is_flat_whatever_the_texts_of_a_call() -> None:
    """224 texts more would have 1,376 MB of logits."""
    assert peak_mb("encode", 256) - peak_mb("encode", 32) < 4 * LOGITS_MB


def test_a_batch_has_only_a_tile_of_the_logits() -> None:
    """What a text more in the batch takes, tiles of 4,096 of 24,000 entries and the encoder's states."""
    growth = (peak_mb("run", 64) - peak_mb("run", 16)) / 48
    assert growth < LOGITS_MB / 2
