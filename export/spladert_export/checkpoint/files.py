"""The small files of a checkpoint, in a folder or on the hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

from spladert import ExportError
from spladert.bundle.hub import download, root_cause


@dataclass(frozen=True)
class CheckpointFiles:
    """Where a checkpoint is: a folder, or a hub id at a revision."""

    source: str
    revision: str | None

    @classmethod
    def at(cls, source: str, revision: str | None) -> CheckpointFiles:
        """The files of `source`.

        Raises:
            ExportError: there is no such folder, it is no checkpoint, or a revision is given for a folder.
        """
        folder = Path(source)
        if not folder.exists() and (source.startswith((".", "/", "~")) or source.count("/") > 1):
            raise ExportError(f"{source} does not exist; give a checkpoint's folder or a hub id (owner/name)")
        if folder.is_file():
            raise ExportError(f"{source} is a file; give the checkpoint's folder, with config.json, or a hub id")
        if folder.exists() and revision is not None:
            raise ExportError(f"revision {revision!r} is for hub ids, and {source} is a folder; leave it out")
        return cls(source, revision)

    @property
    def is_folder(self) -> bool:
        return Path(self.source).exists()

    def path(self, name: str) -> Path | None:
        """The file `name` (with its folder, as in "1_SpladePooling/config.json"), or None where there is none.

        Raises:
            ExportError: the hub cannot be asked, and its cache does not know whether the file exists.
        """
        if self.is_folder:
            path = Path(self.source) / name
            return path if path.is_file() else None
        try:
            return download(self.source, name, self.revision)
        except HFValidationError:
            raise ExportError(
                f"{self.source!r} does not exist and is no hub id; give a checkpoint's folder or a hub id (owner/name)"
            ) from None
        except Exception as error:  # the hub client raises many unrelated classes, and those of its HTTP library
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                return None
            known = try_to_load_from_cache(self.source, name, revision=self.revision)
            if known is not None and not isinstance(known, str):  # the cache knows that the hub has no such file
                return None
            why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else root_cause(error)
            raise ExportError(
                f"{self.source} cannot be loaded: its {name} is not in the cache, and the hub cannot be asked ({why}); "
                "check the name, the revision, the network and HF_ENDPOINT, or give a checkpoint's folder"
            ) from error

    def commit(self, name: str) -> str | None:
        """The commit that the hub's file `name` is of; None for a folder.

        Raises:
            ExportError: as `path`.
        """
        path = None if self.is_folder else self.path(name)
        return None if path is None else path.parts[path.parts.index("snapshots") + 1]

    def json(self, name: str) -> Any:
        """What the JSON file `name` holds, or None where there is none.

        Raises:
            ExportError: it is not JSON, or as `path`.
        """
        path = self.path(name)
        if path is None:
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ExportError(f"{self.source}: {name} is not valid JSON ({error}); save the checkpoint again") from None

    def settings(self, name: str) -> dict[str, Any]:
        """The JSON object in the file `name`; empty where there is none.

        Raises:
            ExportError: it holds something else, or as `json`.
        """
        found = self.json(name)
        if found is not None and not isinstance(found, dict):
            raise ExportError(f"{self.source}: {name} holds {type(found).__name__} instead of an object")
        return found or {}
