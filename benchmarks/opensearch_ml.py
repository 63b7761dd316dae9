"""The model inside OpenSearch: cpu-int8 as ONNX against the same checkpoint as TorchScript, in memory and milliseconds.

    python -m benchmarks.opensearch_ml --launcher opensearch --texts questions.txt

The launcher starts a node (`--port`, `--data`, `--pytorch`), first one for each form, whose memory is read before and
after it has the model, then one that has both and is asked in turns, over a connection that is kept open: `_predict`,
and `neural_sparse` with `query_text` over an index of a thousand of the texts.

Memory is what the node's process holds (VmRSS). The JVM's heap is touched as a whole at the start, so that what comes
is the model's: its weights, its libraries and what they work with.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import statistics
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForMaskedLM

from benchmarks.suite.opensearch_node import client_of, running_node
from benchmarks.suite.usage import resident
from spladert import SparseEncoder
from spladert.bundle import Bundle, open_bundle
from spladert.opensearch import document_tokens, index_body, keys_of
from spladert.opensearch.ml import CHUNK_BYTES, ask_model, deploy_model, register_model
from spladert_export.package.opensearch_ml import package_for_opensearch

CHECKPOINT = Path(__file__).parents[1] / "training" / "korean-splade-small"
INDEX = "spladert-benchmark"
DOCUMENTS = 1_000
CLOSE = 0.15  # int8 against float32, in a weight
TURN = 25  # questions of a turn
Package = tuple[Path, Mapping[str, object]]


class Splade(torch.nn.Module):
    """As opensearch-py-ml makes its sparse encoding models, for the model card's formula."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.model = AutoModelForMaskedLM.from_pretrained(checkpoint).float()

    def forward(self, input: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        mask = input["attention_mask"]
        logits = self.model(input_ids=input["input_ids"], attention_mask=mask).logits  # [B, S, V]
        return {"output": torch.log1p(torch.relu((logits * mask.unsqueeze(-1)).amax(dim=1)))}


def torchscript_package(checkpoint: Path, onnx_zip: Path, out: Path) -> Package:
    """The zip and its registration, with the tokenizer of the other one."""
    example = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]]), "attention_mask": torch.ones(1, 5, dtype=torch.int64)}
    with torch.no_grad():
        traced = torch.jit.trace(Splade(checkpoint).eval(), example_inputs=example, strict=False)
    with zipfile.ZipFile(onnx_zip) as other, zipfile.ZipFile(out, "w") as archive:
        archive.writestr("tokenizer.json", other.read("tokenizer.json"))
        archive.writestr("model.pt", traced.save_to_buffer())
    size = out.stat().st_size
    return out, {
        "name": "torchscript",
        "version": "1.0.0",
        "description": "the checkpoint, traced",
        "function_name": "SPARSE_ENCODING",
        "model_format": "TORCH_SCRIPT",
        "model_content_size_in_bytes": size,
        "model_content_hash_value": hashlib.sha256(out.read_bytes()).hexdigest(),
        "total_chunks": math.ceil(size / CHUNK_BYTES),
    }


def deployed(client: Any, package: Package) -> str:
    model_id = register_model(client, *package)
    deploy_model(client, model_id)
    return model_id


def check(answer: Mapping[str, float], expected: Mapping[str, float]) -> None:
    """That it is the same model: the heaviest tokens, with about their weights."""
    heaviest = sorted(expected, key=lambda token: -expected[token])[:5]
    off = max(abs(answer.get(token, 0.0) - expected[token]) for token in heaviest)
    assert off < CLOSE, f"the model in the node is another one: {off:.3f} off in a weight"


def memory(launcher: Path, packages: Mapping[str, Package], texts: Sequence[str]) -> None:
    print("| in a node of its own, MB | before | deployed | after the questions | more |\n|---|---|---|---|---|")
    for name, package in packages.items():
        with running_node(launcher, ["--pytorch"]) as node:
            client = client_of(node.address)
            client.indices.create(index=INDEX)  # the node has done something before
            before = settled(node.jvm)
            model_id = deployed(client, package)
            loaded = settled(node.jvm)
            for text in texts:
                ask_model(client, model_id, [text])
            after = settled(node.jvm)
        print(f"| {name} | {before:.0f} | {loaded:.0f} | {after:.0f} | {after - before:.0f} |", flush=True)


