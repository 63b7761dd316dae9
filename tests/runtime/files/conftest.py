from __future__ import annotations

import pytest

from spladert import SparseEncoder


@pytest.fixture(scope="session")
def encoder() -> SparseEncoder:
    """The model that comes with the package."""
    return SparseEncoder.load(device="cpu", threads=1)
