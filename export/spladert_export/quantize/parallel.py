"""Independent parts of the work, one to a core."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from spladert.engine.machine import usable_cores

T = TypeVar("T")
R = TypeVar("R")


def map_parts(function: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """`function` of each part, in their order.

    An operator of PyTorch keeps to one thread meanwhile: over the thousands of small ones that quantization is, its
    threads wait for each other longer than they work (on a machine that others use too, 4 to 40 times as long).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(usable_cores()[0]) as pool:
            return list(pool.map(function, parts))
    finally:
        torch.set_num_threads(threads)
