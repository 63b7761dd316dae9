"""What `export` refuses, and that a failed export leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spladert import ExportError, SparseEncoder
from spladert.bundle import open_bundle
from support.checkpoints import LINES, make_checkpoint, make_tokenizer

torch = pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export import Limits, export  # noqa: E402
from spladert_export.checkpoint import load_checkpoint  # noqa: E402


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def test_a_checkpoint_without_an_mlm_head(tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    source = make_checkpoint("bert", tmp_path / "full")
    AutoModelForMaskedLM.from_pretrained(source).bert.save_pretrained(tmp_path / "headless")
    make_tokenizer().save_pretrained(tmp_path / "headless")
    with pytest.raises(
        ExportError, match=r"lacks \d+ trained weights .*cls\.predictions.*saved from AutoModelForMaskedLM"
    ):
        export(tmp_path / "headless", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_kind(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path / "gpt")
    with pytest.raises(ExportError, match="is a gpt2 model, which cannot be exported"):
        export(tmp_path / "gpt", tmp_path / "out")


def test_a_checkpoint_without_a_fast_tokenizer(tmp_path: Path) -> None:
    from transformers import EsmConfig, EsmForMaskedLM

    config = EsmConfig(vocab_size=33, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    EsmForMaskedLM(config).save_pretrained(tmp_path / "esm")
    letters = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]
    (tmp_path / "esm" / "vocab.txt").write_text("\n".join(letters))
    (tmp_path / "esm" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "EsmTokenizer"}))
    with pytest.raises(ExportError, match="has no fast tokenizer"):
        export(tmp_path / "esm", tmp_path / "out")


def test_a_checkpoint_without_a_tokenizer(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    (checkpoint / "tokenizer_config.json").unlink()
    with pytest.raises(ExportError, match="has no tokenizer that loads"):
        export(checkpoint, tmp_path / "out")


def test_a_tokenizer_of_another_model(checkpoint: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([f"new{i}" for i in range(50)])
    tokenizer.save_pretrained(checkpoint)
    with pytest.raises(ExportError, match=r"the tokenizer has \d+ tokens .* do not belong together"):
        export(checkpoint, tmp_path / "out")


def test_remote_code_is_not_run(checkpoint: Path, tmp_path: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {
        "model_type": "home-made",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModelForMaskedLM": "evil.Model"},
    }
    (checkpoint / "config.json").write_text(json.dumps(config))
    (checkpoint / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ExportError, match="is a home-made model, which cannot be exported"):
        export(checkpoint, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "does not exist; give a checkpoint's folder or a hub id"),
        ("a b/c", "'a b/c' does not exist and is no hub id"),
        ("folder", r"has no config\.json, so it is no checkpoint"),
        ("file", "is a file; give the checkpoint's folder"),
    ],
)
def test_nothing_at_the_source(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=message):
        export(tmp_path / name if name in ("folder", "file") else name, tmp_path / "out")


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}, "[Errno 111] Connection refused"),
    ],
    ids=["offline", "refused"],
)
def test_nothing_on_the_hub(environment: dict[str, str], why: str, tmp_path: Path) -> None:
    """In a process of its own: the hub's client reads its environment when it is imported."""
    code = f"""
from spladert_export import export
export("owner/nowhere", {str(tmp_path / "out")!r})
"""
    environment = os.environ | {"HF_HOME": str(tmp_path / "cache")} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert "ExportError: owner/nowhere cannot be loaded: " in done.stderr
    assert f"the hub cannot be asked ({why})" in done.stderr
    assert "Retrying" not in done.stderr  # at once, not after the client's further tries
    assert not (tmp_path / "out").exists()


def test_a_revision_of_a_folder(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"revision 'main' is for hub ids, and .*checkpoint is a folder"):
        export(checkpoint, tmp_path / "out", revision="main")


def test_truncated_weights(checkpoint: Path, tmp_path: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ExportError, match="cannot be loaded"):
        export(checkpoint, tmp_path / "out")


def test_a_pickle_that_would_run_code(checkpoint: Path, tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Evil()}))
    with pytest.raises(ExportError, match=r"holds more than tensors.*save the checkpoint as safetensors"):
        export(checkpoint, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_config(checkpoint: Path, tmp_path: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"intermediate_size": 24}))
    with pytest.raises(ExportError, match=r"\.mlp\..* has shape \(\d+, \d+\) where config\.json wants \(\d+, \d+\)"):
        export(checkpoint, tmp_path / "out")


