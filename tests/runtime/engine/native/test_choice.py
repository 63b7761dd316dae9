"""Which engine runs cpu-int8: the compiled one where it is installed, or what was asked for, and never in silence."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest

from spladert import SparseEncoder
from spladert.engine import RuntimeOptions
from spladert.engine.native.engine import NativeEngine
from spladert.errors import DeviceError, InputError
from support.kernels import ISAS

spladert_kernels = pytest.importorskip(
    "spladert_kernels", reason="the compiled engine is not installed: pip install ./kernels"
)
TEXTS = ["오늘 서울의 날씨는 맑다", "", "계약서에 서명하기 전에 약관을 확인해야 한다", "a", "인공지능 " * 40]


def runs_here(isa: str) -> bool:
    library = spladert_kernels.load_library()
    names = {library.spladert_isa_name(number).decode(): number for number in range(len(ISAS))}
    return library.spladert_isa_missing(names[isa]) is None


def test_it_is_taken_and_says_with_which_instruction_set(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPLADERT_ISA", raising=False)
    caplog.set_level(logging.INFO, logger="spladert")
    with SparseEncoder.load() as encoder:
        assert isinstance(encoder.engine, NativeEngine)
        assert encoder.providers == ()
        assert encoder.engine.isa in encoder.engine.runs_on
        assert f"cpu-int8 runs on {encoder.engine.runs_on}" in caplog.text


def test_it_gives_what_onnx_runtime_gives() -> None:
    with SparseEncoder.load(isa="onnx") as graph, SparseEncoder.load() as compiled:
        assert graph.engine.runs_on == "ONNX Runtime"
        atol = 0.05 if compiled.engine.runs_on.endswith("amx") else 0.03  # AMX's attention is in bfloat16
        expected, found = graph.encode(TEXTS), compiled.encode(TEXTS)
        for a, b in zip(expected, found, strict=True):
            theirs, ours = a.to_dict(), b.to_dict()
            assert len({*list(theirs)[:10]} & {*list(ours)[:10]}) >= 9 * min(len(theirs), 10) // 10
            shared = theirs.keys() & ours.keys()
            np.testing.assert_allclose([theirs[i] for i in shared], [ours[i] for i in shared], atol=atol)


def test_a_text_alone_is_a_text_in_a_batch() -> None:
    with SparseEncoder.load() as encoder:
        together = encoder.encode(TEXTS, batch_size=3)
        for text, vector in zip(TEXTS, together, strict=True):
            alone = encoder.encode(text)
            np.testing.assert_array_equal(alone.indices, vector.indices)
            np.testing.assert_array_equal(alone.values, vector.values)


@pytest.mark.parametrize("isa", ISAS)
def test_a_named_instruction_set_runs_or_is_an_error(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if runs_here(isa):
        with SparseEncoder.load(isa=isa) as encoder:
            assert isinstance(encoder.engine, NativeEngine)
            assert encoder.engine.isa == isa
            assert pickle.loads(pickle.dumps(encoder)).engine.isa == isa
    else:
        with pytest.raises(DeviceError, match=f"{isa} does not run here: the CPU has no"):
            SparseEncoder.load(isa=isa)
        monkeypatch.setenv("SPLADERT_ISA", isa)
        with pytest.raises(DeviceError, match=f"{isa} does not run here: the CPU has no"):
            SparseEncoder.load()


def test_an_instruction_set_of_another_processor_is_an_error() -> None:
    other = "avx2" if "neon" in ISAS else "neon"
    with pytest.raises(DeviceError, match=f"'{other}' is not one of this library; use one of {', '.join(ISAS)}"):
        SparseEncoder.load(isa=other)


def test_the_environment_asks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLADERT_ISA", "onnx")
    assert SparseEncoder.load().engine.runs_on == "ONNX Runtime"
    monkeypatch.setenv("SPLADERT_ISA", "sse2")
    with pytest.raises(InputError, match="SPLADERT_ISA is 'sse2'"):
        SparseEncoder.load()


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="isa is 'sse2'; use one of amx"):
        RuntimeOptions(isa="sse2")


def test_another_version_is_not_taken(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPLADERT_ISA", raising=False)
    monkeypatch.setattr(spladert_kernels, "__version__", "0.0.1")
    engine = SparseEncoder.load().engine
    assert engine.runs_on.startswith("ONNX Runtime (spladert-kernels 0.0.1 is not for spladert")
    assert "spladert-kernels 0.0.1" in caplog.text
    with pytest.raises(DeviceError, match=r"avx2: spladert-kernels 0\.0\.1"):
        SparseEncoder.load(isa="avx2")


def test_named_providers_are_onnx_runtimes() -> None:
    with SparseEncoder.load(providers=["CPUExecutionProvider"]) as encoder:
        assert encoder.engine.runs_on == "ONNX Runtime"
        assert encoder.providers == ("CPUExecutionProvider",)
    with pytest.raises(InputError, match="isa is 'avx2', of the compiled engine, and the provider CPU"):
        SparseEncoder.load(providers=["CPUExecutionProvider"], isa="avx2")
