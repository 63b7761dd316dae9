"""The vocabulary head alone on a GPU: the pooled logits and the top k of a batch of hidden states, several ways.

ONNX Runtime computes the logits in tiles of the vocabulary, as the bundle's graph does, and reads each tile back to
pool it: 2 * B * S * V fp16 numbers of traffic. A fused kernel (as Sparton has, for one) keeps a tile's logits in
registers and writes [B, V] only. The difference of the two is what tiles cost.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

TILES = (4096, 8192, 16384)  # and the whole vocabulary
WARM_UPS, RUNS = 10, 50


def head_model(hidden: int, vocabulary: int, top_k: int, tile: int, *, half: bool = True) -> bytes:
    """The head as the export writes it, with random weights: hidden [S, B, H] to indices and values [B, k]."""
    from onnx import TensorProto, helper, numpy_helper

    dtype, kind = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    weight = head_weight(hidden, vocabulary).astype(dtype)
    constants = {"flat": np.array([-1, hidden], np.int64), "axis": np.array([0], np.int64), "k": np.array([top_k])}
    nodes = [
        helper.make_node("Reshape", ["hidden", "flat"], ["rows"]),
        helper.make_node("Shape", ["hidden"], ["outer"], start=0, end=2),
    ]
    pooled = []
    for start in range(0, vocabulary, tile):
        name, rows = f"tile{start}", weight[start : start + tile]
        constants |= {name: rows, f"{name}.size": np.array([len(rows)])}
        nodes += [
            helper.make_node("Gemm", ["rows", name], [f"{name}.logits"], transB=1),
            helper.make_node("Concat", ["outer", f"{name}.size"], [f"{name}.shape"], axis=0),
            helper.make_node("Reshape", [f"{name}.logits", f"{name}.shape"], [f"{name}.split"]),
            helper.make_node("ReduceMax", [f"{name}.split", "axis"], [f"{name}.pooled"], keepdims=0),
        ]
        pooled.append(f"{name}.pooled")
    nodes += [
        helper.make_node("Concat", pooled, ["pooled"], axis=-1),
        helper.make_node("Cast", ["pooled"], ["logits"], to=TensorProto.FLOAT),
        helper.make_node("TopK", ["logits", "k"], ["values", "indices"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("hidden", kind, ["sequence", "batch", hidden])],
        [
            helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", top_k]),
            helper.make_tensor_value_info("indices", TensorProto.INT64, ["batch", top_k]),
        ],
        [numpy_helper.from_array(data, name) for name, data in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def head_weight(hidden: int, vocabulary: int) -> NDArray[np.float32]:
    """The same [V, H] for all ways."""
    weight = np.random.default_rng(0).standard_normal((vocabulary, hidden), dtype=np.float32)
    return weight / np.float32(hidden**0.5)


def fused_kernel() -> Callable[..., None]:
    """A Triton kernel: pooled[b, v] = max over s of hidden[s, b] . weight[v], for S of a power of two, at least 16."""
    import triton
    import triton.language as tl

    def kernel(
        hidden: Any,
        weight: Any,
        pooled: Any,
        batch: Any,
        width: Any,
        vocabulary: Any,
        tokens: tl.constexpr,
        columns: tl.constexpr,
        step: tl.constexpr,
    ) -> None:
        text, first = tl.program_id(1), tl.program_id(0) * columns
        rows = tl.arange(0, tokens) * batch + text  # hidden is [S, B, H]
        ids = first + tl.arange(0, columns)
        inside = ids < vocabulary
        total = tl.zeros((tokens, columns), dtype=tl.float32)
        for start in range(0, width, step):
            k = start + tl.arange(0, step)
            fits = k < width
            h = tl.load(hidden + rows[:, None] * width + k[None, :], mask=fits[None, :], other=0.0)
            w = tl.load(weight + ids[None, :] * width + k[:, None], mask=fits[:, None] & inside[None, :], other=0.0)
            total += tl.dot(h, w)
        tl.store(pooled + text * vocabulary + ids, tl.max(total, axis=0), mask=inside)

    compiled: Callable[..., None] = triton.jit(kernel)
    return compiled


def run_fused(kernel: Any, hidden: Any, weight: Any, pooled: Any) -> None:
    """`kernel` over hidden [S, B, H] and weight [V, H], both fp16, into pooled float32 [B, V]."""
    sequence, batch, width = hidden.shape
    vocabulary = weight.shape[0]
    grid = (-(-vocabulary // 128), batch)
    kernel[grid](hidden, weight, pooled, batch, width, vocabulary, tokens=sequence, columns=128, step=64)


def measure_head(torch: Any, hidden: int, vocabulary: int, top_k: int, batch: int, tokens: int) -> dict[str, Any]:
    """Median milliseconds of each way, its error against fp32, and what tiles cost over the fused kernel."""
    states = torch.randn(tokens, batch, hidden, dtype=torch.float16, device="cuda")
    weight = torch.from_numpy(head_weight(hidden, vocabulary)).half().cuda()
    exact = (states.float() @ weight.float().T).amax(dim=0).topk(top_k)
    ways: dict[str, Callable[[], Any]] = {}
    found: dict[str, Any] = {}

    def eager() -> Any:
        return (states @ weight.T).amax(dim=0).float().topk(top_k).values

    makers: dict[str, Callable[[], Callable[[], Any]]] = {
        **{f"onnxruntime, tile {tile}": _onnxruntime(states, hidden, vocabulary, top_k, tile) for tile in TILES},
        "onnxruntime, whole": _onnxruntime(states, hidden, vocabulary, top_k, vocabulary),
        "torch eager": lambda: eager,
        "torch compiled": lambda: torch.compile(eager),
        "fused": lambda: _fused(torch, states, weight, top_k),
    }
    for name, make in makers.items():
        try:
            ways[name] = make()
            error = (ways[name]().float().cpu() - exact.values.cpu()).abs().max()
            found[name] = {"max_error": float(error)}
        except Exception as error:  # a way that cannot run is reported, the others are measured
            found[name] = {"problem": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            ways.pop(name, None)
    for name, run in ways.items():
        found[name]["ms"] = _median_ms(torch, run)
    return {"batch": batch, "tokens": tokens, "ways": found, **cost_of_tiles(found)}


def cost_of_tiles(found: dict[str, Any]) -> dict[str, float]:
    """The time of the exported tile size and of the best one over the fused kernel's."""
    times = {name: way["ms"] for name, way in found.items() if "ms" in way}
    ours = {name: taken for name, taken in times.items() if name.startswith("onnxruntime")}
    if "fused" not in times or not ours:
        return {}
    shares = {"best_tile_over_fused": min(ours.values()) / times["fused"]}
    exported = f"onnxruntime, tile {TILES[0]}"
    return shares | ({"exported_tile_over_fused": ours[exported] / times["fused"]} if exported in ours else {})


