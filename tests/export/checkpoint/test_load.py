"""Checkpoints that are valid though unusual, and those that are refused in one sentence before anything takes long."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import ExportError, SparseEncoder
from support.architectures import make_checkpoint
from support.card import Card, dense
from support.checkpoints import LINES
from support.paths import ROOT

torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export import export, supported  # noqa: E402
from spladert_export.checkpoint import load_checkpoint  # noqa: E402
from spladert_export.checkpoint.files import CheckpointFiles  # noqa: E402
from spladert_export.checkpoint.refuse import refuse_tokenizer  # noqa: E402
from spladert_export.checkpoint.sentence_transformers import Recipe  # noqa: E402
from spladert_export.checkpoint.supported import PROVEN, REFUSED  # noqa: E402


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint("bert", tmp_path_factory.mktemp("bert") / "bert")


@pytest.fixture
def checkpoint(bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "checkpoint"))


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")


def test_cuts_and_pads_at_the_left(checkpoint: Path, tmp_path: Path) -> None:
    """A text's vector is that of the text alone, whichever side batches are padded at."""
    change(checkpoint / "tokenizer_config.json", truncation_side="left", padding_side="left")
    texts, card = [*LINES, LINES[0] * 20], Card(checkpoint)
    with SparseEncoder.load(export(checkpoint, tmp_path / "bundle", max_length=12, top_k=10_000)) as encoder:
        for text, vector in zip(texts, encoder.encode(texts, batch_size=len(texts)), strict=True):
            expected = card.encode(text, 12)
            np.testing.assert_allclose(dense(vector, len(expected)), expected, atol=1e-5)
    card.tokenizer.truncation_side = "right"
    assert np.abs(card.encode(texts[-1], 12) - expected).max() > 0.01  # else the side of the cut would not matter


def test_no_special_tokens(checkpoint: Path, tmp_path: Path) -> None:
    change(checkpoint / "tokenizer.json", post_processor=None)
    card = Card(checkpoint)
    with SparseEncoder.load(export(checkpoint, tmp_path / "bundle", top_k=10_000)) as encoder:
        assert len(encoder.encode("")) == 0
        vectors = encoder.encode([LINES[0], "", LINES[1]])
        assert [len(vector) > 0 for vector in vectors] == [True, False, True]
        expected = card.encode(LINES[0], 64)
        np.testing.assert_allclose(dense(vectors[0], len(expected)), expected, atol=1e-5)


def test_a_tokenizer_without_a_padding_token(checkpoint: Path) -> None:
    change(checkpoint / "tokenizer_config.json", pad_token=None)
    found = load_checkpoint(str(checkpoint))
    assert found.tokenizer.pad_token_id is None
    assert found.pad_token_id == 0  # the config's


def test_roberta_without_a_padding_id(tmp_path: Path) -> None:
    """Its positions count from the padding id: without one, the model does not run in PyTorch either."""
    checkpoint = make_checkpoint("roberta", tmp_path / "roberta")
    change(checkpoint / "config.json", pad_token_id=None)
    with pytest.raises(ExportError, match=r"config\.json has pad_token_id null, and the model needs it"):
        load_checkpoint(str(checkpoint))


