"""What made the vectors of an index, so that nothing else is mixed with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from .bundle import Bundle
from .errors import InputError


@dataclass(frozen=True)
class Origin:
    """What made the vectors of an index.

    Attributes:
        weights_sha256: hash of the checkpoint's weights.
        tokenizer_sha256: hash of the tokenizer.
        excluded_sha256: hash of the ids that are never given.
        source: the checkpoint's name.
        bundle: what opens the bundle again, None for the one that comes with spladert.
        revision: of a hub id.
        variant: the variant that filled the index first; another one of the same weights may go on or ask.
    """

    weights_sha256: str
    tokenizer_sha256: str
    excluded_sha256: str
    source: str
    bundle: str | None
    revision: str | None
    variant: str | None

    # What must be alike for two vectors to be comparable, and what it is called in an error.
    deciding: ClassVar[Mapping[str, str]] = {
        "weights_sha256": "weights",
        "tokenizer_sha256": "tokenizer",
        "excluded_sha256": "exclusions",
    }

    def check(self, other: Origin, where: str) -> None:
        """Refuse `other`, what is about to be written to or asked of `where`, if it does not fit.

        Raises:
            InputError: the weights, tokenizer or exclusions differ; the message names which.
        """
        different = [name for key, name in self.deciding.items() if getattr(self, key) != getattr(other, key)]
        if different:
            raise InputError(
                f"{where} was made with a different {' and '.join(different)} ({self.described()}; now "
                f"{other.described()}): take that model, or make a new index"
            )

    def described(self) -> str:
        """The model by its name."""
        return f"model {self.source!r}"


def origin_of(bundle: Bundle, variant: str | None = None) -> Origin:
    """What a bundle's vectors are made by."""
    manifest = bundle.manifest
    opened_by, revision = bundle.origin or (str(bundle.path.absolute()), None)
    return Origin(
        weights_sha256=manifest.source.weights_sha256,
        tokenizer_sha256=manifest.tokenizer.sha256,
        excluded_sha256=hashlib.sha256(json.dumps(sorted(manifest.excluded_token_ids)).encode()).hexdigest(),
        source=manifest.source.id,
        bundle=opened_by,
        revision=revision,
        variant=variant,
    )


def origin_from(content: object, where: str) -> Origin:
    """What `dataclasses.asdict` of an origin says, read back from an index's description `where`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return Origin(**{field.name: content[field.name] for field in fields(Origin)})  # type: ignore[index]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{where} is not what this spladert writes ({error!r}): it is altered or of another version; "
            "upgrade spladert, or make the index again"
        ) from None
