"""The smoothing and the range of a site's activation with the least error of its layers' outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from .sites import Floats
from .smooth import STRENGTHS

RANGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # shares of the observed range


class Choice(Protocol):
    """How a site is quantized, and what that costs."""

    @property
    def strength(self) -> float | None: ...
    @property
    def error(self) -> float: ...


C = TypeVar("C", bound=Choice)
Attempt = Callable[[float | None, float], tuple[C, Floats | None]]


def least_error(attempt: Attempt[C], *, smoothable: bool) -> tuple[C, Floats | None]:
    """The best of the strengths at the whole range, then of ever smaller ranges, as long as they get better.

    Args:
        attempt: quantizes with a strength (None: no smoothing) and a share of the range; gives what was chosen and the
            factors of its smoothing.
        smoothable: whether there is something to fold factors into.
    """
    strengths = STRENGTHS if smoothable else (None,)
    best = min((attempt(strength, RANGES[0]) for strength in strengths), key=lambda found: found[0].error)
    for share in RANGES[1:]:
        candidate = attempt(best[0].strength, share)
        if candidate[0].error >= best[0].error:
            break
        best = candidate
    return best
