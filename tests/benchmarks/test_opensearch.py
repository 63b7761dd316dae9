"""What the benchmarks of OpenSearch compare is the same model each time."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
pytest.importorskip("opensearchpy", reason="needs the opensearch extra: pip install 'spladert[opensearch]'")

import torch

from benchmarks.opensearch_client import by_transformers, storable
from benchmarks.opensearch_ml import CHECKPOINT, CLOSE, torchscript_package
from spladert import SparseEncoder
from spladert.opensearch.ml_package import distance
from spladert_export.package.opensearch_ml import package_for_opensearch

TEXTS = ["당뇨병 치료 방법", "계약서", "오늘 서울의 날씨는 맑고 기온은 영상 이십 도까지 오른다. " * 5]


def test_torchscript_and_transformers_give_the_bundles_vectors(tmp_path: Path) -> None:
    with SparseEncoder.load(threads=1, spin=False) as encoder:
        onnx = package_for_opensearch(encoder.bundle, tmp_path / "onnx.zip")
        path, registration = torchscript_package(CHECKPOINT, onnx.path, tmp_path / "torchscript.zip")
        assert registration["model_content_size_in_bytes"] == path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            limits = json.loads(archive.read("tokenizer.json"))["truncation"]
            traced = torch.jit.load(io.BytesIO(archive.read("model.pt")))
        assert limits["max_length"] == encoder.manifest.max_length
        encode = by_transformers(CHECKPOINT, encoder.manifest.max_length)
        ids = encoder.tokenize_batch(TEXTS).input_ids
        width = max(map(len, ids))
        feed = {
            "input_ids": torch.tensor([[*row, *[0] * (width - len(row))] for row in ids]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
        }
        for text, row in zip(TEXTS, traced(feed)["output"], strict=True):
            own = encoder.to_tokens(encoder.encode(text))
            chosen = row.nonzero()[:, 0].tolist()
            script = {str(encoder.tokens[i]): float(row[i]) for i in chosen}
            assert distance(script, own) < CLOSE
            assert distance(encode(text), own) < CLOSE
            assert distance(encode(text), script) < 1e-4
    assert storable({"v1.2": 1.0, "병": 1e-40, "당": 2.0}) == {"당": 2.0}
