"""TensorRT engines: the profile, the options, the cache; and what happens where libraries or a GPU are missing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from spladert import DeviceError, SparseEncoder
from spladert.bundle import FILE_NAME, open_bundle
from spladert.cli import main
from spladert.cli.build import describe
from spladert.engine.cuda import cuda_options
from spladert.engine.driver import gpu_count
from spladert.engine.libraries import missing_error, missing_libraries, needed_libraries
from spladert.engine.session import start_session
from spladert.engine.tensorrt import (
    RECORD,
    EngineKey,
    EngineReport,
    assigned_nodes,
    prepare_engine,
    provider_options,
    shape_options,
)
from support.gpu_python import gpu_python, gpu_site_packages
from support.paths import ROOT

ort = pytest.importorskip("onnxruntime")


# Of ONNX Runtime's documentation, TensorRT execution provider, "Execution Provider Options".
DOCUMENTED = {
    "trt_profile_min_shapes",
    "trt_profile_opt_shapes",
    "trt_profile_max_shapes",
    "trt_engine_cache_enable",
    "trt_engine_cache_path",
    "trt_timing_cache_enable",
    "trt_timing_cache_path",
}


def key(**changes: Any) -> EngineKey:
    options = {"trt_profile_max_shapes": "input_ids:64x64"}
    known = EngineKey(("a" * 64, "b" * 64), "NVIDIA H200, 9.0", "101601", "1.31.1", options)
    return dataclasses.replace(known, **changes)


def test_the_profile_covers_the_bundle(tiny_bundle: Path) -> None:
    assert shape_options(open_bundle(tiny_bundle).manifest) == {
        "trt_profile_min_shapes": "input_ids:1x1,attention_mask:1x1",
        "trt_profile_opt_shapes": "input_ids:32x64,attention_mask:32x64",
        "trt_profile_max_shapes": "input_ids:64x64,attention_mask:64x64",
    }


def test_options_have_documented_names_and_no_precision_flags(tiny_bundle: Path, tmp_path: Path) -> None:
    """With a precision flag the network would be weakly typed: TensorRT might take other types than the graph's."""
    options = provider_options(open_bundle(tiny_bundle).manifest, tmp_path / "engines" / "one")
    assert set(options) == DOCUMENTED
    assert all(isinstance(value, str) for value in options.values())
    assert options["trt_engine_cache_path"] == str(tmp_path / "engines" / "one")


def test_fp32_is_not_computed_in_tensorfloat(tiny_bundle: Path) -> None:
    fp32 = open_bundle(tiny_bundle).manifest.variants[0]
    half = dataclasses.replace(fp32, precision="fp16")
    assert cuda_options(fp32, capture=True) == {"use_tf32": "0", "enable_cuda_graph": "1"}
    assert cuda_options(half, capture=False) == {"use_tf32": "1", "enable_cuda_graph": "0"}


@pytest.mark.parametrize(("device", "names"), [("tensorrt", DOCUMENTED), ("cuda", {"use_tf32", "enable_cuda_graph"})])
def test_the_provider_knows_the_names(device: str, names: set[str]) -> None:
    """Where onnxruntime-gpu is here: the names are in the provider's own library."""
    library = gpu_site_packages() / "onnxruntime" / "capi" / f"libonnxruntime_providers_{device}.so"
    content = library.read_bytes()
    for name in names:
        assert f"\0{name}\0".encode() in content


class Builder:
    """Makes sessions as TensorRT's provider does: it reads the engine in the folder, or builds one there."""

    def __init__(self, graph: Path) -> None:
        self._graph = graph
        self.built = 0

    def __call__(self, folder: Path) -> Any:
        engine = folder / "TensorrtExecutionProvider_graph.engine"
        if not engine.exists():
            self.built += 1
            engine.write_bytes(os.urandom(1000))
        config = {"session.record_ep_graph_assignment_info": "1"}
        return start_session(self._graph, config=config)


