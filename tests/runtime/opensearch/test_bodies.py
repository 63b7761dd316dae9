"""Keys, weights and bodies, checked without a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import SparseEncoder, SparseVector, SparseVectors
from spladert.bundle import open_bundle
from spladert.errors import InputError
from spladert.opensearch import (
    Ceilings,
    Keys,
    document_tokens,
    hybrid_body,
    index_body,
    keys_of,
    loss_of,
    query_body,
    query_tokens,
    two_phase,
)
from spladert.opensearch.keys import token_keys
from spladert.opensearch.target import Target
from spladert.opensearch.weights import as_kept, written
from spladert.stores import parse_store_url
from support.checkpoints import LINES


def vector(*entries: tuple[int, float]) -> SparseVector:
    return SparseVector(
        np.array([i for i, _ in entries], np.int32), np.array([weight for _, weight in entries], np.float32)
    )


def field_reads(number: float) -> float:
    """What Lucene's FeatureField keeps of a number: the upper 17 bits of the float32."""
    bits = np.float32(number).view(np.uint32) >> np.uint32(15) << np.uint32(15)
    return float(np.uint32(bits).view(np.float32))


@given(st.lists(st.text(max_size=6), unique=True, max_size=30))
def test_keys_are_unique_and_fit_the_field(tokens: list[str]) -> None:
    keys = token_keys(tokens)
    assert len(set(keys)) == len(tokens)
    assert all(key and "." not in key and "\0" not in key for key in keys)
    kept = [token for token in tokens if token and "." not in token and "\0" not in token]
    assert set(kept) <= set(keys)


def test_a_spelling_by_id_never_takes_a_tokens_name() -> None:
    assert token_keys([".", "#0", "##0", "a.b"]) == ["###0", "#0", "##0", "#3"]


@given(st.lists(st.floats(2.0**-126, 2.0**100, width=32), min_size=1))
def test_written_weights_are_read_as_the_nearest_that_the_field_keeps(weights: list[float]) -> None:
    values = np.array(weights, np.float32)
    kept = as_kept(values)
    assert np.all(np.abs(kept.astype(np.float64) - values) <= values.astype(np.float64) * 2.0**-9)
    numbers = written(values)
    assert [field_reads(number) for number in numbers] == kept.tolist()
    assert all(len(f"{number:.3e}") <= len("1.234e+100") and float(f"{number:.3e}") == number for number in numbers)


def test_only_positive_normal_weights_are_sent() -> None:
    keys = Keys("ids", np.array(["0", "1", "2"], object))
    tiny = vector((0, 1.5), (1, 1e-40), (2, 2.0**-126))
    assert document_tokens(tiny, keys).keys() == query_tokens(tiny, keys).keys() == {"0", "2"}
    for bad in (np.inf, np.nan):
        with pytest.raises(InputError, match="infinite or not a number"):
            document_tokens(vector((0, bad)), keys)


def test_entries_without_a_key_are_dropped_and_counted() -> None:
    keys = Keys("numbers", np.array(["0", None, "1"], object))
    asked = vector((0, 3.0), (1, 1.0))
    assert query_tokens(asked, keys) == {"0": 3.0}
    loss = loss_of(keys, asked)
    assert (loss.entries, loss.share) == (1, 0.25)
    both = loss + loss_of(keys, SparseVectors.from_rows([vector((2, 4.0))], 3))
    assert (both.entries, both.share) == (1, 0.125)


def test_a_vector_of_another_vocabulary_is_refused() -> None:
    with pytest.raises(InputError, match="token id 7"):
        query_tokens(vector((7, 1.0)), Keys("ids", np.array(["0"], object)))


def test_every_rank_feature_clause_is_linear(encoder: SparseEncoder) -> None:
    keys = keys_of(encoder.bundle)
    asked = encoder.encode("당뇨병 치료")
    clauses = query_body(asked, "sparse", keys=keys, plugin=False)["query"]["bool"]["should"]
    assert len(clauses) == len(asked)
    assert all(clause["rank_feature"].keys() == {"field", "linear", "boost"} for clause in clauses)


def test_a_query_with_no_known_token_is_refused(encoder: SparseEncoder) -> None:
    with pytest.raises(InputError, match="no token"):
        query_body(vector(), keys=keys_of(encoder.bundle))


