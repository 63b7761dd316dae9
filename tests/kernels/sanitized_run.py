"""What test_sanitizers.py runs in a process of its own, under a sanitizer: every stage's code, from several threads.

python sanitized_run.py LIBRARY
"""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path

import numpy as np

from spladert.engine.native.engine import NativeEngine
from support.encoders import Shape, make_encoder
from support.kernels import ISAS, abi

SHAPES = (
    Shape(window=20, vocabulary=70),
    Shape(heads=3, gated=False, post_norm=True, rotary=False, positions=True, biases=True, intermediate=32),
    Shape(heads=2, head_size=96, vocabulary=65),
    Shape(float_layers=True, window=30, biases=True, vocabulary=64),
)


def main(path: Path) -> None:
    library = abi().load_library(path)
    rng = np.random.default_rng(0)
    for number in range(len(ISAS)):
        name = library.spladert_isa_name(number)
        if library.spladert_isa_missing(number):
            print(name.decode(), "does not run here")
            continue
        for shape in SHAPES:
            engine = NativeEngine(abi(), library, make_encoder(shape), (), max_length=80, isa=name.decode(), threads=3)

            def call(engine: NativeEngine = engine, vocabulary: int = shape.vocabulary, seed: int = 0) -> None:
                mine = np.random.default_rng(seed)
                for lengths in ([1], [70], [5, 40, 33]):  # emulated tiles are slow
                    engine.run([mine.integers(0, vocabulary, length).tolist() for length in lengths])

            callers = [threading.Thread(target=call, kwargs={"seed": int(seed)}) for seed in rng.integers(0, 99, 2)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            engine.close()
        print(name.decode(), "done", flush=True)
    error = ctypes.create_string_buffer(abi().ERROR_SIZE)
    empty, options = abi().Model(), abi().Options(None, 0, 0)
    assert library.spladert_create(ctypes.byref(empty), ctypes.byref(options), error) is None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
