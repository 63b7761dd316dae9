"""Finding, opening and checking a bundle: a folder with `spladert.json`, `tokenizer.json` and a graph per variant."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..errors import BundleError, InputError
from .hub import HubRepository
from .manifest import FILE_NAME, BundleFile, Manifest, Variant
from .onnx_files import external_files

DEFAULT_BUNDLE = Path(__file__).parent.parent / "default_model"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. Its files are checked when they are used.

    Attributes:
        path: its folder.
        manifest: what is in it.
        origin: what `open_bundle` takes to open it again, here or on another machine, (bundle, revision); None is the
            folder.
        hub: where files come from that are not in the folder yet, each when it is used.
    """

    path: Path
    manifest: Manifest
    origin: tuple[str | None, str | None] | None = None
    hub: HubRepository | None = None

    def tokenizer_json(self) -> str:
        """The text of the tokenizer file, checked against the manifest."""
        path = self._sized(self.manifest.tokenizer)
        _hash(self.manifest.tokenizer, path)
        return path.read_text(encoding="utf-8")

    def query_table(self) -> Path | None:
        """The path of the query table, checked against the manifest; None where the bundle has none."""
        if self.manifest.query_table is None:
            return None
        path = self._sized(self.manifest.query_table)
        _hash(self.manifest.query_table, path)
        return path

    def is_fetched(self, variant: Variant) -> bool:
        """Whether nothing of a variant has to be downloaded before it runs."""
        return self.hub is None or all((self.path / file.name).is_file() for file in variant.files)

    def graph(self, variant: Variant) -> Path:
        """The path of a variant's graph once all its files are checked against the manifest.

        Raises:
            BundleError: a file is missing, truncated or altered, or the graph names data that is not the variant's.
        """
        with self.checking(variant) as path:
            return path

    @contextmanager
    def checking(self, variant: Variant) -> Iterator[Path]:
        """The path of a variant's graph for the block, at whose end all its files are checked.

        Sizes and the graph itself are checked before the block, and its data while the block runs, so that the hash
        of the weights costs no time where a session starts meanwhile.

        Raises:
            BundleError: as `graph`; if data is altered, in place of what the block raised.
        """
        graph, *data = [(file, self._sized(file)) for file in variant.files]
        _hash(*graph)
        strangers = sorted(external_files(graph[1]) - {file.name for file in variant.files})
        if strangers:
            raise BundleError(
                f"{graph[1]} reads weights from {strangers[0]!r}, which is not a file of the bundle; export it again"
            )
        if not data:
            yield graph[1]
            return
        from concurrent.futures import ThreadPoolExecutor  # 10 ms that a bundle without data files does not need

        with ThreadPoolExecutor(1) as pool:
            hashing = [pool.submit(_hash, *file) for file in data]
            try:
                yield graph[1]
            finally:
                for file in hashing:
                    file.result()

    def _sized(self, file: BundleFile) -> Path:
        if PurePath(file.name).name != file.name or "\\" in file.name or file.name in ("", ".", ".."):
            raise BundleError(f"{self.path / FILE_NAME} names a file outside the bundle: {file.name!r}; do not use it")
        path = self.path / file.name
        if self.hub is not None and not path.is_file():
            self.hub.fetch(file.name)
        if not path.is_file():
            raise BundleError(f"{path} is missing from the bundle; copy or export it again")
        size = path.stat().st_size
        if size != file.bytes:
            raise BundleError(f"{path} has {size} bytes instead of {file.bytes}: truncated or altered; copy it again")
        return path


def _hash(file: BundleFile, path: Path) -> None:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise BundleError(f"{path} is altered: its sha256 is not the one in {FILE_NAME}; copy or export it again")


def open_bundle(bundle: str | Path | None = None, *, revision: str | None = None) -> Bundle:
    """Open a bundle by folder, by hub id, or the embedded default.

    Of a hub repository only the manifest is downloaded; the other files are when they are used.

    Args:
        bundle: a folder, else the id of a hub repository that holds a bundle; None opens the default model that comes
            with the package.
        revision: branch, tag or commit of a hub repository.

    Raises:
        BundleError: nothing is there, or it is not a bundle, or it is a newer one, or the hub does not give it.
        InputError: `bundle` is neither str nor path, or a revision of what is no hub repository.
    """
    if not isinstance(bundle, str | os.PathLike | None):
        raise InputError(f"bundle is {type(bundle).__name__}; give a folder or a hub id, or leave it out")
    origin: tuple[str | None, str | None] | None = None
    hub = None
    if bundle is None:
        path, origin = DEFAULT_BUNDLE, (None, None)
        if not path.is_dir():
            raise BundleError("this spladert comes without a default model: name a bundle folder or a hub id")
    elif os.path.exists(bundle):  # unlike Path.exists, False for a name too long for the file system
        path = Path(bundle)
    else:
        path = HubRepository(str(bundle), revision).fetch(FILE_NAME).parent
        hub = HubRepository(str(bundle), path.name)  # all files from one commit, whatever becomes of the branch
        origin = hub.id, hub.revision
    if revision is not None and hub is None:
        raise InputError(f"revision {revision!r} is for hub ids, and {path} is a folder; leave it out")
    manifest_path = path / FILE_NAME
    if not path.is_dir():
        raise BundleError(f"{path} is a file, not a bundle folder; give the folder that holds {FILE_NAME}")
    if not manifest_path.is_file():
        hint = (
            f"it looks like a checkpoint: make a bundle of it with spladert export {path} OUT"
            if (path / "config.json").is_file()
            else "give the folder that spladert export wrote"
        )
        raise BundleError(f"{path} is not a bundle, {FILE_NAME} is missing: {hint}")
    try:
        text = manifest_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{manifest_path} cannot be read: {error}") from error
    return Bundle(path, Manifest.from_json(text, where=str(manifest_path)), origin, hub)
