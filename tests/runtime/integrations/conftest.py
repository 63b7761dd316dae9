from __future__ import annotations

from collections.abc import Iterator

import pytest

from spladert import SparseEncoder


@pytest.fixture(scope="session")
def encoder() -> Iterator[SparseEncoder]:
    """The model that comes with the package."""
    with SparseEncoder.load(threads=1, spin=False) as loaded:
        yield loaded
