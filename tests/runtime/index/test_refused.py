"""What an index refuses or would get wrong: levels, numbers, types and names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spladert import InputError, SparseEncoder
from spladert.index import SparseIndex
from spladert.passages import Passages


@pytest.mark.parametrize("levels", [100, 101, 130, 300])
def test_what_the_engine_could_not_read_again_is_refused(encoder: SparseEncoder, folder: Path, levels: int) -> None:
    deep: Any = "end"
    for level in range(levels):
        deep = [deep] if level % 2 else {"in": deep}
    with SparseIndex.open(folder, encoder) as index:
        index.add([{"_id": "d0", "text": "당뇨병 치료"}])
        if levels <= 100:
            assert index.add([{"_id": "deep", "text": "당뇨병", "deep": deep}]) == 1
        else:
            with pytest.raises(InputError, match=r"document 0: .*'deep' has more than 100 levels"):
                index.add([{"_id": "deep", "text": "당뇨병", "deep": deep}])
    with SparseIndex.open(folder, encoder) as index:
        assert len(index) == (2 if levels <= 100 else 1)


def test_every_number_is_found_by_its_own_filter(encoder: SparseEncoder, folder: Path) -> None:
    numbers = np.random.default_rng(4).uniform(0, 1e6, 100).tolist()
    with SparseIndex.open(folder, encoder) as index:
        index.add([{"_id": str(n), "text": "당뇨병", "number": number} for n, number in enumerate(numbers)])
        for n, number in enumerate(numbers):
            (hit,) = index.search("당뇨병", filters={"number": repr(number)}).hits
            assert hit.id == str(n)
            assert hit.fields["number"] == pytest.approx(number, rel=1e-15)


def test_wrong_types_and_names_are_named(encoder: SparseEncoder, folder: Path) -> None:
    with SparseIndex.open(folder, encoder) as index:
        calls: list[tuple[Callable[[], object], str]] = [
            (lambda: index.add(["a"], passages=True), "passages are bool; give Passages"),  # type: ignore[arg-type]
            (lambda: Passages("8"), "overlap of passages is '8'"),  # type: ignore[arg-type]
            (lambda: Passages(0, 1.5), "most of passages is 1.5"),  # type: ignore[arg-type]
            (lambda: index.delete([None]), "the id None is NoneType"),  # type: ignore[list-item]
            (lambda: index.delete([True]), "the id True is bool"),
            (lambda: index.delete(["\ud800"]), "has a lone surrogate"),
            (lambda: index.delete(b"ab"), "not a single bytes"),
            (lambda: index.search("\ud800"), "the question has a lone surrogate"),
            (lambda: SparseIndex.open("a\0b", encoder), "no index can be in"),
            (lambda: SparseIndex.open("\ud800", encoder), "no index can be in"),
            (lambda: SparseIndex.open("a" * 300, encoder), "no index can be in"),
            (lambda: SparseIndex.open("/proc/here", encoder), "/proc/here of the index cannot be made"),
        ]
        for call, message in calls:
            with pytest.raises(InputError, match=message):
                call()
