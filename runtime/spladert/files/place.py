"""Where a spooled output appears: one file, or a folder of parts."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROWS_PER_PART = 2**18


@dataclass(frozen=True)
class Place:
    """A file, or a folder of parts.

    Attributes:
        path: of the file or folder; not a symlink.
        ending: of a part's name.
        rows_per_part: rows of each file of a folder; None if the place is one file.
        overwrite: replace what is there: the file, or the folder's parts.
    """

    path: Path
    ending: str
    rows_per_part: int | None = None
    overwrite: bool = False

    @property
    def partial(self) -> Path:
        """The folder that everything is in until the output is whole: beside it, or in the folder that is there.

        The latter since that folder may be another disk's.
        """
        if self.rows_per_part is not None and self.path.is_dir():
            return self.path / ".partial"
        return self.path.with_name(f"{self.path.name}.partial")

    @property
    def errors(self) -> Path:
        """The file of the bad records that were skipped."""
        return self.path.with_name(f"{self.path.name}.errors.jsonl")

    def parts(self) -> list[Path]:
        """The files of the folder that are parts, of any format."""
        return sorted(self.path.glob("part-[0-9][0-9][0-9][0-9][0-9].*"))

    def name(self, part: int) -> str:
        return f"part-{part:05}{self.ending}"

    def publish(self, files: Sequence[Path]) -> None:
        """Move the files of the output, which are alone in their folder, to their place.

        In one step, but where the folder is there already.
        """
        if self.rows_per_part is None:
            (file,) = files
            with suppress(FileNotFoundError):
                _like(file, self.path.stat())
            file.replace(self.path)
        elif not self.path.exists():
            files[0].parent.replace(self.path)
        else:
            for old in self.parts():
                old.unlink()
            for file in files:
                file.replace(self.path / file.name)


def _like(path: Path, status: os.stat_result) -> None:
    """Give a file the mode of the one it replaces, and its owner where that is allowed."""
    with suppress(OSError):
        os.chown(path, status.st_uid, status.st_gid)
    path.chmod(stat.S_IMODE(status.st_mode))
