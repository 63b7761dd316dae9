"""All there is to measure on an NVIDIA GPU, in one run: first that the results are right, then how fast they come.

    pip install '.[gpu,export]' 'onnxruntime-gpu[cuda,cudnn]' 'tensorrt-cu13>=10,<11'
    python -m benchmarks.make_checkpoint /tmp/checkpoint
    spladert export /tmp/checkpoint /tmp/bundle --variant cpu-fp32 --variant cuda-fp16 \
        --variant tensorrt-fp16 --variant tensorrt-int8 --allow-loss
    python -m benchmarks.gpu /tmp/checkpoint /tmp/bundle --json gpu.json

(tensorrt-cu12 where onnxruntime-gpu is built for CUDA 12.) It

1. measures the floors: bytes a second of a copy, and operations a second of an fp16 matrix product;
2. compares every engine's vectors with the CPU's fp32 ones, and stops where they are not close enough;
3. times every engine end to end, from texts to sparse vectors on the host, in turns, after a warm-up: one query of
   8 tokens, and batches of texts of 64 tokens. What comes back to the host has been waited for;
4. times the vocabulary head alone: ONNX Runtime in tiles of several sizes, PyTorch, and a fused Triton kernel.

Peers are the model card's code in fp16 on the same GPU, eager and compiled. A part that cannot run is reported as such.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu_head import measure_head
from spladert import SparseEncoder, SparseVector, SpladertError
from spladert.bench.samples import Clock, percentile, sample
from spladert.bench.texts import make_texts
from spladert.engine import Device
from spladert.tokenizer import load_tokenizer

LATENCY_TOKENS, TEXT_TOKENS = 8, 64
BATCHES = (1, 8, 32, 64, 128, 256)
WARM_UPS, LATENCY_CALLS, BATCH_CALLS = 20, 200, 20
FP32_ERROR = 1e-3  # the most that a weight of an fp32 engine may differ from the CPU's
LEAST_OVERLAP = 0.97  # of the 10 heaviest ids with the CPU's fp32, for every other engine
DEVICES: dict[str, Device] = {"cpu": "cuda", "cuda": "cuda", "tensorrt": "tensorrt"}  # by a variant's target
Encode = Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class Floors:
    """What the GPU gives: bytes a second of a device-to-device copy (read and written), fp16 operations a second."""

    gpu: str
    bytes_per_second: float
    fp16_flops: float


@dataclass(frozen=True)
class Work:
    """What a model costs: weights that a batch reads at least once, and operations a token, both of the products."""

    weight_bytes: int
    flops_per_token: int

    def least_seconds(self, floors: Floors, tokens: int) -> float:
        """The larger of reading the weights and computing the products."""
        return max(self.weight_bytes / floors.bytes_per_second, self.flops_per_token * tokens / floors.fp16_flops)


def require_cuda() -> Any:
    """torch, if it sees a CUDA device.

    Raises:
        SystemExit: it does not, or is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise SystemExit(f"the peers and the floors need PyTorch ({error}): pip install '.[gpu,export]'") from None
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: run this on a machine with an NVIDIA GPU and its driver")
    return torch


def work(hidden: int, vocabulary: int, encoder_weights: int, bytes_per_weight: int) -> Work:
    """The products of an encoder with `encoder_weights` entries in its matrices, and of a decoder [V, H]."""
    weights = encoder_weights + hidden * vocabulary
    return Work(weights * bytes_per_weight, 2 * weights)


def encoder_matrices(model: Any) -> int:
    """Entries of the matrices that a token is multiplied with, the decoder left out."""
    from torch import nn

    decoder = model.get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not decoder]
    return sum(int(m.weight.numel()) for m in linear)


