from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from benchmarks.suite.opensearch_node import Node, client_of, running_node
from spladert import SparseEncoder


@pytest.fixture(scope="session")
def launcher(shared: Path) -> Path:
    """What starts a node of one's own; a node takes a minute and half a gigabyte, so it is asked for."""
    if not os.environ.get("SPLADERT_OPENSEARCH"):
        pytest.skip(
            "starts a node: set SPLADERT_OPENSEARCH=1 (all for the slow ones too), or SPLADERT_OPENSEARCH_URL to one"
        )
    path = shared / "opensearch" / "opensearch"
    if not path.is_file():
        pytest.skip(f"no OpenSearch at {path}; set SPLADERT_SHARED to the folder that has it")
    return path.resolve()


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """`host:port` of one node for all tests: SPLADERT_OPENSEARCH_URL, or one started by SPLADERT_OPENSEARCH=1."""
    if url := os.environ.get("SPLADERT_OPENSEARCH_URL"):
        yield urlsplit(url).netloc or url
        return
    launcher: Path = request.getfixturevalue("launcher")
    with running_node(launcher, ["--pytorch"]) as node:
        yield node.address


@pytest.fixture(scope="session")
def mortal_node(launcher: Path) -> Iterator[Node]:
    """A node that tests kill, start again, and overload: it queues almost nothing."""
    with running_node(launcher, ["-Ethread_pool.write.queue_size=1", "-Ethread_pool.write.size=1"]) as node:
        yield node


@pytest.fixture(scope="session")
def client(address: str) -> Any:
    return client_of(address)


@pytest.fixture
def index(client: Any) -> Iterator[str]:
    """A name for an index, which is deleted afterwards with what lies beside it."""
    name = f"test-{uuid4().hex[:12]}"
    yield name
    client.indices.delete(index=f"{name}*,.{name}*", ignore_unavailable=True, expand_wildcards="all")


@pytest.fixture(scope="session")
def encoder() -> Iterator[SparseEncoder]:
    """The model that comes with the package."""
    with SparseEncoder.load(threads=1, spin=False) as loaded:
        yield loaded
