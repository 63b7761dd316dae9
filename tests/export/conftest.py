"""Bundles and graphs that several modules of these tests read; a trace takes seconds, so each is made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.checkpoints import make_checkpoint

if TYPE_CHECKING:
    from spladert_export.material import Material


@pytest.fixture(scope="session", autouse=True)
def _traces(traces: None) -> None:
    """Every export of these tests."""


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory, calibration: Path) -> Callable[[str], Path]:
    """The bundle of an architecture, with cpu-fp32 and cpu-int8."""
    from spladert_export import export

    made: dict[str, Path] = {}

    def make(architecture: str) -> Path:
        if architecture not in made:
            folder = tmp_path_factory.mktemp(architecture)
            source = make_checkpoint(architecture, folder / "checkpoint")
            names = ("cpu-fp32", "cpu-int8")
            made[architecture] = export(source, folder / "bundle", variants=names, calibration=calibration).path
        return made[architecture]

    return make


@pytest.fixture(scope="session")
def material(tiny_bundle: Path) -> Material:
    """What variants of `tiny_bundle` are made of, calibrated on two rows of ids."""
    import onnx_ir as ir

    from spladert.bundle import open_bundle
    from spladert_export.material import Material

    graph = ir.load(tiny_bundle / "cpu-fp32.onnx")
    rows = [[2, *range(5, 40), 3], [2, *range(40, 60), 3]]
    return Material(tiny_bundle, open_bundle(tiny_bundle).manifest, graph, {}, rows)
