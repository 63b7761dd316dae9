"""Where a bundle runs: what is named runs or is an error, and only what is not named may fall back."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from spladert import BundleError, DeviceError, InputError, SparseEncoder
from spladert.bundle import Bundle, Manifest, Variant, open_bundle
from spladert.engine import Machine, PlacementRequest, RuntimeOptions, candidates, make_request, start_first

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
ON_CPU = Machine((CPU,), gpus=lambda: 0)
WITHOUT_GPU = Machine((TENSORRT, CUDA, CPU), gpus=lambda: 0)
WITH_GPU = Machine((TENSORRT, CUDA, CPU), gpus=lambda: 1)

ALL = ("cpu-fp32", "cpu-int8", "cpu-int4", "cuda-bf16", "cuda-fp16", "tensorrt-int8", "tensorrt-fp16")


def make_manifest(*names: str) -> Manifest:
    pairs = [(name, *name.split("-")) for name in names]
    variants = tuple(Variant(name, target, precision, 23, ()) for name, target, precision in pairs)
    return dataclasses.replace(open_bundle().manifest, variants=variants)


def place(machine: Machine, *names: str, device: str = "auto", variant: str | None = None, **more: Any) -> list[str]:
    """The candidates as "device variant"."""
    request = make_request(device, variant, more.get("providers"))
    return [f"{found.device} {found.variant.name}" for found in candidates(make_manifest(*names), request, machine)]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (ON_CPU, ["cpu cpu-int8"]),
        (WITHOUT_GPU, ["cpu cpu-int8"]),
        (WITH_GPU, ["cuda cuda-fp16", "cpu cpu-int8"]),
    ],
)
def test_auto_takes_the_best_that_is_here(machine: Machine, expected: list[str]) -> None:
    assert place(machine, *ALL) == expected


def test_auto_says_why_it_is_not_on_the_gpu(caplog: pytest.LogCaptureFixture) -> None:
    assert place(WITHOUT_GPU, *ALL) == ["cpu cpu-int8"]
    assert place(WITH_GPU, "cpu-int8") == ["cpu cpu-int8"]
    assert place(ON_CPU, *ALL) == ["cpu cpu-int8"]  # a plain onnxruntime: nothing to tell
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "device auto: not on cuda: this onnxruntime has CUDA, but the driver finds no NVIDIA GPU here",
        "device auto: not on cuda: the bundle has no variant for cuda, it has cpu-int8; export it again with one",
    ]


@pytest.mark.parametrize(
    ("device", "variant", "expected"),
    [
        ("cpu", None, "cpu cpu-int8"),
        ("cpu", "fp32", "cpu cpu-fp32"),
        ("cpu", "cpu-int4", "cpu cpu-int4"),
        ("cuda", None, "cuda cuda-fp16"),
        ("cuda", "bf16", "cuda cuda-bf16"),
        ("cuda", "fp32", "cuda cpu-fp32"),  # the graph of plain operators runs there too
        ("cuda", "cpu-fp32", "cuda cpu-fp32"),
        ("tensorrt", None, "tensorrt tensorrt-fp16"),
        ("tensorrt", "int8", "tensorrt tensorrt-int8"),
        ("auto", "cpu-fp32", "cpu cpu-fp32"),  # a variant's name names its device
        ("auto", "cuda-bf16", "cuda cuda-bf16"),
        ("auto", "tensorrt-int8", "tensorrt tensorrt-int8"),
        ("auto", "int4", "cpu cpu-int4"),
    ],
)
def test_what_is_named_is_the_only_candidate(device: str, variant: str | None, expected: str) -> None:
    assert place(WITH_GPU, *ALL, device=device, variant=variant) == [expected]


@pytest.mark.parametrize(
    ("providers", "expected"),
    [
        ([CPU], "cpu cpu-int8"),
        ([CUDA], "cuda cuda-fp16"),
        ([CUDA, CPU], "cuda cuda-fp16"),
        ([TENSORRT, CUDA], "tensorrt tensorrt-fp16"),
    ],
)
def test_named_providers_are_the_only_candidate(providers: list[str], expected: str) -> None:
    """Without a GPU too: that CUDA does not start there is then an error, not a reason to run on the CPU."""
    for machine in (WITH_GPU, WITHOUT_GPU):
        assert place(machine, *ALL, providers=providers) == [expected]
        [placement] = candidates(make_manifest(*ALL), make_request("auto", None, providers), machine)
        assert placement.providers == tuple(providers)


@pytest.mark.parametrize(
    ("device", "providers", "device_of_provider"),
    [
        ("cuda", [CPU], "cpu"),
        ("cpu", [CUDA, CPU], "cuda"),
        ("tensorrt", [CUDA], "cuda"),
        ("cuda", [TENSORRT], "tensorrt"),
    ],
)
def test_a_device_and_providers_that_contradict(device: Any, providers: list[str], device_of_provider: str) -> None:
    message = f"device is '{device}' and the first provider {providers[0]}, which is for device '{device_of_provider}'"
    with pytest.raises(InputError, match=message):
        make_request(device, None, providers)
    with pytest.raises(InputError, match=message):
        SparseEncoder.load(device=device, providers=providers)


def test_an_instruction_set_is_of_the_cpu() -> None:
    assert [found.device for found in candidates(make_manifest(*ALL), PlacementRequest(), WITH_GPU, isa="avx2")] == [
        "cpu"
    ]
    with pytest.raises(InputError, match="isa is 'avx2', of a CPU, and device is 'cuda'; leave one of them out"):
        candidates(make_manifest(*ALL), PlacementRequest("cuda"), WITH_GPU, isa="avx2")


def test_a_new_variant_runs_by_its_name_before_it_has_a_place_among_the_preferred() -> None:
    assert place(ON_CPU, "cpu-int8", "cpu-int2", variant="cpu-int2") == ["cpu cpu-int2"]
    assert place(ON_CPU, "cpu-int8", "cpu-int2", variant="int2") == ["cpu cpu-int2"]
    assert place(ON_CPU, "cpu-int8", "cpu-int2") == ["cpu cpu-int8"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"device": "cuda"},
            DeviceError,
            "device 'cuda' needs CUDAExecutionProvider, and this onnxruntime has only CPU",
        ),
        ({"device": "tensorrt"}, DeviceError, "device 'tensorrt' needs TensorrtExecutionProvider"),
        ({"variant": "cuda-fp16"}, DeviceError, "device 'cuda' needs CUDAExecutionProvider"),
        ({"providers": [CUDA]}, DeviceError, "CUDAExecutionProvider is not in this onnxruntime, which has CPUExec"),
        ({"variant": "int3"}, BundleError, "the bundle has no variant 'int3' for cpu, it has cpu-fp32, "),
        ({"device": "cpu", "variant": "cuda-fp16"}, BundleError, "the bundle has no variant 'cuda-fp16' for cpu"),
        ({"variant": 8}, InputError, "variant is 8; give a name such as cpu-int8"),
        ({"device": "gpu"}, InputError, "device is 'gpu'; use one of auto, cpu, cuda, tensorrt"),
    ],
)
def test_what_is_named_and_not_here_is_an_error(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        place(ON_CPU, *ALL, **arguments)


def test_the_driver_is_not_woken_where_a_device_is_named() -> None:
    def asked() -> int:
        raise AssertionError

    machine = dataclasses.replace(WITH_GPU, gpus=asked)
    assert place(machine, *ALL, device="cuda") == ["cuda cuda-fp16"]
    assert place(machine, *ALL, providers=[CPU]) == ["cpu cpu-int8"]


class TestStart:
    """CUDA's provider is in no CPU build of onnxruntime, so a session of it does not start: as without a GPU."""

    @pytest.fixture
    def bundle(self, tiny_bundle: Path) -> Bundle:
        import onnxruntime

        if CUDA in onnxruntime.get_available_providers():
            pytest.skip("this onnxruntime has CUDA")
        return open_bundle(tiny_bundle)

    def test_auto_goes_on_to_the_next_with_a_warning(self, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
        placements = candidates(bundle.manifest, PlacementRequest(), WITH_GPU)
        assert [placement.device for placement in placements] == ["cuda", "cpu"]
        placement, engine = start_first(bundle, placements, RuntimeOptions())
        assert placement.device == "cpu"
        assert engine.providers == (CPU,)
        assert "device auto: cuda does not start: " in caplog.text

    @pytest.mark.parametrize(
        "request_",
        [PlacementRequest("cuda"), PlacementRequest(providers=(CUDA,)), PlacementRequest(providers=(CUDA, CPU))],
    )
    def test_what_was_named_does_not(self, bundle: Bundle, request_: PlacementRequest) -> None:
        with pytest.raises(DeviceError, match=r"needs lib|does not start|did not start"):
            start_first(bundle, candidates(bundle.manifest, request_, WITH_GPU), RuntimeOptions())
