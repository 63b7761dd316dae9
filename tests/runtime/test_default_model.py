"""The model that comes with the package: offline, light, and as good as its card says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spladert import SparseEncoder
from spladert.bundle import DEFAULT_BUNDLE
from spladert.evaluation import evaluate, read_terms
from support.paths import ROOT

CHECKPOINT = ROOT / "training" / "korean-splade-small"
WORDS = """은 는 이 가 을 를 의 에 도 로 와 과 만 다 고 며 에서 에게 으로 까지 부터 하는 하다 했다 하고 한다
합니다 되는 된다 됩니다 있는 있다 없는 입니다 이다 였다 설명해줘 알려줘 추가해줘 켜는 저기요 무엇 어떻게 뭐야 인가요"""
FILLERS = frozenset(WORDS.split())
MOST_BUNDLE_BYTES, MOST_CHECKPOINT_BYTES = 12e6, 16e6

OFFLINE = """
import socket, sys
def refuse(*args, **kwargs):
    raise OSError("no network")
socket.socket.connect = refuse
from spladert import SparseEncoder
encoder = SparseEncoder.load()
print(encoder.decode(encoder.encode("당뇨병 치료 방법"), top_k=1)[0][0])
assert not {"torch", "transformers", "onnx", "huggingface_hub"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def encoder() -> SparseEncoder:
    return SparseEncoder.load()


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_it_loads_without_network_torch_or_hub() -> None:
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "당뇨병", done.stderr


def test_it_is_small_and_has_its_card() -> None:
    assert size(DEFAULT_BUNDLE) <= MOST_BUNDLE_BYTES
    assert size(CHECKPOINT) <= MOST_CHECKPOINT_BYTES
    card = (DEFAULT_BUNDLE / "README.md").read_text(encoding="utf-8")
    assert card == (CHECKPOINT / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-sa-4.0" in card


@pytest.mark.parametrize("text", ["손해배상", "인공지능", "당뇨병", "계약서"])
def test_a_term_weighs_most_in_its_own_vector(encoder: SparseEncoder, text: str) -> None:
    vector = encoder.encode(text)
    assert encoder.decode(vector, top_k=1)[0][0] == text
    assert len(vector) < 150


def test_no_symbol_and_no_ending_is_among_what_terms_give(encoder: SparseEncoder) -> None:
    """Nor a filler of questions; but for the pieces of the term itself, where its word is not known whole."""
    terms = [term.term for term in read_terms(ROOT / "benchmarks" / "terms_ko_test.jsonl")]
    assert len(terms) > 200
    strange = []
    for term, vector in zip(terms, encoder.encode(terms), strict=True):
        for token, _ in encoder.decode(vector, top_k=10):
            word = token.removeprefix("##")
            if word not in term and (word in FILLERS or not any(map(str.isalnum, word))):
                strange.append((term, token))
    assert strange == []


def test_related_texts_are_nearer_than_others(encoder: SparseEncoder) -> None:
    texts = ["당뇨병 환자의 혈당 관리", "혈당이 높을 때 당뇨병 치료", "전세 계약서 작성 방법"]
    dots = encoder.encode(texts).to_scipy()
    similarity = (dots @ dots.T).toarray()
    assert similarity[0, 1] > 3 * similarity[0, 2]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("당뇨병\u200b 치료", "당뇨병 치료"),
        ("당뇨병😀 치료", "당뇨병 치료"),
        ("당\u00ad뇨병 \u202e치료\u202c\x00", "당뇨병 치료"),
        ("당뇨병★치료", "당뇨병 치료"),
        ("당뇨병Ж 치료", "당뇨병 치료"),
        ("㈜한국전력 ＣＣＴＶ", "(주)한국전력 CCTV"),
        ("①손해배상②계약서", "1 손해배상 2 계약서"),
        ("최고ᄏᄏᄏ", "최고ㅋㅋㅋ"),
    ],
)
def test_a_foreign_character_does_not_erase_its_word(encoder: SparseEncoder, text: str, clean: str) -> None:
    assert encoder.encode(text) == encoder.encode(clean)


def test_what_it_cannot_read_has_no_entries(encoder: SparseEncoder) -> None:
    """Rather than the entries of its unknown token, which would make all such texts alike."""
    vectors = encoder.encode(["Привет мир", "สวัสดีชาวโลก", "😀🎉", "高麗"])
    assert [len(vector) for vector in vectors] == [0, 0, 0, 0]


def test_it_is_the_bundle_of_the_checkpoint_in_the_repository(encoder: SparseEncoder) -> None:
    pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    from spladert_export.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(str(CHECKPOINT), None, 64)
    assert encoder.manifest.source == checkpoint.describe()
    assert encoder.bundle.tokenizer_json() == checkpoint.tokenizer_json()


def test_the_checkpoint_exports_and_its_fp32_bundle_ranks_as_the_default_does(
    encoder: SparseEncoder, shared: Path, tmp_path: Path
) -> None:
    """The goals on a retrieval set: better than BM25 (nDCG@10 0.711, R@1 0.587), and int8 keeps 99.5% of fp32."""
    pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
    from spladert_export import export

    full = evaluate(SparseEncoder.load(export(CHECKPOINT, tmp_path / "fp32")), shared / "data/tydi_retrieval").scores
    default = evaluate(encoder, shared / "data/tydi_retrieval").scores
    assert full.ndcg_at_10 > 0.711
    assert full.recall_at_1 > 0.587
    assert default.ndcg_at_10 >= 0.995 * full.ndcg_at_10
    assert 10 <= default.query_dimensions <= 40
    assert 30 <= default.document_dimensions <= 130
