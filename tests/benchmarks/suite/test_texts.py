from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.suite.texts import make_workload, texts_by_length
from benchmarks.suite.workload import LENGTHS, Shape, Workload
from spladert.bundle import open_bundle
from spladert.bundle.open import DEFAULT_BUNDLE
from spladert.tokenizer import load_tokenizer


def test_workload_has_exact_lengths_and_keeps_calibration_apart(workload: Workload, sentences: Path) -> None:
    tokenizer = load_tokenizer(open_bundle().tokenizer_json(), 64)
    for length in LENGTHS:
        texts = workload.by_length[length]
        assert [len(tokenizer.encode(text).ids) for text in texts] == [length] * 32  # cut at 64, as engines do
    others = {*workload.mix, *(text for texts in workload.by_length.values() for text in texts)}
    assert not set(workload.calibration) & others
    assert Workload.from_dict(json.loads(json.dumps(workload.to_dict()))) == workload
    assert make_workload(DEFAULT_BUNDLE, sentences, mix_texts=70, calibration_texts=10) == workload


def test_lines_are_joined_where_there_are_too_few_of_a_length() -> None:
    tokenizer = load_tokenizer(open_bundle().tokenizer_json(), 512)
    lines = [f"손해배상 청구 {number}" for number in range(400)]
    found = texts_by_length(tokenizer, lines, {200: 3, 5: 2})
    assert [len(tokenizer.encode(text).ids) for text in found[200]] == [200] * 3
    assert len(set(found[200])) == 3
    assert found[5] == lines[:2]


def test_workload_says_what_is_missing(tmp_path: Path, sentences: Path) -> None:
    tokenizer = load_tokenizer(open_bundle().tokenizer_json(), 64)
    with pytest.raises(SystemExit, match="only 0 texts have 8 tokens; 32 are needed"):
        texts_by_length(tokenizer, ["하나"], {8: 32})
    with pytest.raises(SystemExit, match="missing: set SPLADERT_SHARED"):
        make_workload(DEFAULT_BUNDLE, tmp_path / "none.txt", mix_texts=1)
    with pytest.raises(SystemExit, match="8 x 65 tokens are beyond the bundle's max_length, 64"):
        make_workload(DEFAULT_BUNDLE, sentences, [Shape(1, 8), Shape(8, 65)], mix_texts=1)
    with pytest.raises(SystemExit, match="has 5700 usable lines; the mix needs 9999"):
        make_workload(DEFAULT_BUNDLE, sentences, mix_texts=9999)
