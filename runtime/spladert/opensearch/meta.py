"""What an index's `_meta` says of the field: what made its vectors, so that nothing else is mixed with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from ..bundle import Bundle
from ..errors import InputError
from ..origin import Origin, origin_of
from .keys import Keys

META_KEY = "spladert"


@dataclass(frozen=True)
class FieldMeta(Origin):
    """What made the vectors of a field.

    Attributes:
        kind: "rank_features" or "sparse_vector".
        spelling: how keys are spelled, see `Keys`.
        keys_sha256: hash of the table of keys.
        text_field: the field that holds the text.
    """

    kind: str
    spelling: str
    keys_sha256: str
    text_field: str

    deciding: ClassVar[Mapping[str, str]] = {**Origin.deciding, "keys_sha256": "key spelling"}

    @classmethod
    def of(
        cls, bundle: Bundle, keys: Keys, kind: str, *, variant: str | None = None, text_field: str = "text"
    ) -> FieldMeta:
        return cls(
            **asdict(origin_of(bundle, variant)),
            kind=kind,
            spelling=keys.spelling,
            keys_sha256=keys.sha256,
            text_field=text_field,
        )

    def described(self) -> str:
        return f"{super().described()}, keys are {self.spelling}"


def to_mapping_meta(field: str, meta: FieldMeta) -> dict[str, Any]:
    """The `_meta` of a mapping."""
    return {META_KEY: {field: asdict(meta)}}


def from_mapping(mapping: Mapping[str, Any], index: str) -> dict[str, FieldMeta]:
    """What the `_meta` of an index's mapping says, by field; empty if spladert did not make the index.

    Raises:
        InputError: it is there and cannot be read.
    """
    written = mapping.get("_meta", {}).get(META_KEY, {})
    names = [field.name for field in fields(FieldMeta)]
    try:
        return {field: FieldMeta(**{name: value[name] for name in names}) for field, value in written.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"the _meta of index {index!r} is not what this spladert writes ({error!r}): "
            "it is altered or of another version; upgrade spladert, or make the index again"
        ) from None
