"""A clock that says what a test tells it."""

from __future__ import annotations


class Clock:
    """Seconds that pass when they are let pass, and `step` more with every look at it."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 100.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds
