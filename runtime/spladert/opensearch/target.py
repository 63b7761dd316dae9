"""What a URL of OpenSearch names: an index, its field and how it is made; and opening or making that index."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..bundle import Bundle
from ..errors import InputError
from ..stores import StoreUrl
from ..vectors import SparseVectors
from .client import has_analyzer
from .index import Ceilings, Kind, field_name, index_body, kind_of
from .keys import Keys, keys_of
from .meta import FieldMeta, from_mapping, to_mapping_meta
from .renumber import needs_numbers, read_numbers, settle_numbers

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

SETTINGS = ("number_of_shards", "number_of_replicas")
PARAMETERS = ("approximate_threshold", "n_postings", "cluster_ratio", "summary_prune_ratio")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """What the options of a URL say.

    Attributes:
        field: of the vectors.
        kind: of the field, where the index is to be made; None takes rank_features.
        spelling: of the keys, where the index is to be made; None takes what fits the kind.
        text_field: of the text.
        analyzer: of the text; None takes nori where the cluster has it, else cjk.
        settings: of the index that is to be made.
        parameters: of a sparse_vector that is to be made.
    """

    field: str = "sparse"
    kind: Kind | None = None
    spelling: str | None = None
    text_field: str = "text"
    analyzer: str | None = None
    settings: Mapping[str, int] = dataclasses.field(default_factory=dict)
    parameters: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, url: StoreUrl) -> Target:
        """Read a URL's options.

        Raises:
            InputError: an option that does not exist, or of a value that it cannot have.
        """
        options = url.checked_options("field", "kind", "keys", "text", "analyzer", *SETTINGS, *PARAMETERS)
        return cls(
            field=field_name(options.get("field", "sparse")),
            kind=kind_of(options["kind"]) if "kind" in options else None,
            spelling=options.get("keys"),
            text_field=field_name(options.get("text", "text")),
            analyzer=options.get("analyzer"),
            settings={name: _whole_number(options, name) for name in SETTINGS if name in options},
            parameters={name: _plain(_number(options, name)) for name in PARAMETERS if name in options},
        )


def _number(options: Mapping[str, str], name: str) -> float:
    try:
        number = float(options[name])
    except ValueError:
        raise InputError(f"the URL's {name} is {options[name]!r}; give a number") from None
    if not 0 <= number < 1e9:
        raise InputError(f"the URL's {name} is {options[name]}; give a number of 0 to 1e9")
    return number


def _whole_number(options: Mapping[str, str], name: str) -> int:
    number = _number(options, name)
    if not number.is_integer():
        raise InputError(f"the URL's {name} is {options[name]}; give a whole number")
    return int(number)


def _plain(number: float) -> float:
    return int(number) if number.is_integer() else number


@dataclass(frozen=True)
class OpenedField:
    """A field of an index that is there.

    Attributes:
        index: the index's own name, where an alias was asked for.
        meta: what made it.
        keys: how it spells tokens.
    """

    index: str
    meta: FieldMeta
    keys: Keys


def read_field(client: OpenSearch, url: StoreUrl, target: Target) -> tuple[str, FieldMeta | None, str | None] | None:
    """The index's own name, what its `_meta` says of the field, and the field's type; None if there is no index.

    Raises:
        InputError: the name is an alias of several indexes, or the `_meta` cannot be read.
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    from opensearchpy.exceptions import NotFoundError

    try:
        answer = client.indices.get_mapping(index=url.name)
    except NotFoundError:
        return None
    if len(answer) != 1:
        raise InputError(f"{url} is a name of {len(answer)} indexes ({', '.join(sorted(answer))}); name one")
    ((index, content),) = answer.items()
    mapping = content.get("mappings", {})
    return index, from_mapping(mapping, index).get(target.field), _type(mapping, target.field)


def _type(mapping: Mapping[str, Any], name: str) -> str | None:
    found = mapping.get("properties", {}).get(name)
    return None if found is None else str(found.get("type"))