def _onnxruntime(states: Any, hidden: int, vocabulary: int, top_k: int, tile: int) -> Callable[[], Callable[[], Any]]:
    """Makes the run of ONNX Runtime's CUDA provider, its inputs and outputs bound to device memory."""

    def make() -> Callable[[], Any]:
        import onnxruntime
        import torch

        model = head_model(hidden, vocabulary, top_k, tile)
        session = onnxruntime.InferenceSession(model, providers=["CUDAExecutionProvider"], enable_fallback=0)
        if session.get_providers()[0] != "CUDAExecutionProvider":
            raise RuntimeError("the CUDA provider did not start")
        tokens, batch, _ = states.shape
        values = torch.empty(batch, top_k, dtype=torch.float32, device="cuda")
        indices = torch.empty(batch, top_k, dtype=torch.int64, device="cuda")
        binding = session.io_binding()
        shape = (tokens, batch, hidden)
        binding.bind_input("hidden", "cuda", 0, np.float16, shape, states.data_ptr())
        binding.bind_output("values", "cuda", 0, np.float32, (batch, top_k), values.data_ptr())
        binding.bind_output("indices", "cuda", 0, np.int64, (batch, top_k), indices.data_ptr())

        def run() -> Any:
            session.run_with_iobinding(binding)
            return values

        return run

    return make


def _fused(torch: Any, states: Any, weight: Any, top_k: int) -> Callable[[], Any]:
    kernel = fused_kernel()
    pooled = torch.empty(states.shape[1], weight.shape[0], dtype=torch.float32, device="cuda")

    def run() -> Any:
        run_fused(kernel, states, weight, pooled)
        return pooled.topk(top_k).values

    return run


def _median_ms(torch: Any, run: Callable[[], Any]) -> float:
    taken = []
    for number in range(WARM_UPS + RUNS):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if number >= WARM_UPS:
            taken.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(taken)
