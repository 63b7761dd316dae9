"""Bundles of the hub."""

from __future__ import annotations

from pathlib import Path

from ..errors import BundleError


def download(repo_id: str, revision: str | None) -> Path:
    """A local snapshot of a hub repository's bundle files."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=["*.json", "*.onnx", "*.data"]))
    except HFValidationError:
        raise BundleError(
            f"{repo_id} does not exist here and is no hub id (owner/name); name a bundle folder"
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BundleError(
            f"{repo_id} does not exist here and could not be downloaded from the hub ({reason}); "
            "check the name, the revision and the network, or give a bundle folder"
        ) from error
