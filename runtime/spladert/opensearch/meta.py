"""What an index's `_meta` says of the field: what made its vectors, so that nothing else is mixed with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..bundle import Bundle
from ..errors import InputError
from .keys import Keys

META_KEY = "spladert"

# What must be alike for two vectors to be comparable, and what it is called in an error.
_DECIDING = {
    "weights_sha256": "weights",
    "tokenizer_sha256": "tokenizer",
    "excluded_sha256": "exclusions",
    "keys_sha256": "key spelling",
}


@dataclass(frozen=True)
class FieldMeta:
    """What made the vectors of a field.

    Attributes:
        kind: "rank_features" or "sparse_vector".
        weights_sha256: hash of the checkpoint's weights.
        tokenizer_sha256: hash of the tokenizer.
        excluded_sha256: hash of the ids that are never given.
        spelling: how keys are spelled, see `Keys`.
        keys_sha256: hash of the table of keys.
        source: the checkpoint's name.
        bundle: what opens the bundle again, None for the one that comes with spladert.
        revision: of a hub id.
        variant: the variant that filled the index first; another one of the same weights may go on or ask.
        text_field: the field that holds the text.
    """

    kind: str
    weights_sha256: str
    tokenizer_sha256: str
    excluded_sha256: str
    spelling: str
    keys_sha256: str
    source: str
    bundle: str | None
    revision: str | None
    variant: str | None
    text_field: str

    @classmethod
    def of(
        cls, bundle: Bundle, keys: Keys, kind: str, *, variant: str | None = None, text_field: str = "text"
    ) -> FieldMeta:
        manifest = bundle.manifest
        origin, revision = bundle.origin or (str(bundle.path.absolute()), None)
        return cls(
            kind=kind,
            weights_sha256=manifest.source.weights_sha256,
            tokenizer_sha256=manifest.tokenizer.sha256,
            excluded_sha256=hashlib.sha256(json.dumps(sorted(manifest.excluded_token_ids)).encode()).hexdigest(),
            spelling=keys.spelling,
            keys_sha256=keys.sha256,
            source=manifest.source.id,
            bundle=origin,
            revision=revision,
            variant=variant,
            text_field=text_field,
        )

    def check(self, other: FieldMeta, where: str) -> None:
        """Refuse `other`, what is about to be written to or asked of the field `where`, if it does not fit.

        Raises:
            InputError: the weights, tokenizer, exclusions or key spelling differ; the message names which.
        """
        different = [name for key, name in _DECIDING.items() if getattr(self, key) != getattr(other, key)]
        if different:
            raise InputError(
                f"{where} was made with a different {' and '.join(different)} (model {self.source!r}, keys are "
                f"{self.spelling}; now {other.source!r}, {other.spelling}): take that model, or make a new index"
            )


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