def change(checkpoint: Path, edit: Any) -> None:
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(checkpoint)
    with torch.no_grad():
        edit(model)
    model.save_pretrained(checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers(checkpoint: Path, tmp_path: Path, value: float) -> None:
    change(checkpoint, lambda model: model.model.layers[1].mlp.Wi.weight[0, 0].fill_(value))
    with pytest.raises(ExportError, match=r"has NaN or infinite weights in model\.layers\.1\.mlp\.Wi\.weight"):
        export(checkpoint, tmp_path / "out")


def test_a_model_whose_vectors_are_all_empty(checkpoint: Path, tmp_path: Path) -> None:
    """Against it, the comparison with PyTorch would prove nothing."""
    change(checkpoint, lambda model: model.decoder.bias.sub_(1e6))
    with pytest.raises(ExportError, match="gives every text an empty vector"):
        export(checkpoint, tmp_path / "out")


@pytest.mark.parametrize("form", ["float16", "bfloat16", "shards", "pytorch_model.bin"])
def test_other_forms_of_weights(checkpoint: Path, tmp_path: Path, form: str) -> None:
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    if form == "pytorch_model.bin":
        torch.save(model.state_dict(), checkpoint / form)
    elif form == "shards":
        model.save_pretrained(checkpoint, max_shard_size="60KB")
        assert len(list(checkpoint.glob("model-*.safetensors"))) > 1
    else:
        model.to(getattr(torch, form)).save_pretrained(checkpoint)
    SparseEncoder.load(export(checkpoint, tmp_path / "out"))  # the export compares itself with PyTorch


def test_a_length_without_room_for_a_token(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="max_length 2 leaves no room beside the 2 special tokens"):
        export(checkpoint, tmp_path / "out", max_length=2)
    export(checkpoint, tmp_path / "out", max_length=3)


def test_more_tokens_than_positions(tmp_path: Path) -> None:
    source = make_checkpoint("xlm-roberta", tmp_path / "xlm")
    with pytest.raises(ExportError, match="has 140 positions; max_length 141 does not fit"):
        export(source, tmp_path / "out", max_length=141)


@pytest.mark.parametrize("arguments", [{"max_length": 0}, {"top_k": 0}, {"max_length": 6.5}, {"top_k": "9"}])
def test_arguments_out_of_range(checkpoint: Path, tmp_path: Path, arguments: Any) -> None:
    with pytest.raises(ExportError, match="give an integer of at least 1"):
        export(checkpoint, tmp_path / "out", **arguments)


def test_a_graph_that_differs_from_pytorch_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    """Any graph differs by rounding, so by more than nothing."""
    with pytest.raises(ExportError, match=r"differs from PyTorch by \d.*e-0\d in a weight .*nothing was written"):
        export(checkpoint, tmp_path / "out", limits=Limits(weight_error=0))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_an_existing_folder_is_kept_unless_it_may_be_replaced(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(
        ExportError, match="exists; choose another folder, or replace the bundle there with --overwrite"
    ):
        export(checkpoint, out)
    with pytest.raises(ExportError, match="is not a bundle, so it is not overwritten"):
        export(checkpoint, out, overwrite=True)
    assert (out / "precious.txt").read_text() == "mine"
    (out / "precious.txt").unlink()
    export(checkpoint, out, top_k=64)  # an empty folder may be filled
    assert open_bundle(out).manifest.top_k == 64
    export(checkpoint, out, overwrite=True)
    assert open_bundle(out).manifest.top_k == 256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "out"]


def test_a_link_at_the_output_stays_and_its_folder_is_filled(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    export(checkpoint, tmp_path / "link", top_k=64)
    export(checkpoint, tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert SparseEncoder.load(tmp_path / "folder").manifest.top_k == 256


def test_a_file_where_the_outputs_folder_would_be(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"file cannot be made a folder \(File exists\); choose another place"):
        export(checkpoint, tmp_path / "file" / "out")


def test_an_interrupt_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    def interrupt(stage: str) -> None:
        if stage == "check cpu-fp32 against PyTorch":
            assert any(tmp_path.glob(".out.*/out/cpu-fp32.onnx"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, tmp_path / "out", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_two_exports_to_one_place_do_not_mix(checkpoint: Path, tmp_path: Path) -> None:
    refused = []

    def another(stage: str) -> None:
        if stage == "trace":
            refused.append(stage)
            with pytest.raises(ExportError, match=r"another export to .*out is running; wait for it"):
                export(checkpoint, tmp_path / "out")

    export(checkpoint, tmp_path / "out", progress=another)
    assert refused == ["trace"]
    SparseEncoder.load(tmp_path / "out").encode(LINES)


def test_a_killed_export_leaves_no_bundle(checkpoint: Path, tmp_path: Path) -> None:
    code = f"""
import os, signal
from spladert_export import pipeline
def stage(name):
    if name == "check cpu-fp32 against PyTorch":
        os.kill(os.getpid(), signal.SIGKILL)
pipeline.export({str(checkpoint)!r}, {str(tmp_path / "out")!r}, progress=stage)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=300, check=False)
    assert done.returncode == -9
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".out.exporting/out/cpu-fp32.onnx").exists()
    export(checkpoint, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "out"]
    SparseEncoder.load(tmp_path / "out").encode(LINES)


def test_the_bundles_tokenizer_is_the_one_the_reference_uses(shared: Path, tmp_path: Path) -> None:
    """The real tokenizer: transformers rebuilds it from its class, and the bundle must hold what it became."""
    from transformers import AutoTokenizer

    from spladert.tokenizer import load_tokenizer, tokenize
    from spladert_export.checkpoint import Checkpoint

    reference = AutoTokenizer.from_pretrained(shared / "models/korean-neural-sparse-encoder")
    ours = load_tokenizer(Checkpoint(None, reference, "real", None).tokenizer_json(), 64)
    texts = (shared / "data/sentences.txt").read_text(encoding="utf-8").splitlines()[:5000]
    texts += ["", "<s> 안녕 <pad>", "e\u0301", "🙂", "ꙮ", "가" * 10_000]
    expected = reference(texts, truncation=True, max_length=64)["input_ids"]
    assert tokenize(ours, texts).input_ids == expected


def test_bundle_says_what_made_it(tiny_bundle: Path, tiny_checkpoint: Path) -> None:
    manifest = SparseEncoder.load(tiny_bundle).manifest
    checkpoint = load_checkpoint(str(tiny_checkpoint), None, 64)
    assert manifest.source == checkpoint.describe()
    assert manifest.source.architecture == "ModernBertForMaskedLM"
    assert manifest.source.parameters == sum(p.numel() for p in checkpoint.model.parameters())
    assert manifest.special_token_ids == (0, 1, 2, 3, 4)
    assert manifest.variants[0].settings["rewrites"]["split_projections"] == 6


class TestRefusedVariants:
    """int4 of so small a model keeps less than 99% of the ten heaviest entries, fp16 more."""

    NAMES = ("cpu-fp32", "cpu-int4", "cuda-fp16")
    LIMITS = Limits(top10_overlap=0.99, attempts=(0,))

    def test_they_are_left_out_and_the_others_stay(
        self, tiny_checkpoint: Path, tmp_path: Path, calibration: Path
    ) -> None:
        out = tmp_path / "out"
        report = export(tiny_checkpoint, out, variants=self.NAMES, calibration=calibration, limits=self.LIMITS)
        assert [variant.name for variant in report.variants] == ["cpu-fp32", "cuda-fp16"]
        assert list(report.refused) == ["cpu-int4"]
        assert "the cpu-int4 variant keeps" in report.refused["cpu-int4"]
        assert open_bundle(report).manifest.variants == report.variants
        assert not list(out.glob("*int4*"))

    def test_strict_writes_nothing(self, tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
        arguments: Any = {"variants": self.NAMES, "calibration": calibration, "limits": self.LIMITS, "strict": True}
        with pytest.raises(ExportError, match=r"the cpu-int4 variant keeps 9\d\.\d\d% .*--allow-loss"):
            export(tiny_checkpoint, tmp_path / "out", **arguments)
        assert list(tmp_path.iterdir()) == []

    def test_none_left_is_an_error(self, tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
        arguments: Any = {"variants": ["cpu-int4"], "calibration": calibration, "limits": self.LIMITS}
        with pytest.raises(ExportError, match="the cpu-int4 variant keeps"):
            export(tiny_checkpoint, tmp_path / "out", **arguments)
        assert list(tmp_path.iterdir()) == []

    def test_a_loss_is_kept_where_it_is_allowed(self, tiny_checkpoint: Path, tmp_path: Path, calibration: Path) -> None:
        arguments: Any = {"variants": ["cpu-int4"], "calibration": calibration, "limits": self.LIMITS}
        report = export(tiny_checkpoint, tmp_path / "out", allow_loss=True, **arguments)
        assert report.refused == {}
        assert report.variants[0].fidelity["top10_overlap"] < 0.99


def test_the_report_is_what_was_made(tiny_checkpoint: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    report = export(tiny_checkpoint, tmp_path / "out", progress=stages.append)
    assert Path(report) == report.path == tmp_path / "out"
    assert [stage for stage, _ in report.seconds] == stages
    assert sum(seconds for _, seconds in report.seconds) > 0


def test_variants_by_their_former_name(tiny_checkpoint: Path, tmp_path: Path) -> None:
    report = export(tiny_checkpoint, tmp_path / "out", precisions=["fp32"])
    assert [variant.name for variant in report.variants] == ["cpu-fp32"]
    with pytest.raises(ExportError, match="variants and precisions are two names of one thing"):
        export(tiny_checkpoint, tmp_path / "other", precisions=["fp32"], variants=["cpu-fp32"])


def test_texts_are_cleaned_where_that_is_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    """Of a foreign tokenizer; without it, vectors are the checkpoint's own, which loses the word."""
    clean, dirty = "당뇨병 치료", "당뇨병\u200b😀 치료①"
    plain = SparseEncoder.load(export(checkpoint, tmp_path / "plain"))
    cleaning = SparseEncoder.load(export(checkpoint, tmp_path / "cleaning", normalize=True))
    assert cleaning.encode(clean) == plain.encode(clean)
    assert plain.encode(dirty) != plain.encode(clean)
    assert cleaning.encode(dirty) == cleaning.encode("당뇨병 치료 1")
    unknown = cleaning.manifest.special_token_ids[1]
    assert cleaning.tokenize_batch([dirty]).input_ids[0].count(unknown) == 0
