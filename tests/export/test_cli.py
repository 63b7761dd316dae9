"""`spladert export` and `spladert verify`: exit statuses, JSON and tables."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spladert.bundle import open_bundle
from spladert.cli import main
from support.checkpoints import LINES
from support.terminal import run_in_terminal

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def spiky_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that nothing of 4 bits can follow: in each layer, some weights are far larger than the others."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("spiky") / "checkpoint"
    model = AutoModelForMaskedLM.from_pretrained(tiny_checkpoint)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".layers." in name and parameter.dim() == 2:
                parameter[:, ::16] *= 30
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_checkpoint).save_pretrained(folder)
    return folder


def test_a_terminal_that_is_not_utf8_gets_marks_of_ascii(tiny_checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from spladert.cli import main; main()", "export", str(tiny_checkpoint), "out"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp949"}
    code, text = run_in_terminal(command, tmp_path, environment, encoding="cp949")
    assert code == 0, text
    assert "* write manifest" in text
    assert "u2713" not in text


def test_a_summary_of_what_was_made(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = call("export", tiny_checkpoint, out, "--top-k", 64)
    assert done.exit_code == 0, done.output
    for expected in (
        str(out)[:40],
        "ModernBertForMaskedLM",
        "cpu-fp32",
        "nodes; against PyTorch: largest weight error",
    ):
        assert expected in done.stdout.replace("\n", "")
    assert "check cpu-fp32 against PyTorch" in done.stderr
    assert open_bundle(out).manifest.top_k == 64


def test_a_refused_variant_is_left_out_with_an_exit_status_of_its_own(
    spiky_checkpoint: Path, tmp_path: Path, calibration: Path
) -> None:
    arguments = ["export", spiky_checkpoint, tmp_path / "out", "--calibration", calibration]
    arguments += ["--variant", "cpu-fp32", "--precision", "int4"]
    done = call(*arguments)
    assert done.exit_code == 3, done.output
    summary = " ".join(done.stdout.split())
    assert "cpu-int4 left out: the cpu-int4 variant keeps" in summary
    assert [variant.name for variant in open_bundle(tmp_path / "out").manifest.variants] == ["cpu-fp32"]

    strict = call(*arguments, "--strict", "--overwrite")
    assert strict.exit_code == 1
    assert "error: the cpu-int4 variant keeps" in strict.stderr

    done = call(*arguments, "--overwrite", "--json", "-")
    assert done.exit_code == 3
    facts = json.loads(done.stdout)
    assert list(facts["refused"]) == ["cpu-int4"]
    assert [variant["name"] for variant in facts["variants"]] == ["cpu-fp32"]
    assert {"trace", "check cpu-int4 against PyTorch"} <= {stage for stage, _ in facts["seconds"]}


def test_an_unknown_variant_is_wrong_usage(tiny_checkpoint: Path, tmp_path: Path) -> None:
    done = call("export", tiny_checkpoint, tmp_path / "out", "--variant", "cpu-int3")
    assert done.exit_code == 2
    assert "cpu-int8" in done.stderr


def test_verify_as_a_table_and_as_json(tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(LINES), encoding="utf-8")
    arguments = ["verify", tiny_bundle, "--against", tiny_checkpoint, "--texts", texts, "--variant", "cpu-fp32"]
    table = call(*arguments, "--json", tmp_path / "report.json")
    assert table.exit_code == 0, table.output
    assert "top-10 overlap" in table.stdout
    done = call(*arguments, "--json", "-")
    facts = json.loads(done.stdout)
    assert facts == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert facts["variant"] == "cpu-fp32"
    assert facts["texts"] == len(LINES)
    assert 0 < facts["max_weight_error"] < 1e-4


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "there are no texts to verify on"), (b"\xff\xfe\xff", "is not UTF-8")]
)
def test_texts_that_nothing_can_be_verified_on(
    tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_bytes(content)
    done = call("verify", tiny_bundle, "--against", tiny_checkpoint, "--texts", texts)
    assert done.exit_code == 1
    assert message in done.stderr