@pytest.fixture
def builder(tiny_bundle: Path) -> Builder:
    return Builder(tiny_bundle / "cpu-fp32.onnx")


class TestCache:
    def test_an_engine_is_built_once(self, tmp_path: Path, builder: Builder) -> None:
        events: list[str] = []
        build: Callable[[], Any] = lambda: prepare_engine(  # noqa: E731
            tmp_path / "engines", "tensorrt-fp16", key(), builder, on_build=lambda: events.append("build")
        )
        session, report = build()
        assert session.get_providers() == ["CPUExecutionProvider"]
        assert report.bytes == 1000
        assert report.seconds > 0
        assert report.folder.startswith(str(tmp_path / "engines" / "tensorrt-fp16-"))
        _, again = build()
        assert again == dataclasses.replace(report, seconds=0.0)
        assert (builder.built, events) == (1, ["build"])

    @pytest.mark.parametrize(
        "changes",
        [
            {"files": ("c" * 64, "b" * 64)},
            {"gpu": "NVIDIA H100, 9.0"},
            {"tensorrt": "101600"},
            {"onnxruntime": "1.32.0"},
            {"options": {"trt_profile_max_shapes": "input_ids:64x128"}},
        ],
    )
    def test_whatever_changes_asks_for_another_engine(
        self, tmp_path: Path, builder: Builder, changes: dict[str, Any]
    ) -> None:
        _, first = prepare_engine(tmp_path, "e", key(), builder)
        _, other = prepare_engine(tmp_path, "e", key(**changes), builder)
        assert first.folder != other.folder
        assert builder.built == 2
        prepare_engine(tmp_path, "e", key(), builder)
        assert builder.built == 2  # the first is still there

    @pytest.mark.parametrize("damage", ["cut", "altered", "removed", "no record", "bad record", "another key's"])
    def test_a_stale_engine_is_built_again(self, tmp_path: Path, builder: Builder, damage: str) -> None:
        _, report = prepare_engine(tmp_path, "e", key(), builder)
        folder = Path(report.folder)
        engine, record = folder / "TensorrtExecutionProvider_graph.engine", folder / RECORD
        content = engine.read_bytes()
        match damage:
            case "cut":
                engine.write_bytes(content[:-1])
            case "altered":
                engine.write_bytes(bytes([content[0] ^ 1]) + content[1:])
            case "removed":
                engine.unlink()
            case "no record":
                record.unlink()  # a build that was interrupted
            case "bad record":
                record.write_text("[]")
            case _:
                known = json.loads(record.read_text())
                known["key"]["gpu"] = "another"
                record.write_text(json.dumps(known))
        prepare_engine(tmp_path, "e", key(), builder)
        assert builder.built == 2
        assert engine.read_bytes() != content
        prepare_engine(tmp_path, "e", key(), builder)
        assert builder.built == 2

    def test_a_failed_build_leaves_no_engine_that_counts(self, tmp_path: Path, builder: Builder) -> None:
        def fails(folder: Path) -> Any:
            builder(folder)
            raise DeviceError("out of memory")

        with pytest.raises(DeviceError, match="out of memory"):
            prepare_engine(tmp_path, "e", key(), fails)
        prepare_engine(tmp_path, "e", key(), builder)
        assert builder.built == 2

    def test_a_session_without_any_engine_is_an_error(self, tmp_path: Path, tiny_bundle: Path) -> None:
        def start(folder: Path) -> Any:
            return start_session(tiny_bundle / "cpu-fp32.onnx")

        with pytest.raises(DeviceError, match="TensorRT built no engine of tensorrt-fp16"):
            prepare_engine(tmp_path, "tensorrt-fp16", key(), start)

    def test_the_report_counts_nodes_by_provider(self, builder: Builder, tmp_path: Path) -> None:
        _, report = prepare_engine(tmp_path, "e", key(), builder)
        if report.nodes is None:
            pytest.skip("this onnxruntime does not record where nodes ran")
        assert list(report.nodes) == ["CPUExecutionProvider"]
        assert report.nodes["CPUExecutionProvider"] > 50
        assert report.fell_back == {}


