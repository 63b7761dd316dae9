from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from benchmarks.suite.texts import make_workload
from benchmarks.suite.workload import Workload
from spladert.bundle.open import DEFAULT_BUNDLE
from support.paths import ROOT


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of 1 to 70 Korean terms in random order: enough of every length."""
    terms = (ROOT / "benchmarks" / "terms_ko.jsonl").read_text(encoding="utf-8").splitlines()
    words = [json.loads(line)["term"] for line in terms]
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("texts") / "sentences.txt"
    lines = [" ".join(rng.choices(words, k=rng.randint(1, 70))) for _ in range(6000)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def workload(sentences: Path) -> Workload:
    return make_workload(DEFAULT_BUNDLE, sentences, mix_texts=70, calibration_texts=10)