def keys_for(client: OpenSearch, index: str, meta: FieldMeta, bundle: Bundle) -> Keys:
    """The keys of an index that is there, for a bundle.

    Raises:
        InputError: the numbers of its tokens are gone or damaged.
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    if meta.spelling == "numbers":
        return read_numbers(client, index)
    return keys_of(bundle, "tokens" if meta.spelling == "tokens" else "ids")


def open_field(
    client: OpenSearch, url: StoreUrl, target: Target, bundle: Bundle, *, variant: str | None = None
) -> OpenedField | None:
    """The field of an index that is there, for a bundle's vectors; None if there is no index.

    An empty index that spladert did not make is taken too if the field's type is one for vectors.

    Raises:
        InputError: the index is another model's, or nothing says whose it is, or it does not fit the URL's options.
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    found = read_field(client, url, target)
    if found is None:
        return None
    index, meta, kind = found
    if meta is None:
        meta = _adopt(client, url, target, bundle, index, kind, variant)
    keys = keys_for(client, index, meta, bundle)
    asked = FieldMeta.of(bundle, keys, meta.kind, variant=variant, text_field=meta.text_field)
    meta.check(asked, f"field {target.field!r} of {url}")
    wanted = {"kind": (target.kind, meta.kind), "keys": (target.spelling, meta.spelling)}
    for name, (wish, there) in wanted.items():
        if wish is not None and wish != there and there != "numbers":
            raise InputError(f"{url} has {name} {there}, and {wish} is asked: leave it out, or make a new index")
    return OpenedField(index, meta, keys)


def _adopt(
    client: OpenSearch, url: StoreUrl, target: Target, bundle: Bundle, index: str, kind: str | None, variant: str | None
) -> FieldMeta:
    if kind != "rank_features":
        there = "no such field" if kind is None else f"a field of type {kind}"
        raise InputError(
            f"{url} is there without a word on what made it, and has {there} ({target.field!r}): name another index, "
            "or delete it and let it be made"
        )
    if client.count(index=index)["count"]:
        raise InputError(
            f"{url} has documents and no word on what made their vectors (_meta of its mapping): "
            "they might be another model's; fill a new index"
        )
    meta = FieldMeta.of(bundle, _fresh_keys(target, bundle), kind, variant=variant, text_field=target.text_field)
    client.indices.put_mapping(index=index, body={"_meta": to_mapping_meta(target.field, meta)})
    return meta


def _fresh_keys(target: Target, bundle: Bundle) -> Keys:
    default = "tokens" if (target.kind or "rank_features") == "rank_features" else "ids"
    return keys_of(bundle, target.spelling or default)  # type: ignore[arg-type]  # checked there


def make_index(
    client: OpenSearch,
    url: StoreUrl,
    target: Target,
    bundle: Bundle,
    sample: SparseVectors | None,
    *,
    variant: str | None = None,
) -> OpenedField:
    """Make the index, or take the one that another process makes at the same time.

    Args:
        sample: vectors of some of the documents to come, which a sparse_vector needs.

    Raises:
        InputError: the options do not fit each other, or the sample has no entries.
        opensearchpy.OpenSearchException: the cluster refuses, or does not answer.
    """
    from opensearchpy.exceptions import RequestError

    kind = target.kind or "rank_features"
    ceilings = None
    if kind == "sparse_vector" and sample is not None and len(sample.values):
        ceilings = Ceilings.measured(sample)
    if kind == "sparse_vector" and needs_numbers(bundle.manifest.vocabulary_size) and sample is not None:
        keys = settle_numbers(client, url.name, sample)
    else:
        keys = _fresh_keys(target, bundle)
    analyzer = target.analyzer or ("nori" if has_analyzer(client, "nori") else "cjk")
    body = index_body(
        bundle,
        target.field,
        kind,
        keys=keys,
        ceilings=ceilings,
        variant=variant,
        text_field=target.text_field,
        analyzer=analyzer,
        settings=target.settings,
        parameters=target.parameters,
    )
    try:
        client.indices.create(index=url.name, body=body)
    except RequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
    else:
        _log.info("%s: made as %s, keys are %s, text by %s, %s", url, kind, keys.spelling, analyzer, ceilings)
    opened = open_field(client, url, target, bundle, variant=variant)
    if opened is None:
        raise InputError(f"{url} is gone again right after it was made; look at who deletes it")
    return opened