def test_nodes_of_another_provider_fell_back() -> None:
    class Node:
        def __init__(self, op_type: str) -> None:
            self.op_type = op_type

    class Part:
        def __init__(self, ep_name: str, operators: list[str]) -> None:
            self.ep_name, self._operators = ep_name, operators

        def get_nodes(self) -> list[Node]:
            return [Node(name) for name in self._operators]

    class Session:
        def get_providers(self) -> list[str]:
            return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

        def get_provider_graph_assignment_info(self) -> list[Part]:
            return [
                Part("TensorrtExecutionProvider", ["MatMul", "Add"]),
                Part("CUDAExecutionProvider", ["TopK", "TopK"]),
            ]

    nodes, fell_back = assigned_nodes(Session())
    assert nodes == {"TensorrtExecutionProvider": 2, "CUDAExecutionProvider": 2}
    assert fell_back == {"TopK": 2}
    text = describe(EngineReport("/cache/e", 12.34, 3_000_000, nodes, fell_back))
    for part in ("/cache/e", "12.3 s", "3.0 MB", "2 in CUDAExecutionProvider", "fell back  2 TopK"):
        assert part in text
    assert "does not say" in describe(EngineReport("/cache/e", 0.0, 1, None, {}))


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
class TestLibraries:
    @pytest.fixture
    def library(self) -> Path:
        """A shared library that links one of its own package's."""
        return next(Path(np.__file__).parent.glob("*core/_multiarray_umath*.so"))

    def test_what_a_library_links_is_read_from_it(self, library: Path) -> None:
        names = list(needed_libraries(library))
        if not names:
            pytest.skip("this numpy links nothing of its own")
        assert all(f"\0{name}\0".encode() in library.read_bytes() for name in names)
        assert not [name for name in names if name.startswith(("libc.", "libm."))]

    def test_libraries_that_are_here_are_not_missing(self, library: Path) -> None:
        import onnxruntime

        bindings = next(Path(onnxruntime.__file__).parent.glob("capi/onnxruntime_pybind11_state*.so"))
        assert missing_libraries(list(needed_libraries(bindings))) == []

    def test_a_library_that_is_not_here_is_named(self, library: Path, tmp_path: Path) -> None:
        names = list(needed_libraries(library))
        if not names:
            pytest.skip("this numpy links nothing of its own")
        bogus = "libnvinfer.so.10".ljust(len(names[0]), "0")[: len(names[0])]
        copy = tmp_path / "provider.so"
        copy.write_bytes(library.read_bytes().replace(f"\0{names[0]}\0".encode(), f"\0{bogus}\0".encode()))
        assert bogus in missing_libraries(list(needed_libraries(copy)))

    def test_what_is_no_library_links_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a.so").write_bytes(b"not ELF at all, but long enough to be mapped")
        assert list(needed_libraries(tmp_path / "a.so")) == []


def test_missing_libraries_are_named_with_how_to_get_them() -> None:
    missing = ["libnvinfer.so.10", "libnvonnxparser.so.10", "libcublas.so.13", "libcudnn.so.9", "libcuda.so.1"]
    message = str(missing_error("tensorrt", missing, 13))
    assert message == (
        "device 'tensorrt' needs libnvinfer.so.10, libnvonnxparser.so.10, libcublas.so.13, libcudnn.so.9, "
        "libcuda.so.1, not found here: pip install 'tensorrt-cu13>=10,<11'; "
        "pip install 'onnxruntime-gpu[cuda,cudnn]'; libcuda comes with the NVIDIA driver"
    )


