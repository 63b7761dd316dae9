"""A bar of what `SparseEncoder.encode` has done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from .vectors import TopK


@contextmanager
def counting(total: int, shown: bool) -> Iterator[Callable[[Iterable[TopK]], Iterable[TopK]]]:
    """A progress bar over `total` texts on standard error, or nothing; gives what counts batches as they pass."""
    if not shown:
        yield lambda results: results
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("encoding", total=total)

        def counted(results: Iterable[TopK]) -> Iterator[TopK]:
            for result in results:
                yield result
                bar.advance(task, len(result.positions))

        yield counted
