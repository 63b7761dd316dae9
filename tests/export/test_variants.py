"""The table of variants: names, what is refused early, and that one maker makes them all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from spladert import ExportError, SparseEncoder
from spladert.engine.placement import VARIANTS as RUNNABLE

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export import export
from spladert_export.errors import VariantRefusedError
from spladert_export.material import Draft, Material, Plan
from spladert_export.quality.gate import Verdict
from spladert_export.variants import VARIANTS, VariantSpec, find_specs, make_variant, refused_specs


def names(specs: Any) -> list[str]:
    return [spec.name for spec in specs]


def test_a_variant_is_called_what_it_is_for_and_the_runtime_runs_all() -> None:
    assert names(VARIANTS) == [f"{spec.target}-{spec.precision}" for spec in VARIANTS]
    assert {(spec.target, spec.precision) for spec in VARIANTS} == {
        kind for kinds in RUNNABLE.values() for kind in kinds
    }


def test_precisions_mean_their_usual_target() -> None:
    assert names(find_specs(["int8", "cpu-fp32", "cpu-int8"])) == ["cpu-int8", "cpu-fp32"]
    assert names(find_specs(["fp16", "bf16", "int4", "fp32"])) == ["cuda-fp16", "cuda-bf16", "cpu-int4", "cpu-fp32"]


@pytest.mark.parametrize("unknown", [(), ("int3",), ("cpu-fp32", "cpu-fp8"), "cpu-fp32"])
def test_unknown_variants(tiny_checkpoint: Path, tmp_path: Path, unknown: Any) -> None:
    with pytest.raises(ExportError, match=r"(is not known; use|give a list of at least one of) cpu-fp32, cpu-int8"):
        export(tiny_checkpoint, tmp_path / "out", variants=unknown)


def test_what_a_target_cannot_do_is_refused_before_anything_is_made(tiny_checkpoint: Path, tmp_path: Path) -> None:
    message = "top_k is 3841, and tensorrt-fp16 takes at most 3840; give less"
    refused = refused_specs(find_specs(["cuda-fp16", "tensorrt-fp16"]), "max", 3841)
    assert list(refused) == ["tensorrt-fp16"]
    assert message in refused["tensorrt-fp16"]
    assert refused_specs(find_specs(["fp32", "int8", "fp16"]), "max", 3841) == {}
    assert refused_specs(find_specs(["tensorrt-fp16", "tensorrt-int8"]), "max", 3840) == {}
    stages: list[str] = []
    wide = with_vocabulary(tiny_checkpoint, tmp_path / "wide", 4000)
    with pytest.raises(ExportError, match=message):
        export(wide, tmp_path / "out", variants=["tensorrt-fp16"], top_k=3841, progress=stages.append)
    assert stages == ["load checkpoint"]


def with_vocabulary(folder: Path, out: Path, size: int) -> Path:
    """The checkpoint with `size` tokens more."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"token{number}" for number in range(size)])
    model = AutoModelForMaskedLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


class TestMaker:
    """One made variant of the fp32 graph, whose judge says what a test wants."""

    @pytest.fixture
    def work(self, material: Material, tmp_path: Path) -> Material:
        """The material in a folder of the test's own."""
        folder = shutil.copytree(material.folder, tmp_path / "bundle")
        return Material(folder, material.manifest, material.fp32.clone(), {}, material.token_ids)

    def make(self, work: Material, drifts: dict[int, float], loss: str | None = None, **options: Any) -> Any:
        """The variant, and how many layers were left precise in each attempt, which drifts as `drifts` says."""
        tried: list[int] = []

        def plan(material: Material) -> Plan:
            def build(keep: Any) -> Draft:
                tried.append(len(keep))
                return Draft(material.fp32.clone(), {"kept": list(keep)})

            return Plan(build, tuple(f"layer {number}" for number in range(9)))

        def judge(encoder: SparseEncoder) -> Verdict:
            assert encoder.encode("혈당")
            return Verdict({"dot_product_drift": drifts[tried[-1]]}, loss)

        spec = VariantSpec("cpu-new", "cpu", "new", plan, largest_drift=0.1)
        arguments: Any = {"attempts": (0, 1, 3), "allow_loss": False, "progress": lambda stage: None, **options}
        try:
            return make_variant(spec, work, judge, **arguments), tried
        except VariantRefusedError as reason:
            return reason, tried

    def test_a_new_variant_is_a_row_and_a_function(self, work: Material) -> None:
        variant, tried = self.make(work, {0: 0.05})
        assert tried == [0]
        assert (variant.name, variant.target, variant.precision) == ("cpu-new", "cpu", "new")
        assert variant.settings["kept"] == []
        assert variant.fidelity == {"dot_product_drift": 0.05}
        for file in variant.files:
            assert (work.folder / file.name).stat().st_size == file.bytes

    @pytest.mark.parametrize(
        ("reached_from", "kept", "tried"),
        [
            (0, 0, [0]),
            (1, 1, [0, 1]),
            (2, 2, [0, 1, 8, 2]),
            (3, 4, [0, 1, 8, 2, 4]),
            (5, 8, [0, 1, 8, 2, 4, 8]),  # written last, so that its files are the variant's
            (9, 8, [0, 1, 8]),  # where the most do not reach the goal, fewer do not either
        ],
    )
    def test_as_few_layers_are_left_precise_as_reach_the_goal(
        self, work: Material, reached_from: int, kept: int, tried: list[int]
    ) -> None:
        drifts = {count: 0.05 if count >= reached_from else 0.5 for count in range(9)}
        stages: list[str] = []
        variant, found = self.make(work, drifts, attempts=(0, 1, 2, 4, 8), progress=stages.append)
        assert found == tried
        assert variant.settings["kept"] == [f"layer {number}" for number in range(kept)]
        assert variant.fidelity == {"dot_product_drift": drifts[kept]}
        assert [stage for stage in stages if stage.startswith("make")][-1] == (
            f"make cpu-new, {kept} layers kept wider" if kept else "make cpu-new"
        )

    @pytest.mark.parametrize("attempts", [(0,), (0, 3), (0, 1, 3)])
    def test_the_last_attempt_is_taken_where_none_does(self, work: Material, attempts: tuple[int, ...]) -> None:
        variant, tried = self.make(work, dict.fromkeys(attempts, 0.5), attempts=attempts)
        assert tried == list(attempts)
        assert len(variant.settings["kept"]) == attempts[-1]

    def test_a_loss_refuses_it_and_leaves_no_file(self, work: Material) -> None:
        reason, tried = self.make(work, {0: 0.0, 1: 0.0, 3: 0.0}, loss="forgets everything")
        assert tried == [0, 1, 3]  # a loss is no goal, however small the drift
        assert "the cpu-new variant forgets everything; calibrate on texts like yours" in str(reason)
        assert not list(work.folder.glob("cpu-new*"))
        variant, _ = self.make(work, {0: 0.0, 1: 0.0, 3: 0.0}, loss="forgets everything", allow_loss=True)
        assert variant.name == "cpu-new"
