"""Every model type of `AutoModelForMaskedLM` is exported with the card's weights, or refused in one sentence.

A type takes seconds. Without SPLADERT_ARCHITECTURES=all, a dozen that most checkpoints of this kind have are tried.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from spladert import ExportError, SparseEncoder
from support.architectures import make_checkpoint
from support.card import Card, dense
from support.checkpoints import LINES

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export import export, supported
from spladert_export.checkpoint import load_checkpoint

KINDS = supported()
KNOWN_TRANSFORMERS = (5, 24)  # the latest release whose types are all in the lists
MAX_LENGTH = 100  # tokens; beyond the windows and buckets of the tiny models
TEXTS = [LINES[0], "", LINES[5] * 20]
USUAL = (
    *("albert", "bert", "deberta-v2", "distilbert", "electra", "eurobert", "gte", "modernbert", "mpnet"),
    *("nomic_bert", "roformer", "xlm-roberta"),
)


def test_no_type_is_left_out() -> None:
    import transformers

    if tuple(map(int, transformers.__version__.split(".")[:2])) > KNOWN_TRANSFORMERS:
        pytest.skip(f"transformers {transformers.__version__} is newer than the lists of types: try those that are new")
    assert [kind for kind, known in KINDS.items() if known.status == "untried"] == []


@pytest.mark.parametrize("kind", [kind for kind, known in KINDS.items() if known.status != "refused"])
def test_parity(kind: str, tmp_path: Path) -> None:
    if kind not in USUAL and os.environ.get("SPLADERT_ARCHITECTURES") != "all":
        pytest.skip("is not among the usual ones, which are tried: set SPLADERT_ARCHITECTURES=all")
    checkpoint = make_checkpoint(kind, tmp_path / "checkpoint")
    try:
        bundle = export(checkpoint, tmp_path / "bundle", max_length=MAX_LENGTH, top_k=10_000)
    except ExportError as error:  # of a type that came with a later transformers
        if KINDS[kind].status == "proven" or "\n" in str(error):
            raise
        return
    card = Card(checkpoint)
    with SparseEncoder.load(bundle) as encoder:
        for text, vector in zip(TEXTS, encoder.encode(TEXTS), strict=True):
            expected = card.encode(text, MAX_LENGTH)
            np.testing.assert_allclose(dense(vector, len(expected)), expected, atol=1e-4 * max(expected.max(), 1))


@pytest.mark.parametrize("kind", [kind for kind, known in KINDS.items() if known.status == "refused"])
def test_refused_before_weights_are_read(kind: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(kind, tmp_path / "checkpoint")
    for weights in checkpoint.glob("*.safetensors"):
        weights.unlink()
    reason = re.escape(KINDS[kind].reason)
    with pytest.raises(ExportError, match=rf"checkpoint is a {kind} model, which cannot be exported: {reason}$"):
        load_checkpoint(str(checkpoint))