def settled(process: int) -> float:
    """Megabytes of a process, once they stay."""
    last = resident(process)
    while True:
        time.sleep(2)
        now = resident(process)
        if abs(now - last) < 2:
            return now
        last = now


def milliseconds(launcher: Path, packages: Mapping[str, Package], texts: Sequence[str], bundle: Bundle) -> None:
    times: dict[tuple[str, str], list[float]] = {}
    with running_node(launcher, ["--pytorch"]) as node, SparseEncoder.from_bundle(bundle) as encoder:
        client = client_of(node.address)
        models = {name: deployed(client, package) for name, package in packages.items()}
        for model_id in models.values():
            check(ask_model(client, model_id, [texts[0]])[0], encoder.to_tokens(encoder.encode_document(texts[0])))
        fill(client, encoder, texts[:DOCUMENTS])
        asked = cycle(texts)
        for warm in (True, False):
            for _ in range(1 if warm else max(len(texts) // TURN, 1)):
                turn = list(islice(asked, TURN))
                for name, model_id in models.items():
                    for what, ask in (("_predict", predict), ("neural_sparse, query_text", search)):
                        spent = [seconds(ask, client, model_id, text) for text in turn]
                        if not warm:
                            times.setdefault((what, name), []).extend(spent)
    print("\n| in turns in one node, ms | median | 90th percentile | of |\n|---|---|---|---|")
    for (what, name), spent in sorted(times.items()):
        spent.sort()
        high = spent[int(0.9 * len(spent))]
        print(f"| {what}, {name} | {1000 * statistics.median(spent):.1f} | {1000 * high:.1f} | {len(spent)} |")


def fill(client: Any, encoder: SparseEncoder, texts: Sequence[str]) -> None:
    client.indices.create(index=INDEX, body=index_body(encoder.bundle))
    keys = keys_of(encoder.bundle)
    lines: list[dict[str, Any]] = []
    for vector in encoder.encode_document(texts):
        lines += [{"index": {}}, {"sparse": document_tokens(vector, keys)}]
    answer = client.bulk(body=lines, index=INDEX, params={"refresh": "true"})
    assert not answer["errors"]


def seconds(ask: Callable[[Any, str, str], object], client: Any, model_id: str, text: str) -> float:
    started = time.perf_counter()
    ask(client, model_id, text)
    return time.perf_counter() - started


def predict(client: Any, model_id: str, text: str) -> None:
    ask_model(client, model_id, [text])


def search(client: Any, model_id: str, text: str) -> None:
    clause = {"neural_sparse": {"sparse": {"query_text": text, "model_id": model_id}}}
    client.search(index=INDEX, body={"query": clause, "_source": False})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launcher", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="a text a line")
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--bundle", help="with cpu-int8; default: the one that comes with spladert")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="that the bundle is made of")
    given = parser.parse_args()

    os.environ["JDK_JAVA_OPTIONS"] = "-XX:+AlwaysPreTouch"  # which the launcher's JVM reads
    texts = given.texts.read_text(encoding="utf-8").splitlines()[: given.questions]
    bundle = open_bundle(given.bundle)
    with TemporaryDirectory() as folder:
        onnx = package_for_opensearch(bundle, Path(folder) / "onnx.zip", variant="cpu-int8")
        packages: dict[str, Package] = {
            "ONNX int8": (onnx.path, onnx.registration),
            "TorchScript": torchscript_package(given.checkpoint, onnx.path, Path(folder) / "torchscript.zip"),
        }
        memory(given.launcher.resolve(), packages, texts[:200])
        milliseconds(given.launcher.resolve(), packages, texts, bundle)


if __name__ == "__main__":
    main()
