"""What `spladert.json` holds, as frozen dataclasses, and its reading and writing as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, cast

from ..errors import BundleError
from ..json_text import parse_json

SCHEMA_VERSION = 2
# Entries of `requires` that this reader acts on: a prompt, a length for each side, a table of query weights.
PROMPTS, SIDE_LENGTHS, QUERY_TABLE = "prompts", "side-lengths", "query-table"
UNDERSTOOD = frozenset({PROMPTS, SIDE_LENGTHS, QUERY_TABLE})
FILE_NAME = "spladert.json"

T = TypeVar("T")


@dataclass(frozen=True)
class BundleFile:
    """A file of the bundle; `name` is its plain name inside the folder."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """The checkpoint a bundle was made from."""

    id: str
    revision: str | None
    architecture: str
    parameters: int
    weights_sha256: str


@dataclass(frozen=True)
class Variant:
    """One graph of the bundle. `files` holds the graph first, then its external data.

    `settings` records how it was made (what a precision quantized, for instance), `fidelity` how far it was measured to
    be from the PyTorch reference.
    """

    name: str
    target: str
    precision: str
    opset: int
    files: tuple[BundleFile, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    fidelity: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The whole of `spladert.json`.

    Attributes:
        max_length: most tokens of a text that the graph takes.
        query_max_length, document_max_length: where one side of a search is cut shorter.
        prompts: what goes before a text, by side: "query", "document", and "default" for what has none of its own.
        query_table: weights of the vocabulary's tokens, float32 [vocabulary_size] in numpy's format, where queries are
            looked up in place of being run through the graph.
        requires: what a reader must understand to give this bundle's vectors; one that does not know an entry must
            refuse the bundle, for it would give others. Since schema 2.
    """

    source: Source
    max_length: int
    top_k: int
    vocabulary_size: int
    pad_token_id: int
    special_token_ids: tuple[int, ...]
    excluded_token_ids: tuple[int, ...]
    tokenizer: BundleFile
    variants: tuple[Variant, ...]
    made_with: dict[str, str]
    query_max_length: int | None = None
    document_max_length: int | None = None
    prompts: dict[str, str] = field(default_factory=dict)
    query_table: BundleFile | None = None
    requires: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str = FILE_NAME) -> Manifest:
        """Parse `spladert.json`.

        Raises:
            BundleError: not JSON, of a newer schema, it requires what is not known here, a field is missing or of the
                wrong type, or two variants have one name.
        """
        try:
            raw = parse_json(text)
        except ValueError as error:
            raise BundleError(
                f"{where} is not valid JSON ({error}): it is truncated or altered; export it again"
            ) from None
        if not isinstance(raw, dict):
            raise BundleError(f"{where} holds {type(raw).__name__} instead of an object; export the bundle again")
        version = _get(raw, "schema_version", int, where)
        if version > SCHEMA_VERSION:
            raise BundleError(
                f"{where} has schema version {version}; this spladert reads versions up to {SCHEMA_VERSION}: "
                "upgrade it with pip install -U spladert"
            )
        if version < 1:
            raise BundleError(f"{where} has schema version {version}, which never existed; export the bundle again")
        requires = _strings(raw, "requires", where) if version > 1 else ()
        if version == 1:
            raw = {**raw, **dict.fromkeys(("query_max_length", "document_max_length", "query_table", "prompts"))}
        unknown = [name for name in requires if name not in UNDERSTOOD]
        if unknown:
            raise BundleError(
                f"{where} requires {unknown[0]!r}, which this spladert does not know; it would give other vectors: "
                "upgrade it with pip install -U spladert"
            )
        source = _get(raw, "source", dict, where)
        listed = _get(raw, "variants", list, where)
        variants = tuple(_variant(_checked(item, dict, "variants", where), where) for item in listed)
        names = [variant.name for variant in variants]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise BundleError(f"{where} lists the variant {repeated[0]!r} twice; export the bundle again")
        return cls(
            source=Source(
                id=_get(source, "id", str, where),
                revision=cast("str | None", source.get("revision")),
                architecture=_get(source, "architecture", str, where),
                parameters=_get(source, "parameters", int, where),
                weights_sha256=_get(source, "weights_sha256", str, where),
            ),
            max_length=_count(raw, "max_length", where),
            top_k=_count(raw, "top_k", where),
            vocabulary_size=_count(raw, "vocabulary_size", where),
            pad_token_id=_get(raw, "pad_token_id", int, where),
            special_token_ids=_ids(raw, "special_token_ids", where),
            excluded_token_ids=_ids(raw, "excluded_token_ids", where),
            tokenizer=_file(_get(raw, "tokenizer", dict, where), where),
            variants=variants,
            made_with=_get(raw, "made_with", dict, where),
            query_max_length=_optional(raw, "query_max_length", int, where),
            document_max_length=_optional(raw, "document_max_length", int, where),
            prompts=_prompts(raw, where),
            query_table=None if (table := _optional(raw, "query_table", dict, where)) is None else _file(table, where),
            requires=requires,
        )


def _variant(raw: dict[str, Any], where: str) -> Variant:
    files = _get(raw, "files", list, where)
    if not files:
        raise BundleError(f"{where}: a variant lists no files; export the bundle again")
    return Variant(
        name=_get(raw, "name", str, where),
        target=_get(raw, "target", str, where),
        precision=_get(raw, "precision", str, where),
        opset=_get(raw, "opset", int, where),
        files=tuple(_file(_checked(item, dict, "files", where), where) for item in files),
        settings=_get(raw, "settings", dict, where),
        fidelity=_get(raw, "fidelity", dict, where),
    )


def _file(raw: dict[str, Any], where: str) -> BundleFile:
    return BundleFile(
        name=_get(raw, "name", str, where), bytes=_get(raw, "bytes", int, where), sha256=_get(raw, "sha256", str, where)
    )


def _ids(raw: dict[str, Any], name: str, where: str) -> tuple[int, ...]:
    return tuple(_checked(item, int, name, where) for item in _get(raw, name, list, where))


def _strings(raw: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    return tuple(_checked(item, str, name, where) for item in _get(raw, name, list, where))


def _prompts(raw: dict[str, Any], where: str) -> dict[str, str]:
    prompts = _optional(raw, "prompts", dict, where) or {}
    return {side: _checked(prompt, str, "prompts", where) for side, prompt in prompts.items()}


def _optional(raw: dict[str, Any], name: str, kind: type[T], where: str) -> T | None:
    return None if raw.get(name) is None else _get(raw, name, kind, where)


def _count(raw: dict[str, Any], name: str, where: str) -> int:
    count = _get(raw, name, int, where)
    if not 1 <= count < 2**31:  # ids are int32
        raise BundleError(f"{where}: {name!r} is {count}, which cannot be; export the bundle again")
    return count


def _get(raw: dict[str, Any], name: str, kind: type[T], where: str) -> T:
    if name not in raw:
        raise BundleError(f"{where} has no {name!r}: it is truncated or altered; export the bundle again")
    return _checked(raw[name], kind, name, where)


def _checked(value: Any, kind: type[T], name: str, where: str) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BundleError(
            f"{where}: {name!r} holds {type(value).__name__} instead of {kind.__name__}; export the bundle again"
        )
    return value
