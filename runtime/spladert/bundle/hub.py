"""Files of the hub's repositories, downloaded one by one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError


@dataclass(frozen=True)
class HubRepository:
    """A repository of the hub, at a branch, tag or commit; None is its main branch."""

    id: str
    revision: str | None = None

    def fetch(self, name: str) -> Path:
        """The local path of a file, from the hub's cache on this machine where it is there.

        The path's folder is named after the commit, and holds the commit's other files once they are fetched too.

        Raises:
            BundleError: there is no such repository, revision or file, or it cannot be downloaded.
        """
        try:
            return download(self.id, name, self.revision)
        except (
            Exception
        ) as error:  # the hub's client, its HTTP library and the file system raise many unrelated classes
            raise BundleError(self._explain(error, name)) from error

    def _explain(self, error: Exception, name: str) -> str:
        from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

        if isinstance(error, HFValidationError):
            return f"{self.id} does not exist here and is no hub id (owner/name); name a bundle folder"
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return (
                f"{self.id} on the hub has no {name}, so it is not a bundle, or not a whole one; if it is a "
                f"checkpoint, make a bundle of it with spladert export {self.id} OUT"
            )
        return (
            f"{self.id} does not exist here and could not be downloaded from the hub ({root_cause(error)}); "
            "check the name, the revision and the network, or give a bundle folder"
        )


def download(repository: str, name: str, revision: str | None) -> Path:
    """The local path of a repository's file, from the hub's cache where it is there.

    A hub that cannot be reached is an error at once; by itself the client would try for half a minute.

    Raises:
        Exception: whatever the hub's client and its HTTP library raise.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    if try_to_load_from_cache(repository, name, revision=revision) is None:
        with suppress(HfHubHTTPError):  # it answers, and the client knows what the answer means
            get_hf_file_metadata(hf_hub_url(repository, name, revision=revision))
    return Path(hf_hub_download(repository, name, revision=revision))


def root_cause(error: BaseException) -> str:
    """What went wrong, in a line: the client's own message often says only that there was an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