def test_arguments_that_do_not_fit_are_refused(encoder: SparseEncoder) -> None:
    bundle, keys, asked = encoder.bundle, keys_of(encoder.bundle), vector((5, 1.0))
    ids = keys_of(bundle, "ids")
    for wrong, call in [
        ("kind is 'dense'", lambda: index_body(bundle, "s", "dense")),  # type: ignore[arg-type]
        ("'a.b' cannot be a field", lambda: index_body(bundle, "a.b")),
        ("cannot both be in field 'text'", lambda: index_body(bundle, "text")),
        ("takes no tokens", lambda: index_body(bundle, "s", "sparse_vector", keys=keys, ceilings=Ceilings(3, 3))),
        ("ceilings and parameters", lambda: index_body(bundle, "s", ceilings=Ceilings(3, 3))),
        ("spelling is 'words'", lambda: keys_of(bundle, "words")),  # type: ignore[arg-type]
        ("parameters are for", lambda: query_body(asked, keys=keys, parameters={"top_n": 3})),
        ("only neural search", lambda: query_body(asked, "s", "sparse_vector", keys=ids, plugin=False)),
        ("top is 0", lambda: query_body(asked, keys=keys, top=0)),
        ("takes no two-phase", lambda: two_phase("sparse_vector")),
        ("ratio of 0 to 1", lambda: two_phase(ratio=1.5)),
        ("weights are", lambda: hybrid_body("q", {}, weights=[0.5, 0.2])),
        ("blend is 'sum'", lambda: hybrid_body("q", {}, blend="sum")),  # type: ignore[arg-type]
    ]:
        with pytest.raises(InputError, match=wrong):
            call()


def test_a_vocabulary_beyond_the_limit_needs_numbers(encoder: SparseEncoder) -> None:
    wide = Keys("ids", np.array([str(i) for i in range(50_000)], object))
    with pytest.raises(InputError, match=r"ids up to 49,999.*renumber"):
        index_body(encoder.bundle, "s", "sparse_vector", keys=wide, ceilings=Ceilings(3, 3))


def test_ceilings_are_the_samples_own_largest_weights() -> None:
    documents = SparseVectors.from_rows([vector((1, 2.91), (0, 1.0))], 3)
    queries = SparseVectors.from_rows([vector((1, 3.5))], 3)
    assert Ceilings.measured(documents) == Ceilings(3.0, 3.0)
    assert Ceilings.measured(documents, queries) == Ceilings(3.0, 3.5)
    with pytest.raises(InputError, match="no entries"):
        Ceilings.measured(SparseVectors.from_rows([vector()], 3))


def test_without_ceilings_those_of_the_bundle_hold(encoder: SparseEncoder, tiny_bundle: Path) -> None:
    chosen = index_body(encoder.bundle, "s", "sparse_vector")["mappings"]["properties"]["s"]["method"]["parameters"]
    sample = encoder.encode_query(["당뇨병 치료", "헌법", "날씨", "손해배상 청구 소송", "인슐린"])
    for side in ("ingest", "search"):
        assert sample.values.max() < chosen[f"quantization_ceiling_{side}"] < 1.5 * sample.values.max()
    other = Ceilings.of_bundle(open_bundle(tiny_bundle))
    with SparseEncoder.load(tiny_bundle, threads=1, spin=False) as tiny:
        assert other.ingest == pytest.approx(float(tiny.encode(LINES).values.max()), rel=0.3)


def test_bodies_are_json(encoder: SparseEncoder) -> None:
    asked = encoder.encode("당뇨병 치료")
    ids = keys_of(encoder.bundle, "ids")
    json.dumps(index_body(encoder.bundle))
    json.dumps(index_body(encoder.bundle, "s", "sparse_vector", ceilings=Ceilings(3, 3)), allow_nan=False)
    json.dumps(query_body(asked, "s", "sparse_vector", keys=ids), allow_nan=False)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("number_of_shards=1.5", "number_of_shards is 1.5; give a whole number"),
        ("number_of_replicas=x", "number_of_replicas is 'x'; give a number"),
        ("cluster_ratio=-1", "cluster_ratio is -1; give a number of 0 to 1e9"),
        ("shards=1", "an option 'shards', which is none"),
    ],
)
def test_an_option_of_the_url_that_cannot_be(option: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Target.of(parse_store_url(f"opensearch://host/index?{option}"))
