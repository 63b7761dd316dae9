from __future__ import annotations

import pytest

from spladert.files import Job


@pytest.fixture
def job() -> Job:
    return Job("graph", ("weights",), "tokenizer", "cpu", "jsonl", False)
