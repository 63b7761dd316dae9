"""A bundle: a folder with `spladert.json`, `tokenizer.json` and a graph per variant, complete and checkable."""

from .manifest import (
    FILE_NAME,
    PROMPTS,
    QUERY_TABLE,
    SCHEMA_VERSION,
    SIDE_LENGTHS,
    BundleFile,
    Manifest,
    Source,
    Variant,
)
from .open import DEFAULT_BUNDLE, Bundle, open_bundle

__all__ = [
    "DEFAULT_BUNDLE",
    "FILE_NAME",
    "PROMPTS",
    "QUERY_TABLE",
    "SCHEMA_VERSION",
    "SIDE_LENGTHS",
    "Bundle",
    "BundleFile",
    "Manifest",
    "Source",
    "Variant",
    "open_bundle",
]
