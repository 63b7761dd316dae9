"""Cores of a machine for one worker alone, as long as it lives."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger("spladert")


class Cores:
    """Cores that this process holds, and keeps to. Other workers of the machine get others.

    A core is held by a lock on a file, which the system takes back when the process ends, however it ends. Schedulers
    such as Ray count cores, and do not say which.
    """

    def __init__(self, count: int, folder: Path | None = None) -> None:
        """Take `count` of the cores that are free; with fewer than that the process stays on all of them."""
        self.folder = folder or Path(tempfile.gettempdir()) / f"spladert-cores-{os.getuid()}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.held: dict[int, FileLock] = {}
        self._before = os.sched_getaffinity(0)
        for core in sorted(self._before):
            if len(self.held) == count:
                break
            lock = FileLock(self.folder / f"{core}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            self.held[core] = lock
        if len(self.held) == count:
            os.sched_setaffinity(0, self.held)
        else:
            self.release()
            logger.warning("%d cores for a worker alone are not free: it shares all", count)

    def release(self) -> None:
        """Give them back."""
        os.sched_setaffinity(0, self._before)
        for lock in self.held.values():
            lock.release()
        self.held = {}
