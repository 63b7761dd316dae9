"""What test_aarch64.py runs under emulation: random encoders, each text alone, and all at once on three threads.

python engine_run.py ISA RESULTS.npz
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spladert.engine.native.engine import NativeEngine
from support.encoders import LENGTHS, SHAPES, Shape, make_encoder, rows_of
from support.kernels import abi, build


def run(isa: str, shape: Shape, threads: int, *batches: slice) -> list[NDArray[Any]]:
    """Indices and values of the batches' rows, one after the other, by an engine of their own."""
    library, rows = abi().load_library(build("aarch64")), rows_of(LENGTHS, shape.vocabulary)
    engine = NativeEngine(
        abi(), library, make_encoder(shape), (), max_length=shape.max_length, isa=isa, threads=threads
    )
    results = [engine.run(rows[batch]) for batch in batches]
    engine.close()
    return [np.concatenate(arrays) for arrays in zip(*results, strict=True)]


def main(isa: str, to: str) -> None:
    found = {}
    for name, shape in SHAPES.items():
        alone = run(isa, shape, 1, *(slice(i, i + 1) for i in range(len(LENGTHS))))
        np.testing.assert_equal(run(isa, shape, 3, slice(None)), alone)
        found[f"{name} indices"], found[f"{name} values"] = alone
    np.savez(to, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
