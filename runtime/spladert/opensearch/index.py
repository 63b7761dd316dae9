"""The body that creates an index: mappings, settings and what made it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..bundle import Bundle
from ..errors import InputError
from ..vectors import SparseVectors
from .keys import Keys, keys_of
from .meta import FieldMeta, to_mapping_meta

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["rank_features", "sparse_vector"]
WORDS = 256  # of the vocabulary, by which a bundle's range is measured
MAX_NUMBER = 32_767  # the largest id of a sparse_vector that survives OpenSearch up to 3.8
# Of a sparse_vector, measured with docs/opensearch.md: OpenSearch's own are 0.0005 of the documents but at least 160,
# and 0.4; with those the exact top ten are found to 93%.
POSTINGS = 4_000
SUMMARY_PRUNE_RATIO = 0.7  # the share of a cluster's weight that its summary keeps, by which clusters are skipped


@dataclass(frozen=True)
class Ceilings:
    """The weights that a sparse_vector field maps to its largest byte; heavier ones are cut to them.

    Attributes:
        ingest: of documents (OpenSearch's default is 3).
        search: of queries (OpenSearch's default is 16).
    """

    ingest: float
    search: float

    @classmethod
    def measured(cls, documents: SparseVectors, queries: SparseVectors | None = None) -> Ceilings:
        """The largest weights of a sample, rounded up to a tenth; without queries the documents stand for them.

        Raises:
            InputError: the sample has no weight at all.
        """
        return cls(_ceiling(documents), _ceiling(documents if queries is None else queries))

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Ceilings:
        """The largest weights that a bundle gives to single words of its vocabulary, which it is loaded for.

        A word alone has nothing to share its weight with: 256 of them reached 2.3 with the model that comes with
        spladert, and so did 400 passages and 276 questions.

        Raises:
            DeviceError, DependencyError: it cannot run here.
            InputError: it gives those words no weight at all.
        """
        from ..encoder import SparseEncoder

        with SparseEncoder.from_bundle(bundle) as encoder:
            tokens = encoder.tokens[:: max(len(encoder.tokens) // WORDS, 1)].tolist()
            words = [token.removeprefix("##").lstrip("\u2581\u0120") for token in tokens]
            return cls.measured(encoder.encode_document(words), encoder.encode_query(words))


def _ceiling(vectors: SparseVectors) -> float:
    if not len(vectors.values):
        raise InputError("the sample of vectors has no entries; give vectors of some of the documents to come")
    return math.ceil(float(vectors.values.max()) * 10) / 10


def kind_of(kind: str) -> Kind:
    """`kind` if it is one.

    Raises:
        InputError: it is none.
    """
    if kind not in get_args(Kind):
        raise InputError(f"kind is {kind!r}; choose one of {', '.join(get_args(Kind))}")
    return kind  # type: ignore[return-value]


def index_body(
    bundle: Bundle,
    field: str = "sparse",
    kind: Kind = "rank_features",
    *,
    keys: Keys | None = None,
    ceilings: Ceilings | None = None,
    variant: str | None = None,
    text_field: str = "text",
    analyzer: str = "cjk",
    settings: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of a request that creates an index for a bundle's vectors.

    Args:
        bundle: an opened bundle.
        field: name of the vectors' field.
        kind: "rank_features", exact, or "sparse_vector", approximate and faster (OpenSearch 3.3 and later).
        keys: how tokens are spelled; None takes tokens for rank_features and ids for sparse_vector.
        ceilings: of a sparse_vector, which has to know the model's range: `Ceilings.measured` of some documents to
            come; None takes `Ceilings.of_bundle`, which runs the model for a second or two.
        variant: the variant that makes the vectors, which is recorded.
        text_field: name of the text's field.
        analyzer: of the text's field: "nori" where the cluster has it, else "cjk".
        settings: further settings of the index, such as {"number_of_shards": 2}.
        parameters: further parameters of the method "seismic", such as {"approximate_threshold": 100000}.

    Raises:
        InputError: an argument that does not fit the others; the message names it.
    """
    field_name(field)
    field_name(text_field)
    if field == text_field:
        raise InputError(f"the vectors and the text cannot both be in field {field!r}; name another")
    if keys is None:
        keys = keys_of(bundle, "tokens" if kind_of(kind) == "rank_features" else "ids")
    meta = FieldMeta.of(bundle, keys, kind_of(kind), variant=variant, text_field=text_field)
    if kind == "rank_features":
        if ceilings is not None or parameters:
            raise InputError("ceilings and parameters are for a sparse_vector field; leave them out")
        vectors: dict[str, Any] = {"type": "rank_features"}
        own: dict[str, Any] = {}
    else:
        vectors, own = _sparse_vector(bundle, keys, ceilings, parameters or {}), {"sparse": True}
    return {
        "settings": {"index": {**own, **(settings or {})}},
        "mappings": {
            "_meta": to_mapping_meta(field, meta),
            "properties": {field: vectors, text_field: {"type": "text", "analyzer": analyzer}},
        },
    }


def _sparse_vector(
    bundle: Bundle, keys: Keys, ceilings: Ceilings | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    if keys.spelling == "tokens":
        raise InputError("a sparse_vector field takes no tokens as keys; spell them as ids")
    largest = max(map(int, keys.ids), default=0)
    if largest > MAX_NUMBER:
        raise InputError(
            f"this vocabulary has ids up to {largest:,}, and OpenSearch up to 3.8 loses a sparse_vector index with "
            f"ids above {MAX_NUMBER:,}; renumber them: keys=numbered_keys(...)"
        )
    ceilings = ceilings or Ceilings.of_bundle(bundle)
    chosen = {
        "n_postings": POSTINGS,
        "summary_prune_ratio": SUMMARY_PRUNE_RATIO,
        "quantization_ceiling_ingest": ceilings.ingest,
        "quantization_ceiling_search": ceilings.search,
    }
    return {"type": "sparse_vector", "method": {"name": "seismic", "parameters": {**chosen, **parameters}}}


def field_name(name: str) -> str:
    """`name` if it can be a field's.

    Raises:
        InputError: it is empty, has a dot, which is a path in OpenSearch, or begins with an underscore.
    """
    if not name or "." in name or name.startswith("_"):
        raise InputError(f"{name!r} cannot be a field here; give a name without dots that begins with no underscore")
    return name