def difference(found: Sequence[Any], expected: Sequence[Any]) -> dict[str, float]:
    """How far vectors are from the CPU's: largest weight error, and mean overlap of the 10 heaviest ids."""
    largest, overlap = 0.0, []
    for ours, theirs in zip(found, expected, strict=True):
        mine, known = ours.to_dict(), theirs.to_dict()
        # An id that one side's last place left out counts by what it exceeds that place.
        least = min(ours.values[-1], theirs.values[-1]) if len(ours) and len(theirs) else 0.0
        errors = [abs(max(mine.get(i, 0), least) - max(known.get(i, 0), least)) for i in mine.keys() | known.keys()]
        largest = max(largest, *errors, 0.0)
        top = set(theirs.indices[:10].tolist())
        overlap.append(len(top & set(ours.indices[:10].tolist())) / len(top) if top else 1.0)
    return {"max_weight_error": float(largest), "top10_overlap": statistics.fmean(overlap)}


def acceptable(precision: str, measured: dict[str, float]) -> bool:
    if precision == "fp32":
        return measured["max_weight_error"] <= FP32_ERROR
    return measured["top10_overlap"] >= LEAST_OVERLAP


def measure_floors(torch: Any) -> Floors:
    """A copy of 2 GiB and a product of 8,192 x 8,192 fp16 matrices, each the best of 20."""

    def best(call: Callable[[], Any]) -> float:
        seconds: list[float] = []
        for _ in range(WARM_UPS):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            seconds.append(start.elapsed_time(end) / 1e3)
        return min(seconds[1:])

    source, target = (torch.empty(2**31, dtype=torch.uint8, device="cuda") for _ in range(2))
    bandwidth = 2 * source.numel() / best(lambda: target.copy_(source))
    a, b = (torch.randn(8192, 8192, dtype=torch.float16, device="cuda") for _ in range(2))
    flops = 2 * 8192**3 / best(lambda: a @ b)
    return Floors(torch.cuda.get_device_name(), bandwidth, flops)


def spladert_engine(bundle: Path, device: Device, variant: str) -> Encode:
    encoder = SparseEncoder.load(bundle, device=device, variant=variant)

    def encode(texts: Sequence[str]) -> Any:
        return encoder.encode(texts, batch_size=len(texts))

    return encode


