"""Iterating ahead in a thread, so that the stages of a job overlap."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class StoppedError(Exception):
    """The other side of a stage has gone."""


class Ahead(Iterator[T], Generic[T]):
    """The items of an iterable, made one ahead of the consumer in a thread of its own.

    An error of the iterable is raised by `next` after the items before it. Nothing is made before `start`, and nothing
    more after `stop`: whoever waits in `next` then gets a `StoppedError`.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self._changed = threading.Condition()
        self._item: list[T] = []  # at most one
        self._error: BaseException | None = None
        self._ended = self._stopped = False
        # A daemon: it may be waiting for input that never comes when the program ends.
        self._thread = threading.Thread(target=self._run, name="spladert-stage", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let both sides go; the thread ends when its iterable gives the next item."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def until_stopped(self, items: Iterable[S]) -> Iterator[S]:
        """The items, and a `StoppedError` once this is stopped."""
        for item in items:
            if self._stopped:
                raise StoppedError
            yield item

    def join(self) -> None:
        """Wait for the thread to end."""
        if self._thread.ident is not None:
            self._thread.join()

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(self._may_take)
            if self._stopped:
                raise StoppedError
            if self._item:
                self._changed.notify_all()
                return self._item.pop()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def _may_take(self) -> bool:
        return bool(self._item) or self._ended or self._stopped

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._put(item)
        except StoppedError:
            pass
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: T) -> None:
        self._changed.wait_for(lambda: not self._item or self._stopped)
        if self._stopped:
            raise StoppedError
        self._item.append(item)
        self._changed.notify_all()
