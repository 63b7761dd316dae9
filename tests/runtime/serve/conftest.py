from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the serve extra: pip install 'spladert[serve]'")

from spladert import SparseEncoder
from support.server import running


@pytest.fixture(scope="session")
def encoder(tiny_bundle: Path) -> Iterator[SparseEncoder]:
    with SparseEncoder.load(tiny_bundle, threads=1) as encoder:
        yield encoder


@pytest.fixture(scope="session")
def client(encoder: SparseEncoder) -> Iterator[httpx.Client]:
    """Of a server over the tiny bundle, with its default options."""
    with running(encoder) as client:
        yield client
