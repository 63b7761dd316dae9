from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from spladert.batching import Limits, batches

LENGTHS = st.lists(st.integers(0, 64), max_size=60)
LIMITS = st.builds(Limits, texts=st.integers(1, 80), tokens=st.integers(1, 600), batch_cost=st.integers(0, 100))


def cost(lengths: Sequence[int], runs: Sequence[Sequence[int]], limits: Limits) -> int:
    return sum(limits.batch_cost + len(run) * max(lengths[i] for i in run) for run in runs)


@given(LENGTHS, LIMITS)
def test_every_text_is_in_one_run_within_the_limits(lengths: list[int], limits: Limits) -> None:
    planned = list(batches(lengths, limits))
    assert sorted(i for run in planned for i in run) == [i for i, n in enumerate(lengths) if n]
    for run in planned:
        assert 1 <= len(run) <= limits.texts
        assert len(run) == 1 or len(run) * max(lengths[i] for i in run) <= limits.tokens


@given(LENGTHS, LIMITS)
def test_packed_batches_are_as_full_as_the_limits_let_them_be(lengths: list[int], limits: Limits) -> None:
    limits = replace(limits, padded=False)
    planned = list(batches(lengths, limits))
    assert sorted(i for run in planned for i in run) == [i for i, n in enumerate(lengths) if n]
    tokens = [sum(lengths[i] for i in run) for run in planned]
    assert all(len(run) == 1 or total <= limits.tokens for run, total in zip(planned, tokens, strict=True))
    assert all(len(run) <= limits.texts for run in planned)
    for run, total, after in zip(planned, tokens, planned[1:], strict=False):
        assert len(run) == limits.texts or total + lengths[after[0]] > limits.tokens


@given(st.dictionaries(st.integers(1, 64), st.integers(1, 9), min_size=1, max_size=7), st.integers(0, 100))
def test_no_way_to_cut_costs_less(counts: dict[int, int], batch_cost: int) -> None:
    limits = Limits(texts=1000, tokens=100_000, batch_cost=batch_cost)
    kinds = sorted(counts)
    lengths = [length for length in kinds for _ in range(counts[length])]
    best = min(
        sum(batch_cost + max(group) * sum(counts[length] for length in group) for group in groups)
        for groups in ways_to_cut(kinds)
    )
    assert cost(lengths, list(batches(lengths, limits)), limits) == best


def ways_to_cut(kinds: list[int]) -> Iterator[list[list[int]]]:
    for cuts in product([False, True], repeat=len(kinds) - 1):
        groups = [[kinds[0]]]
        for cut, kind in zip(cuts, kinds[1:], strict=True):
            if cut:
                groups.append([])
            groups[-1].append(kind)
        yield groups


def test_a_short_text_is_not_padded_to_a_long_one() -> None:
    assert list(batches([5, 64, 6, 60], Limits(1024, 8, 32))) == [[1, 3], [2, 0]]
    assert list(batches([5, 6, 7, 8], Limits(1024, 8, 32))) == [[3, 2, 1, 0]]
    assert list(batches([0, 0], Limits(1024, 8, 32))) == []
