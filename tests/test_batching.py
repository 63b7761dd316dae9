from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from spladert.batching import Limits, batches

LENGTHS = st.lists(st.integers(0, 64), max_size=60)
LIMITS = st.builds(Limits, texts=st.integers(1, 80), tokens=st.integers(1, 600), run_cost=st.integers(0, 100))


def cost(lengths: Sequence[int], runs: Sequence[Sequence[int]], limits: Limits) -> int:
    return sum(limits.run_cost + len(run) * max(lengths[i] for i in run) for run in runs)


@given(LENGTHS, LIMITS)
def test_every_text_is_in_one_run_within_the_limits(lengths: list[int], limits: Limits) -> None:
    planned = list(batches(lengths, limits))
    assert sorted(i for run in planned for i in run) == [i for i, n in enumerate(lengths) if n]
    for run in planned:
        assert 1 <= len(run) <= limits.texts
        assert len(run) == 1 or len(run) * max(lengths[i] for i in run) <= limits.tokens


@given(st.lists(st.integers(1, 64), max_size=60), st.integers(0, 100))
def test_it_costs_no_more_than_one_run_or_one_for_each_length(lengths: list[int], run_cost: int) -> None:
    limits = Limits(texts=1000, tokens=100_000, run_cost=run_cost)
    found = cost(lengths, list(batches(lengths, limits)), limits)
    assert found <= cost(lengths, [range(len(lengths))] if lengths else [], limits)
    apart = [[i for i, n in enumerate(lengths) if n == length] for length in sorted(set(lengths))]
    assert found <= cost(lengths, apart, limits)


def test_a_short_text_is_not_padded_to_a_long_one() -> None:
    assert list(batches([5, 64, 6, 60], Limits(32, 1024, 16))) == [[1, 3], [2, 0]]
    assert list(batches([5, 6, 7, 8], Limits(32, 1024, 16))) == [[3, 2, 1, 0]]
    assert list(batches([0, 0], Limits(32, 1024, 16))) == []