def rename_weights(checkpoint: Path, prefix: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint / "model.safetensors")
    renamed = {prefix + name: tensor for name, tensor in weights.items()}
    save_file(renamed, checkpoint / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_the_prefix_of_a_wrapper_is_taken_off(prefix: str, bert: Path, checkpoint: Path) -> None:
    rename_weights(checkpoint, prefix)
    assert load_checkpoint(str(checkpoint)).describe().weights_sha256 == (
        load_checkpoint(str(bert)).describe().weights_sha256
    )


def test_a_part_that_was_compiled(bert: Path, checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint / "model.safetensors")
    renamed = {name.replace("bert.", "bert._orig_mod.", 1): tensor for name, tensor in weights.items()}
    save_file(renamed, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert load_checkpoint(str(checkpoint)).describe().weights_sha256 == (
        load_checkpoint(str(bert)).describe().weights_sha256
    )


def test_the_prefix_of_an_unknown_wrapper_is_named(checkpoint: Path) -> None:
    rename_weights(checkpoint, "lightning.net.")
    with pytest.raises(ExportError, match=r"lacks \d+ trained weights .* there with 'lightning\.net\.' before their"):
        load_checkpoint(str(checkpoint))


def test_no_tokenizer_files(checkpoint: Path) -> None:
    """transformers makes a tokenizer of five tokens out of nothing, to which every text is [UNK]."""
    (checkpoint / "tokenizer.json").unlink()
    (checkpoint / "tokenizer_config.json").unlink()
    with pytest.raises(ExportError, match=r"has no tokenizer \(none of tokenizer\.json, vocab\.txt\)"):
        load_checkpoint(str(checkpoint))


def test_a_tokenizer_that_gives_the_model_more_than_ids(checkpoint: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    class Shapes(PreTrainedTokenizerFast):
        def __call__(self, *texts: Any, **options: Any) -> Any:
            return super().__call__(*texts, **options) | {"input_shape_ids": [[0]]}

    tokenizer = Shapes.from_pretrained(checkpoint)
    with pytest.raises(ExportError, match="its tokenizer gives the model input_shape_ids too, which is not supported"):
        refuse_tokenizer(CheckpointFiles.at(str(checkpoint), None), Recipe(), tokenizer)


def test_token_types_matter_to_sentence_transformers_alone(checkpoint: Path) -> None:
    """The model card leaves them out; sentence-transformers gives them to the model."""
    post_processor = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["post_processor"]
    post_processor["single"][1]["Sequence"]["type_id"] = 1
    change(checkpoint / "tokenizer.json", post_processor=post_processor)
    tokenizer = load_checkpoint(str(checkpoint)).tokenizer
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    files = CheckpointFiles.at(str(checkpoint), None)
    refuse_tokenizer(files, Recipe(), tokenizer)
    with pytest.raises(ExportError, match="its tokenizer gives tokens types other than 0"):
        refuse_tokenizer(files, Recipe(of_sentence_transformers=True), tokenizer)


def test_a_decoder_that_is_no_matrix_of_the_vocabulary(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("deberta-v2", tmp_path / "deberta", legacy=False)
    with pytest.raises(ExportError, match="DebertaV2ForMaskedLM with this config makes its logits otherwise"):
        load_checkpoint(str(checkpoint))


def test_a_model_that_needs_more_than_ids(tmp_path: Path) -> None:
    checkpoint = make_checkpoint("xmod", tmp_path / "xmod")
    change(checkpoint / "config.json", default_language=None)
    with pytest.raises(ExportError, match="does not run on token ids alone: Input language unknown"):
        load_checkpoint(str(checkpoint))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("gpt2", r"is a gpt2 model, which cannot be exported: transformers has no masked-LM head for it"),
        ("of_tomorrow", r"is a of_tomorrow model, .*: transformers [\d.]+ does not know it; a newer one may"),
        (None, r"config\.json names no model_type"),
    ],
)
def test_a_type_without_a_masked_lm(kind: str | None, reason: str, checkpoint: Path) -> None:
    change(checkpoint / "config.json", model_type=kind)
    with pytest.raises(ExportError, match=reason):
        load_checkpoint(str(checkpoint))


@pytest.mark.parametrize("kind", ["convbert", "fnet", "nystromformer"])
def test_padding_that_changes_a_text_is_noticed_whatever_the_type(kind: str, tmp_path: Path) -> None:
    """The list of refused types is not all that stands between such a model and a bundle."""
    from spladert_export.checkpoint.refuse import refuse_behaviour
    from support.architectures import make_model

    with pytest.raises(ExportError, match="gives a text another vector beside longer ones"):
        refuse_behaviour("it", make_model(kind, 200))


def test_a_type_that_cannot_be_traced_ends_in_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    """A type that no list knows, and that PyTorch's exporter fails on with a dump of its graph."""
    from spladert_export.graph.trace import trace
    from support.architectures import make_model

    model = make_model("longformer", 200)
    capfd.readouterr()
    with pytest.raises(
        ExportError, match="LongformerForMaskedLM cannot be exported: PyTorch's exporter does not"
    ) as info:
        trace(model, max_length=16, top_k=5)
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 500
    assert "def forward" not in "".join(capfd.readouterr())


def test_supported_names_every_type_once() -> None:
    known = supported()
    assert not PROVEN & set(REFUSED)
    assert {kind for kind, support in known.items() if support.status == "proven"} <= PROVEN
    assert all(support.reason for support in known.values() if support.status == "refused")


def test_the_readme_lists_what_is_supported() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for beginning, kinds in (("**Model types**", PROVEN), ("**Refused types**", set(REFUSED))):
        section = text.split(beginning, 1)[1].split(". Others" if "Refused" in beginning else ".\n", 1)[0]
        listed = re.findall(r"`([\w-]+)`", section)
        assert sorted(listed) == listed
        assert set(listed) == set(kinds)


def fake_hub(checkpoint: Path, cache: Path, missing: list[str]) -> None:
    """Put a checkpoint into the hub's cache as owner/name, with the marks of files that the hub does not have."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / "models--owner--name"
    shutil.copytree(checkpoint, repository / "snapshots" / commit)
    for name in missing:
        mark = repository / ".no_exist" / commit / name
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)


@pytest.mark.parametrize("known", [True, False])
def test_a_hub_id_offline(known: bool, bert: Path, tmp_path: Path) -> None:
    """Where the cache cannot tell whether there is a modules.json, vectors might be others: refused."""
    fake_hub(bert, tmp_path / "cache", ["modules.json", "idf.json", "adapter_config.json"] if known else [])
    code = "import sys, spladert_export.checkpoint as c; print(c.load_checkpoint(sys.argv[1]).revision)"
    done = subprocess.run(
        [sys.executable, "-c", code, "owner/name"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if known:
        assert done.stdout.strip() == "0123456789abcdef0123456789abcdef01234567", done.stderr
    else:
        assert "owner/name cannot be loaded: its modules.json is not in the cache, and the hub cannot be" in done.stderr
