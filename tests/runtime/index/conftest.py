from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spladert import SparseEncoder


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """The engine of the index, without which these tests have nothing to test."""
    pytest.importorskip("qdrant_edge", reason="needs the search extra: pip install 'spladert[search]'")


@pytest.fixture(scope="session")
def encoder() -> Iterator[SparseEncoder]:
    """The model that comes with the package."""
    with SparseEncoder.load(threads=1, spin=False) as loaded:
        yield loaded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A name for an index."""
    return tmp_path / "index"