def test_build_needs_the_provider(tiny_bundle: Path) -> None:
    if "TensorrtExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    result = CliRunner().invoke(main, ["build", str(tiny_bundle), "--device", "tensorrt"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: device 'tensorrt' needs TensorrtExecutionProvider")
    assert "pip install 'spladert[gpu]'" in result.stderr


LOAD = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
from dataclasses import replace
from spladert import DeviceError, SparseEncoder
from spladert.bundle import open_bundle
from spladert.engine import PlacementRequest, RuntimeOptions, candidates, start_first, this_machine
path, device, *pretend = sys.argv[1:]
bundle, request = open_bundle(path), PlacementRequest(device)
machine = this_machine(request)
if pretend:
    machine = replace(machine, gpus=lambda: 1)
try:
    placements = candidates(bundle.manifest, request, machine)
    encoder = SparseEncoder(bundle, *start_first(bundle, placements, RuntimeOptions()))
    print(encoder.device, encoder.variant.name, len(encoder.encode("당뇨병 치료")))
except DeviceError as error:
    print("DeviceError:", error)
"""


def load_with_gpu_runtime(bundle: Path, device: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    python = gpu_python()
    if gpu_count():
        pytest.skip("there is an NVIDIA GPU here")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "runtime")}
    command = [python, "-c", LOAD, str(bundle), device, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)


class TestOnnxruntimeGpuWithoutGpu:
    def test_auto_runs_on_the_cpu_and_says_so(self, tiny_bundle: Path) -> None:
        done = load_with_gpu_runtime(tiny_bundle, "auto")
        expected = len(SparseEncoder.load(tiny_bundle, device="cpu").encode("당뇨병 치료"))
        assert done.stdout.split() == ["cpu", "cpu-fp32", str(expected)]
        assert "WARNING device auto: not on cuda: this onnxruntime has CUDA, but the driver finds no NVIDIA GPU" in (
            done.stderr
        )

    def test_auto_runs_on_the_cpu_where_the_libraries_of_a_gpu_are_missing(self, tiny_bundle: Path) -> None:
        done = load_with_gpu_runtime(tiny_bundle, "auto", "pretend")
        assert done.stdout.startswith("cpu cpu-fp32 ")
        assert "WARNING device auto: cuda does not start: device 'cuda' needs " in done.stderr
        assert "libcuda.so.1" in done.stderr

    def test_auto_runs_on_the_cpu_where_the_bundle_has_nothing_for_a_gpu(self) -> None:
        default = ROOT / "runtime" / "spladert" / "default_model"  # int8 for the CPU, and nothing else
        done = load_with_gpu_runtime(default, "auto", "pretend")
        assert done.stdout.startswith("cpu cpu-int8 ")
        assert "WARNING device auto: not on cuda: the bundle has no variant for cuda" in done.stderr

    def test_cuda_is_an_error_that_names_the_libraries(self, tiny_bundle: Path) -> None:
        done = load_with_gpu_runtime(tiny_bundle, "cuda")
        assert done.stdout.startswith("DeviceError: device 'cuda' needs ")
        assert "libcuda.so.1" in done.stdout
        assert "libcuda comes with the NVIDIA driver" in done.stdout

    def test_tensorrt_is_an_error_that_names_the_libraries(self, tiny_bundle: Path, tmp_path: Path) -> None:
        opened = open_bundle(tiny_bundle)
        only = opened.manifest.variants[0]
        variant = dataclasses.replace(only, name="tensorrt-fp16", target="tensorrt", precision="fp16")
        copy = Path(shutil.copytree(tiny_bundle, tmp_path / "as-tensorrt"))
        manifest = dataclasses.replace(opened.manifest, variants=(variant,))
        (copy / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
        done = load_with_gpu_runtime(copy, "tensorrt")
        assert done.stdout.startswith("DeviceError: device 'tensorrt' needs ")
        assert "libnvinfer.so." in done.stdout
        assert "pip install 'tensorrt-cu" in done.stdout
