"""`SparseEncoder` on texts of every kind."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spladert import DeviceError, InputError, SparseEncoder, SparseVector, SparseVectors
from spladert.bundle import open_bundle
from spladert.engine import RuntimeOptions
from spladert.pruning import Pruning
from support.checkpoints import LINES

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> SparseEncoder:
    return SparseEncoder.load(tiny_bundle, device="cpu", threads=1)


def same(a: SparseVector, b: SparseVector) -> None:
    """The same ids, weights within 1e-5."""
    mine, other = a.to_dict(), b.to_dict()
    assert set(mine) == set(other)
    assert mine == pytest.approx(other, abs=1e-5)


def test_a_str_gives_a_vector_and_a_sequence_gives_vectors(encoder: SparseEncoder) -> None:
    one = encoder.encode(LINES[0])
    many = encoder.encode(LINES)
    assert isinstance(one, SparseVector)
    assert isinstance(many, SparseVectors)
    assert len(many) == len(LINES)
    same(many[0], one)
    assert (one.indices.dtype, one.values.dtype) == (np.int32, np.float32)
    assert (np.diff(one.values) <= 0).all()
    assert (one.values > 0).all()
    assert len(set(one.indices.tolist())) == len(one) > 5


def test_names_for_both_sides_of_a_search(encoder: SparseEncoder) -> None:
    assert encoder.encode_query(LINES[1]) == encoder.encode(LINES[1]) == encoder.encode_document(LINES[1])


@pytest.mark.parametrize("texts", [[], (), iter([])])
def test_no_texts(encoder: SparseEncoder, texts: Any) -> None:
    vectors = encoder.encode(texts)
    assert len(vectors) == 0
    assert vectors.to_scipy().shape == (0, encoder.manifest.vocabulary_size)


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "\x00", "🙂👩‍👩‍👧‍👦", "a" * 10_000, "가나다 " * 3_000, "\u202e", "e\u0301", "ꙮ"]
)
def test_odd_texts_have_finite_weights(encoder: SparseEncoder, text: str) -> None:
    vector = encoder.encode(text)
    assert len(vector) > 0  # the special tokens take part, as in the model card
    assert np.isfinite(vector.values).all()


def test_text_beyond_the_limit_is_cut(encoder: SparseEncoder) -> None:
    long = " ".join(["당뇨병"] * 500)
    same(encoder.encode(long), encoder.encode(long + " 손해배상"))


def test_order_is_kept(encoder: SparseEncoder) -> None:
    texts = [LINES[i % len(LINES)] * (1 + i % 3) for i in range(50)]
    for text, vector in zip(texts, encoder.encode(texts, batch_size=7), strict=True):
        same(vector, encoder.encode(text))


@given(st.lists(anything, min_size=1, max_size=8), st.integers(1, 9))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_text_has_the_same_vector_alone_and_in_any_batch(
    encoder: SparseEncoder, texts: list[str], batch_size: int
) -> None:
    for text, vector in zip(texts, encoder.encode(texts, batch_size=batch_size), strict=True):
        same(vector, encoder.encode(text))


def test_top_k_keeps_the_heaviest(encoder: SparseEncoder) -> None:
    full, cut = encoder.encode(LINES[0]), encoder.encode(LINES[0], top_k=5)
    assert cut.to_dict() == dict(list(full.to_dict().items())[:5])


def test_pruning_leaves_light_entries_out(encoder: SparseEncoder) -> None:
    full, kept = encoder.encode(LINES), encoder.encode(LINES, prune="max_ratio:0.5")
    for vector, whole in zip(kept, full, strict=True):
        limit = whole.values[0] * np.float32(0.5)
        assert vector.to_dict() == {i: weight for i, weight in whole.to_dict().items() if weight >= limit}
    assert encoder.encode(LINES[0], prune=Pruning("top_k", 3)) == encoder.encode(LINES[0], top_k=3)
    with pytest.raises(InputError, match="prune is 'half'; write KIND:VALUE"):
        encoder.encode("a", prune="half")


@pytest.mark.parametrize("top_k", [0, -1, 65, 2.5])
def test_top_k_out_of_range(encoder: SparseEncoder, top_k: Any) -> None:
    with pytest.raises(InputError, match=f"top_k is {top_k}; this bundle gives 1 to 64"):
        encoder.encode("a", top_k=top_k)


@pytest.mark.parametrize("texts", [None, 3, b"bytes", bytearray(b"a"), {"text": "a"}, np.array("a")])
def test_wrong_type(encoder: SparseEncoder, texts: Any) -> None:
    with pytest.raises(InputError, match=f"texts is {type(texts).__name__}; give a str or a sequence of str"):
        encoder.encode(texts)


@pytest.mark.parametrize(
    "texts",
    [
        np.array(LINES[:2]),
        np.array(LINES[:2], dtype=object),
        (line for line in LINES[:2]),
        dict.fromkeys(LINES[:2]).keys(),
    ],
)
def test_any_iterable_of_str(encoder: SparseEncoder, texts: Any) -> None:
    assert encoder.encode(texts) == encoder.encode(LINES[:2])


@pytest.mark.parametrize("item", [None, 3, b"bytes", ["nested"]])
def test_wrong_item(encoder: SparseEncoder, item: Any) -> None:
    with pytest.raises(InputError, match=f"text 2 is {type(item).__name__}, not str"):
        encoder.encode(["a", "b", item])


def test_lone_surrogate(encoder: SparseEncoder) -> None:
    with pytest.raises(InputError, match=r"text 1 has a lone surrogate \(U\+D800\) at character 3"):
        encoder.encode(["fine", "abc\ud800"])
    with pytest.raises(InputError, match=r"text 0 has a lone surrogate \(U\+DC80\) at character 0"):
        encoder.tokenize_batch(["\udc80"])


@pytest.mark.parametrize("batch_size", [0, -5, 1.5, None])
def test_wrong_batch_size(encoder: SparseEncoder, batch_size: Any) -> None:
    with pytest.raises(InputError, match="batch_size"):
        encoder.encode(["a"], batch_size=batch_size)


def test_decode(encoder: SparseEncoder) -> None:
    vectors = encoder.encode(LINES)
    vector = vectors[0]
    pairs = encoder.decode(vector)
    assert len(pairs) == len(vector) > 10  # every entry, unless told otherwise
    assert [weight for _, weight in pairs] == vector.values.tolist()
    assert encoder.decode(vector, top_k=4) == pairs[:4]
    assert encoder.decode(vector, top_k=0) == []
    assert encoder.decode(vectors) == [encoder.decode(vector) for vector in vectors]
    assert encoder.decode(vectors, top_k=2)[1] == encoder.decode(vectors[1], top_k=2)
    beyond = SparseVector(np.array([encoder.manifest.vocabulary_size - 1], np.int32), np.ones(1, np.float32))
    assert encoder.decode(beyond)[0][0].startswith("[unused ")
    with pytest.raises(InputError, match="top_k is -1; give 0 or more"):
        encoder.decode(vector, top_k=-1)
    with pytest.raises(InputError, match="vectors is str; give what encode gave"):
        encoder.decode("a text")  # type: ignore[call-overload]


def test_weights_by_token(encoder: SparseEncoder) -> None:
    vectors = encoder.encode(LINES)
    assert encoder.to_tokens(vectors) == [dict(encoder.decode(vector)) for vector in vectors]
    assert encoder.to_tokens(vectors[0]) == dict(encoder.decode(vectors[0]))
    assert all(len(found) == len(vector) for found, vector in zip(encoder.to_tokens(vectors), vectors, strict=True))
    assert len(set(encoder.tokens)) == encoder.manifest.vocabulary_size  # as keys they are all told apart


def test_the_three_stages_are_encode(encoder: SparseEncoder) -> None:
    texts = [*LINES, "", " ".join(["당뇨병"] * 500)]
    tokenized = encoder.tokenize_batch(texts)
    assert tokenized.truncated.tolist() == [False] * (len(texts) - 1) + [True]
    assert len(tokenized.input_ids[-1]) == encoder.manifest.max_length
    results = list(encoder.run(tokenized.input_ids, batch_size=4))
    assert sorted(i for result in results for i in result.positions.tolist()) == list(range(len(texts)))
    assert all(result.indices.shape == (len(result.positions), encoder.manifest.top_k) for result in results)
    vectors = encoder.assemble(reversed(results), tokenized)
    assert vectors == encoder.encode(texts, batch_size=4)
    assert vectors.truncated == 1
    one_by_one = [result for row in tokenized.input_ids for result in encoder.run([row])]
    assert [len(result.positions) for result in one_by_one] == [1] * len(texts)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[2, 3], [2] * 65], "row 1 has 65 tokens; this bundle takes at most 64"),
        ([[2, 10**6]], "row 0 has an id that is not below"),
        ([[-5]], "row 0 has an id that is not below"),
    ],
)
def test_rows_that_no_tokenizer_gives(encoder: SparseEncoder, rows: list[list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder.run(rows)


def test_stages_check_what_they_are_given(encoder: SparseEncoder) -> None:
    tokenized = encoder.tokenize_batch(LINES)
    results = list(encoder.run(tokenized.input_ids, batch_size=2))
    with pytest.raises(InputError, match=r"there is no result of text \d; give all that run gave"):
        encoder.assemble(results[1:], tokenized)
    with pytest.raises(InputError, match="side is 'bogus'"):
        encoder.run([[2]], side="bogus")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"top_k is 1\.5; give 0 or more"):
        encoder.decode(encoder.encode("a"), top_k=1.5)  # type: ignore[call-overload]


def test_a_closed_encoder_says_so(tiny_bundle: Path) -> None:
    with SparseEncoder.load(tiny_bundle) as encoder:
        assert len(encoder.encode(LINES[0])) > 5
    with pytest.raises(InputError, match="this encoder is closed; load it again"):
        encoder.encode(LINES[0])
    with pytest.raises(InputError, match="this encoder is closed; load it again"):
        encoder.encode([])
    encoder.close()  # once more is no error


def test_it_pickles_as_its_bundle_and_options(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_bundle.parent)
    encoder = SparseEncoder.load(tiny_bundle.name, variant="fp32", threads=1, spin=False)
    content = pickle.dumps(encoder)
    assert len(content) < 1000
    monkeypatch.chdir("/")  # a relative name means the folder that it meant
    again = pickle.loads(content)
    assert again.options == RuntimeOptions(threads=1, spin=False)
    assert again.encode(LINES) == encoder.encode(LINES)
    assert pickle.loads(pickle.dumps(SparseEncoder.load())).bundle == open_bundle()


def test_it_works_in_other_processes(encoder: SparseEncoder) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for got, text in zip(pool.map(encoder.encode, LINES[:4]), LINES[:4], strict=True):
            same(got, encoder.encode(text))


@pytest.mark.parametrize("spin", [True, False])
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_threads_and_spinning_change_no_vector(
    encoder: SparseEncoder, tiny_bundle: Path, threads: int | None, spin: bool
) -> None:
    with SparseEncoder.load(tiny_bundle, device="cpu", threads=threads, spin=spin) as other:
        for got, want in zip(other.encode(LINES), encoder.encode(LINES), strict=True):
            same(got, want)


def test_token_ids_have_no_special_tokens(encoder: SparseEncoder) -> None:
    [ids] = encoder.tokenize_batch([LINES[0]], special_tokens=False).input_ids
    assert len(ids) > 3
    assert not set(ids) & set(encoder.manifest.special_token_ids)


def test_threads_share_an_encoder(encoder: SparseEncoder) -> None:
    texts = LINES * 6
    expected = [encoder.encode(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        for got, want in zip(pool.map(encoder.encode, texts), expected, strict=True):
            same(got, want)


def test_scipy_matrix(encoder: SparseEncoder) -> None:
    vectors = encoder.encode(LINES)
    matrix = vectors.to_scipy()
    assert matrix.shape == (len(LINES), encoder.manifest.vocabulary_size)
    assert matrix.has_sorted_indices
    for row, vector in enumerate(vectors):
        assert (
            dict(zip(*(x.tolist() for x in (matrix[[row]].indices, matrix[[row]].data)), strict=True))
            == vector.to_dict()
        )
    assert vectors.indices[: len(vectors[0])].tolist() == vectors[0].indices.tolist()  # not reordered in place


def test_vectors_behave_as_a_sequence(encoder: SparseEncoder) -> None:
    vectors = encoder.encode(LINES)
    assert vectors[-1] == vectors[len(LINES) - 1] == list(vectors)[-1]
    assert [len(v) for v in vectors[1:4]] == [len(vectors[i]) for i in (1, 2, 3)]
    with pytest.raises(IndexError):
        vectors[len(LINES)]
    assert vectors == encoder.encode(LINES) == vectors[:]
    assert vectors != vectors[::-1]
    assert vectors != list(vectors)


def test_progress_goes_to_standard_error(encoder: SparseEncoder, capsys: pytest.CaptureFixture[str]) -> None:
    encoder.encode(LINES, show_progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "encoding" in captured.err


def test_a_tokenizer_without_special_tokens_gives_an_empty_vector(tiny_bundle: Path, tmp_path: Path) -> None:
    import hashlib
    import json
    import shutil

    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    tokenizer = json.loads((bundle / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["post_processor"] = None
    content = json.dumps(tokenizer).encode()
    (bundle / "tokenizer.json").write_bytes(content)
    manifest = json.loads((bundle / "spladert.json").read_text(encoding="utf-8"))
    manifest["tokenizer"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (bundle / "spladert.json").write_text(json.dumps(manifest), encoding="utf-8")
    encoder = SparseEncoder.load(bundle)
    vectors = encoder.encode(["", "당뇨병 치료", ""])
    assert [len(v) > 0 for v in vectors] == [False, True, False]
    assert len(encoder.encode("")) == 0


class TestDevice:
    def test_auto_says_what_it_chose(self, tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, logger="spladert"):
            encoder = SparseEncoder.load(tiny_bundle)
        assert f"device auto: {encoder.device}" in caplog.text

    @pytest.mark.parametrize("device", ["cuda", "tensorrt"])
    def test_a_device_that_is_not_here(self, tiny_bundle: Path, device: Any) -> None:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this onnxruntime has CUDA")
        with pytest.raises(
            DeviceError, match=f"device '{device}' needs .*ExecutionProvider, and this onnxruntime has only"
        ):
            SparseEncoder.load(tiny_bundle, device=device)

    def test_unknown_device(self, tiny_bundle: Path) -> None:
        with pytest.raises(InputError, match="device is 'gpu'; use one of auto, cpu, cuda, tensorrt"):
            SparseEncoder.load(tiny_bundle, device="gpu")  # type: ignore[arg-type]

    def test_named_providers(self, tiny_bundle: Path) -> None:
        assert SparseEncoder.load(tiny_bundle, providers=["CPUExecutionProvider"]).providers == (
            "CPUExecutionProvider",
        )
        with pytest.raises(DeviceError, match="NoSuchProvider is not in this onnxruntime"):
            SparseEncoder.load(tiny_bundle, providers=["NoSuchProvider"])
        with pytest.raises(InputError, match="providers is 'CPUExecutionProvider', not a list"):
            SparseEncoder.load(tiny_bundle, providers="CPUExecutionProvider")
        with pytest.raises(InputError, match="providers is 5, not a list"):
            SparseEncoder.load(tiny_bundle, providers=5)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"providers holds \('CPUExecutionProvider', \{\}\); give names alone"):
            SparseEncoder.load(tiny_bundle, providers=[("CPUExecutionProvider", {})])
        with pytest.raises(InputError, match=r"threads is 1\.5"):
            SparseEncoder.load(tiny_bundle, threads=1.5)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"providers is \[\], not a list"):
            SparseEncoder.load(tiny_bundle, providers=[])

    def test_threads(self, tiny_bundle: Path) -> None:
        with pytest.raises(InputError, match="threads is 0"):
            SparseEncoder.load(tiny_bundle, threads=0)

    def test_two_names_of_one_thing(self, tiny_bundle: Path) -> None:
        assert SparseEncoder.load(tiny_bundle, precision="fp32").variant.name == "cpu-fp32"
        with pytest.raises(InputError, match="variant is 'fp32' and precision 'fp32', two names of one thing"):
            SparseEncoder.load(tiny_bundle, variant="fp32", precision="fp32")


@pytest.mark.parametrize("rows", ["abc", None, [1, 2], [["a"]], [[1.5]], [[1, 2.5, 3]], iter([[1, 2]])])
def test_what_is_no_rows_of_token_ids(encoder: SparseEncoder, rows: Any) -> None:
    with pytest.raises(InputError, match=r"input_ids is |row 0 is no sequence of token ids"):
        list(encoder.run(rows))


@pytest.mark.parametrize(
    "options", [{"prune": 3}, {"prune": ["max_ratio:0.1"]}, {"top_k": True}, {"batch_size": True}, {"prune": b"x"}]
)
def test_options_of_another_type(encoder: SparseEncoder, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        encoder.encode("당뇨병", **options)


def test_a_single_text_is_no_batch(encoder: SparseEncoder) -> None:
    with pytest.raises(InputError, match=r"texts is a single str.*write \[text\]"):
        encoder.tokenize_batch("당뇨병")