def torch_engine(torch: Any, checkpoint: Path, max_length: int, top_k: int, *, compiled: bool) -> Encode:
    """The model card's code in fp16; k ids and weights of each text come back to the host."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForMaskedLM.from_pretrained(checkpoint, dtype=torch.float16).cuda().eval()

    def weigh(input_ids: Any, attention_mask: Any) -> Any:
        logits = model(input_ids=input_ids, attention_mask=attention_mask).logits
        weights = (torch.log1p(torch.relu(logits)) * attention_mask.unsqueeze(-1)).max(dim=1).values
        return weights.topk(top_k)

    run = torch.compile(weigh, mode="reduce-overhead") if compiled else weigh

    def encode(texts: Sequence[str]) -> Any:
        inputs = tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=max_length)
        with torch.inference_mode():
            values, indices = run(inputs["input_ids"].cuda(), inputs["attention_mask"].cuda())
        rows = zip(indices.int().cpu().numpy(), values.float().cpu().numpy(), strict=True)
        return [SparseVector(i[v > 0], v[v > 0]) for i, v in rows]

    return encode


def time_calls(call: Callable[[], Any], repetitions: int, clock: Clock) -> list[float]:
    """Milliseconds of each call after the warm-up; `call` must wait for its result."""
    for _ in range(WARM_UPS):
        call()
    return sample(call, 0, least=repetitions, clock=clock)


def table(results: dict[str, Any], floor_ms: float) -> str:
    """Markdown of the timed engines, and the floor of one query."""
    lines = ["| engine | 1 x 8 p50, ms | p90 | best texts/s | at batch | of the floor |", "|---|---|---|---|---|---|"]
    for name, result in results.items():
        if "problem" in result:
            lines.append(f"| {name} | {result['problem']} | | | | |")
            continue
        latency, (batch, rate) = result["latency_ms"], max(result["texts_per_second"].items(), key=lambda x: x[1])
        share = result["share_of_floor"]
        lines.append(f"| {name} | {latency['p50']:.2f} | {latency['p90']:.2f} | {rate:,.0f} | {batch} | {share:.0%} |")
    return "\n".join([*lines, "", f"floor of one query of {LATENCY_TOKENS} tokens: {floor_ms:.3f} ms"])


def main(args: argparse.Namespace) -> None:
    torch = require_cuda()
    encoder = SparseEncoder.load(args.bundle, device="cpu", variant="cpu-fp32")
    manifest = encoder.manifest
    tokenizer = load_tokenizer(encoder.bundle.tokenizer_json(), manifest.max_length)
    longest = min(TEXT_TOKENS, manifest.max_length)
    query = make_texts(tokenizer, min(LATENCY_TOKENS, longest), 1)
    texts = make_texts(tokenizer, longest, max(BATCHES))
    probes = [*query, *texts[:32]]
    expected = list(encoder.encode(probes))
    floors = measure_floors(torch)
    print(f"{floors.gpu}: {floors.bytes_per_second / 1e12:.2f} TB/s, {floors.fp16_flops / 1e12:.0f} TFLOP/s fp16")
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(args.checkpoint)
    hidden, entries = int(model.get_output_embeddings().weight.shape[1]), encoder_matrices(model)
    costs = work(hidden, manifest.vocabulary_size, entries, 2)
    del model
    makers: dict[str, tuple[str, Callable[[], Encode]]] = {
        f"spladert {v.name}": (v.precision, partial(spladert_engine, args.bundle, DEVICES[v.target], v.name))
        for v in manifest.variants
        if v.target != "cpu" or v.precision == "fp32"
    }
    for name, compiled in (("torch fp16 eager", False), ("torch fp16 compiled", True)):
        makers[name] = (
            "fp16",
            partial(torch_engine, torch, args.checkpoint, manifest.max_length, manifest.top_k, compiled=compiled),
        )
    engines, results = check(makers, probes, expected)
    if wrong := [name for name, result in results.items() if result.get("wrong")]:
        print(json.dumps(results, indent=2))
        raise SystemExit(f"{', '.join(wrong)} differ too much from the CPU: nothing was timed")
    measure(engines, results, query, texts, costs, floors, longest)
    head = measure_head(torch, hidden, manifest.vocabulary_size, manifest.top_k, 32, longest)
    print(table(results, costs.least_seconds(floors, len(query) * LATENCY_TOKENS) * 1e3))
    print(json.dumps(head, indent=2))
    if args.json:
        content = {"floors": asdict(floors), "work": asdict(costs), "engines": results, "head": head}
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check(
    makers: dict[str, tuple[str, Callable[[], Encode]]], probes: Sequence[str], expected: Sequence[Any]
) -> tuple[dict[str, Encode], dict[str, Any]]:
    """The engines that start, and for each how far it is from the CPU, or why it does not start."""
    engines: dict[str, Encode] = {}
    results: dict[str, Any] = {}
    for name, (precision, make) in makers.items():
        print(f"checking {name}", file=sys.stderr)
        try:
            encode = make()
            measured = difference(list(encode(probes)), expected)
        except Exception as error:  # whatever an engine raises, the others are still worth measuring
            results[name] = {"problem": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            continue
        results[name] = {"against_cpu": measured, "wrong": not acceptable(precision, measured)}
        engines[name] = encode
    return engines, results


def measure(
    engines: dict[str, Encode],
    results: dict[str, Any],
    query: Sequence[str],
    texts: Sequence[str],
    costs: Work,
    floors: Floors,
    tokens: int,
    clock: Clock = time.perf_counter,
) -> None:
    """Time each engine and add what was found to its result."""
    for name, encode in engines.items():
        print(f"timing {name}", file=sys.stderr)
        taken = time_calls(partial(encode, query), LATENCY_CALLS, clock)
        results[name]["latency_ms"] = {f"p{share}": percentile(taken, share / 100) for share in (50, 90, 99)}
        rates = {}
        for batch in BATCHES:
            part = texts[:batch]
            taken = time_calls(partial(encode, part), BATCH_CALLS, clock)
            rates[batch] = batch / statistics.median(taken) * 1e3
        batch = max(rates, key=lambda size: rates[size])
        results[name]["texts_per_second"] = rates
        results[name]["share_of_floor"] = costs.least_seconds(floors, batch * tokens) * rates[batch] / batch


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", type=Path, help="Write everything here.")
    try:
        main(parser.parse_args())
    except SpladertError as error:
        raise SystemExit(f"error: {error}") from None
