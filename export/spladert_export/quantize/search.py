"""How a layer's activation is smoothed and rounded to 8 bits: the choice with the least error of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration import Observed
from ..graph.edit import Floats
from .sites import Site, largest_weights
from .smooth import smoothing_factors

ALPHAS = (None, 0.3, 0.5, 0.65, 0.8)  # SmoothQuant's alpha, None for no smoothing
CLIP_RATIOS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the observed range; what lies outside is cut


@dataclass(frozen=True)
class Grid:
    """The integers of a scheme.

    Attributes:
        lowest, highest: of an activation's integers.
        activation_scale: the scale and zero point for the range [low, high]: x ~ (integer - zero_point) * scale.
        quantize_weight: a weight float32 [K, N] as int8 integers and scales [N]: weight ~ integers * scales.
    """

    lowest: int
    highest: int
    activation_scale: Callable[[float, float], tuple[float, int]]
    quantize_weight: Callable[[Floats], tuple[NDArray[np.int8], NDArray[np.floating[Any]]]]

    def round_trip(self, x: Floats, scale: float, zero_point: int) -> Floats:
        integers = np.clip(np.rint(x / scale) + zero_point, self.lowest, self.highest)
        return np.asarray((integers - zero_point) * scale, dtype=np.float32)


@dataclass(frozen=True)
class Choice:
    """How a site is quantized: x / smoothing factors ~ (q - zero_point) * scale.

    Attributes:
        site: the site's role.
        alpha: SmoothQuant's, None without smoothing.
        clip_ratio: the share of the observed range that the integers cover.
        scale, zero_point: of the activation's integers.
        error: |Y' - Y| / |Y| of a sample of the layers' outputs on the calibration rows.
    """

    site: str
    alpha: float | None
    clip_ratio: float
    scale: float
    zero_point: int
    error: float


def choose(
    site: Site, observed: Observed, grid: Grid, *, alphas: Sequence[float | None] = ALPHAS
) -> tuple[Choice, Floats | None]:
    """The best alpha at the whole range, then ever smaller ranges as long as they get better; and the factors.

    The factors, float32 [K], are None without smoothing. `alphas` is (None,) where nothing takes factors.
    """
    weights = [linear.sample() for linear in site.linears]  # [K, N] each
    exact = [observed.rows @ weight for weight in weights]
    heaviest = largest_weights(site)

    def rounded_weights(factors: Floats | None) -> list[Floats]:
        found = []
        for weight in weights:
            integers, scales = grid.quantize_weight(weight if factors is None else weight * factors[:, None])
            found.append(np.multiply(integers, scales, dtype=np.float32))
        return found

    def attempt(alpha: float | None, factors: Floats | None, rounded: list[Floats], clip_ratio: float) -> Choice:
        divisor = np.float32(1) if factors is None else factors
        low, high = float((observed.low / divisor).min()), float((observed.high / divisor).max())
        scale, zero_point = grid.activation_scale(low * clip_ratio, high * clip_ratio)
        rows = grid.round_trip(observed.rows / divisor, scale, zero_point)
        error = relative_error([rows @ weight for weight in rounded], exact)
        return Choice(site.role, alpha, clip_ratio, scale, zero_point, error)

    best, factors, rounded = None, None, None
    for alpha in alphas:
        candidate_factors = None if alpha is None else smoothing_factors(observed, heaviest, alpha)
        candidate_rounded = rounded_weights(candidate_factors)
        candidate = attempt(alpha, candidate_factors, candidate_rounded, CLIP_RATIOS[0])
        if best is None or candidate.error < best.error:
            best, factors, rounded = candidate, candidate_factors, candidate_rounded
    assert best is not None
    assert rounded is not None
    for clip_ratio in CLIP_RATIOS[1:]:
        candidate = attempt(best.alpha, factors, rounded, clip_ratio)
        if candidate.error >= best.error:
            break
        best = candidate
    return best, factors


def relative_error(made: Sequence[Floats], exact: Sequence[Floats]) -> float:
    """|made - exact| / |exact| over all parts."""
    error = sum(float(np.linalg.norm(y - x)) ** 2 for y, x in zip(made, exact, strict=True))
    whole = sum(float(np.linalg.norm(x)) ** 2 for x in exact)
    return float(np.sqrt(error / (whole or 1.0)))
