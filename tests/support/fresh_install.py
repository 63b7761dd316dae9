"""An environment with a wheel and what it declares to need, and nothing else; made without a download."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path, PurePath

from packaging.requirements import Requirement


def make_environment(folder: Path, wheel: Path, extra: str) -> Path:
    """A virtual environment in `folder`, its Python returned.

    pip installs the wheel; the distributions that the wheel needs with `extra`, and what these need, are links to those
    installed here.

    Raises:
        PackageNotFoundError: one that is needed is not installed here.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    (installed,) = importlib.metadata.distributions(name="spladert", path=[str(site)])
    for name in _needed(installed.requires or [], extra):
        for entry in _top_level(importlib.metadata.distribution(name)):
            link = site / entry.name
            if not link.exists():
                link.symlink_to(entry)
    return python


def _needed(requirements: list[str], extra: str, known: set[str] | None = None) -> Iterator[str]:
    """Names of the distributions that requirements come down to, each once."""
    known = set() if known is None else known
    for line in requirements:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name in known:
            continue
        known.add(requirement.name)
        yield requirement.name
        yield from _needed(importlib.metadata.requires(requirement.name) or [], "", known)


def _top_level(distribution: importlib.metadata.Distribution) -> set[Path]:
    """The folders and files that a distribution has in site-packages itself."""
    parts = {PurePath(file).parts[0] for file in distribution.files or ()}
    return {Path(str(distribution.locate_file(part))) for part in parts - {"..", "__pycache__"}}
