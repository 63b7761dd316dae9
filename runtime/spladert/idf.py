"""A table of query weights out of a corpus: how rare each token is, for queries without a model."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .bundle import FILE_NAME, QUERY_TABLE, Bundle, BundleFile
from .errors import InputError
from .tokenizer import load_tokenizer, tokenize

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE = "query-weights.npy"
TEXTS_AT_ONCE = 1024
WHOLE = 2**31 - 1  # tokens: no document is cut


def inverse_document_frequencies(texts: Iterable[str], bundle: Bundle) -> tuple[NDArray[np.float32], int]:
    """ln(1 + (N - n + 0.5) / (n + 0.5)) of each token that n of N texts have, float32 [vocabulary_size], and N.

    The formula is BM25's (Robertson and Zaragoza 2009, equation 3.1, with Lucene's 1 added), which Geng et al. 2024,
    arXiv:2411.04403, give queries in place of a model. Special tokens have weight 0; whole texts count.

    Raises:
        InputError: there are no texts, or one is not valid Unicode.
    """
    tokenizer = load_tokenizer(bundle.tokenizer_json(), WHOLE)
    counts = np.zeros(bundle.manifest.vocabulary_size, np.int64)
    total, remaining = 0, iter(texts)
    while batch := list(islice(remaining, TEXTS_AT_ONCE)):
        for ids in tokenize(tokenizer, batch, special_tokens=False).input_ids:
            counts[list(set(ids))] += 1
        total += len(batch)
    if total == 0:
        raise InputError("there are no documents to count tokens in; give a corpus with at least one")
    weights = np.log1p((total - counts + 0.5) / (counts + 0.5)).astype(np.float32)
    weights[list(bundle.manifest.special_token_ids)] = 0
    return weights, total


def with_query_table(bundle: Bundle, weights: NDArray[np.float32], out: Path) -> Path:
    """A copy of the bundle at `out` whose queries are looked up in `weights`; `bundle` stays as it is.

    Raises:
        InputError: `out` is taken.
        BundleError: a file of the bundle is missing or altered.
    """
    if out.exists():
        raise InputError(f"{out} exists; choose another folder")
    making = out.with_name(f".{out.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        bundle.tokenizer_json()
        shutil.copyfile(bundle.path / bundle.manifest.tokenizer.name, making / bundle.manifest.tokenizer.name)
        for variant in bundle.manifest.variants:
            bundle.graph(variant)
            for file in variant.files:
                shutil.copyfile(bundle.path / file.name, making / file.name)
        if (bundle.path / "README.md").is_file():  # the model card, and the license in it, go with the weights
            shutil.copyfile(bundle.path / "README.md", making / "README.md")
        content = io.BytesIO()
        np.save(content, weights)
        (making / TABLE).write_bytes(content.getvalue())
        digest = hashlib.sha256(content.getvalue()).hexdigest()
        manifest = replace(
            bundle.manifest,
            query_table=BundleFile(TABLE, len(content.getvalue()), digest),
            requires=tuple(dict.fromkeys([*bundle.manifest.requires, QUERY_TABLE])),
        )
        (making / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
        making.rename(out)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return out
