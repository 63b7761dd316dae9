"""Prints the lowest versions that pyproject.toml declares for the runtime and its extras, as requirements."""

from __future__ import annotations

import re
import sys
import tomllib

from .paths import ROOT

EXTRAS = ("cpu", "parquet", "zstd", "evaluate", "bench", "opensearch", "search", "serve")


def lowest_versions() -> list[str]:
    """`name==version` for every `name>=version` that the runtime and EXTRAS ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    found = []
    for line in dict.fromkeys(wanted):
        match = re.fullmatch(r"([\w.-]+)>=([\d.]+)(;.*)?", line)
        if match is None:
            raise ValueError(f"{line!r} declares no lowest version")
        found.append(f"{match[1]}=={match[2]}{match[3] or ''}")
    return found


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest_versions()) + "\n")
