"""Requests to a real server: what counts as a wrong answer."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra: pip install 'spladert[serve]'")
pytest.importorskip("aiohttp", reason="needs aiohttp")

from benchmarks.suite.http_load import Client, Load, server
from benchmarks.suite.serve_peers import PeerLoad
from spladert import SparseEncoder

TEXTS = ["당뇨병 치료 방법", "계약서", "손해배상 청구", "😀", "오늘 날씨", "인슐린", "약관", "헌법"]


def test_a_wrong_answer_is_counted() -> None:
    with SparseEncoder.load(threads=1, spin=False) as encoder:
        expected = [vector.indices.tolist() for vector in encoder.encode_document(TEXTS)]
    with server("", "--threads", "1") as (host, port, _):
        client = Client(host, port)
        assert client.ask("POST", "/embed_sparse", {"inputs": TEXTS[0]}) > 0
        client.close()
        for kind in (Load, PeerLoad):
            for known, wrong in ((expected, 0), (expected[::-1], 4)):
                load = kind(f"http://{host}:{port}", TEXTS, known, 2)
                outcome = asyncio.run(load.closed(2, requests=4))
                assert (outcome.statuses, outcome.texts, outcome.wrong) == ({200: 4}, 8, wrong)
