from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spladert import SparseEncoder


@pytest.fixture(scope="package")
def encoder(tiny_bundle: Path) -> Iterator[SparseEncoder]:
    pytest.importorskip("pyarrow", reason="needs the parquet extra: pip install 'spladert[parquet]'")
    with SparseEncoder.load(tiny_bundle, threads=1, spin=False) as loaded:
        yield loaded
