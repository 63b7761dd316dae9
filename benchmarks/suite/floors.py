"""What the machine can do at best, measured: `python -m benchmarks.suite.floors SPEC`, SPEC a JSON file. Prints JSON.

No engine can be faster than its weights can be read, nor than its products can be computed. Every rate is the best of
several repetitions, by the best of the libraries that are there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SIDE = 2048  # of the square matrices: 17.2 GFLOP a product, far from memory bound
READ_BYTES = 1 << 29  # a thread: beyond every cache
REPETITIONS = 7


def best_seconds(
    call: Callable[[], object], repetitions: int = REPETITIONS, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The shortest of several calls, after one that is discarded."""
    call()
    taken = []
    for _ in range(repetitions):
        started = clock()
        call()
        taken.append(clock() - started)
    return min(taken)


def bandwidth_gb_s(threads: int, read_bytes: int = READ_BYTES, clock: Callable[[], float] = time.perf_counter) -> float:
    """GB/s that `threads` threads read, each from an array of its own (numpy's max, and BLAS's dot product)."""
    import numpy as np

    arrays = [np.ones(read_bytes // 4, dtype=np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = min(
            best_seconds(lambda: list(pool.map(np.max, arrays)), clock=clock),
            best_seconds(lambda: list(pool.map(lambda array: np.dot(array, array), arrays)), clock=clock),
        )
    return threads * read_bytes / seconds / 1e9


def torch_gemm(threads: int, dtype_name: str, side: int = SIDE) -> float:
    """GFLOP/s of torch's matrix product in float32 or bfloat16."""
    import torch

    torch.set_num_threads(threads)
    left, right = (torch.randn(side, side, dtype=getattr(torch, dtype_name)) for _ in range(2))
    with torch.no_grad():
        return 2 * side**3 / best_seconds(lambda: left @ right) / 1e9


def onnx_gemm(threads: int, kind: str, side: int = SIDE) -> float:
    """GFLOP/s of ONNX Runtime's product with a constant matrix: "fp32", or "u8s8", "s8s8", "u8u8" to int32 to float."""
    import numpy as np
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    types = {"u": (np.uint8, TensorProto.UINT8, (0, 255)), "s": (np.int8, TensorProto.INT8, (-64, 64))}
    if kind == "fp32":
        left: Any = rng.standard_normal((side, side), dtype=np.float32)
        left_type = TensorProto.FLOAT
        constants: dict[str, Any] = {"b": rng.standard_normal((side, side), dtype=np.float32)}
        node = helper.make_node("MatMul", ["a", "b"], ["y"])
    else:
        (left_np, left_type, left_range), (right_np, _, right_range) = types[kind[0]], types[kind[2]]
        left = rng.integers(*left_range, (side, side)).astype(left_np)
        constants = {
            "b": rng.integers(*right_range, (side, side)).astype(right_np),
            "a_scale": np.float32(0.01),
            "b_scale": np.full(side, 0.01, np.float32),
            "a_zero": left_np(3),
        }
        names = ["a", "b", "a_scale", "b_scale", "a_zero"]
        node = helper.make_node("MatMulIntegerToFloat", names, ["y"], domain="com.microsoft")
    graph = helper.make_graph(
        [node],
        "gemm",
        [helper.make_tensor_value_info("a", left_type, [side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [side, side])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return 2 * side**3 / best_seconds(lambda: session.run(None, {"a": left})) / 1e9


def measure_floors(threads: int) -> dict[str, Any]:
    """Rates by name; `rates_from` names the library behind each; bf16 is None where the CPU has no such products."""
    from spladert.engine.machine import instruction_sets

    fp32 = {
        "torch": torch_gemm(threads, "float32"),
        "onnxruntime": onnx_gemm(threads, "fp32"),
    }
    int8 = {f"onnxruntime {kind}": onnx_gemm(threads, kind) for kind in ("u8s8", "u8u8", "s8s8")}
    has_bf16 = not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(instruction_sets())
    return {
        "threads": threads,
        "memory_gb_s": bandwidth_gb_s(threads),
        "fp32_gflop_s": max(fp32.values()),
        "bf16_gflop_s": torch_gemm(threads, "bfloat16") if has_bf16 else None,
        "int8_gop_s": max(int8.values()),
        "all": {"fp32": fp32, "int8": int8},
    }


def floor_ms(floors: dict[str, Any], precision: str, parameters: int, batch: int, length: int) -> float | None:
    """The least milliseconds that a pass can take: the larger of reading its weights once and computing its products.

    Every parameter takes part in one product a token (the embedding as the decoder), so a token has 2 * parameters
    operations; attention's own, under 2% at 64 tokens, are left out. None where the rate was not measured.
    """
    bytes_each = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5}
    rates = {"fp32": "fp32_gflop_s", "bf16": "bf16_gflop_s", "int8": "int8_gop_s", "int4": "int8_gop_s"}
    if precision not in rates or not floors.get(rates[precision]):
        return None
    reading = parameters * bytes_each[precision] / floors["memory_gb_s"] / 1e6
    computing = 2 * parameters * batch * length / floors[rates[precision]] / 1e6
    return float(max(reading, computing))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: the threads here are our own
    print(json.dumps(measure_floors(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["threads"])))
