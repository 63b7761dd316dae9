"""Weights as OpenSearch keeps them: only positive normal floats, with no more digits than the field holds.

A rank_features field keeps 9 significant bits of a float32 and cuts off the rest (Lucene's FeatureField). Weights are
rounded to that beforehand, to the nearest and not down, and written with 4 significant digits, which is enough to name
every one of the values that the field can hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST = np.finfo(np.float32).tiny  # the smallest normal float32
_CUT_BITS = 15  # of the 23 bits of a float32's fraction


def storable(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool [n], which weights a field takes: those that are normal and above 0.

    Raises:
        InputError: a weight is infinite or not a number.
    """
    if not np.isfinite(values).all():
        raise InputError("the model gave a weight that is infinite or not a number; try another variant")
    return values >= SMALLEST


def as_kept(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest values that a rank_features field can hold; float32 [n], of positive normal weights."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32(1 << (_CUT_BITS - 1))
    return ((bits + half) >> _CUT_BITS << _CUT_BITS).astype(np.uint32).view(np.float32)


def written(values: NDArray[np.float32]) -> list[float]:
    """Numbers of 4 significant digits, which the field reads as `as_kept(values)`.

    Rounded up, for the field cuts off: 9 bits apart is more than 4 digits apart, so the next value is never reached.
    """
    kept = as_kept(values).astype(np.float64)
    step = 10.0 ** (np.floor(np.log10(kept)) - 3)
    digits = np.ceil(np.round(kept / step, 6)) * step
    return [float(f"{number:.4g}") for number in digits.tolist()]
