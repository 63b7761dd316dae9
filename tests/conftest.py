from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from support.checkpoints import LINES, make_checkpoint
from support.paths import ROOT
from support.traces import traced_once

# Models this small are slower on two threads than on one. Before PyTorch is imported, here and in subprocesses.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and the real tokenizer; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("SPLADERT_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"shared data is not at {folder}; set SPLADERT_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ModernBERT checkpoint with a tiny Korean tokenizer."""
    pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    return make_checkpoint("modernbert", tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def traces() -> Iterator[None]:
    """Exports that ask for it make each trace once."""
    with traced_once():
        yield


@pytest.fixture(scope="session")
def tiny_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `tiny_checkpoint`, or the one that SPLADERT_TINY_BUNDLE names (support/make_bundle.py makes it).

    Tests that change it copy it first.
    """
    if made := os.environ.get("SPLADERT_TINY_BUNDLE"):
        return Path(made)
    tiny_checkpoint: Path = request.getfixturevalue("tiny_checkpoint")
    request.getfixturevalue("traces")
    from spladert_export import export

    return export(tiny_checkpoint, tmp_path_factory.mktemp("bundle") / "tiny", top_k=64).path


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few texts for variants to be calibrated and measured on."""
    path = tmp_path_factory.mktemp("calibration") / "texts.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ray_alone() -> Iterator[None]:
    """No other process of these tests has a Ray meanwhile, which this one's would join."""
    with FileLock(Path(tempfile.gettempdir()) / f"spladert-tests-ray-{os.getuid()}.lock"):
        yield
