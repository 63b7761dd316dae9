from __future__ import annotations

from benchmarks.fidelity import judged, table
from training.data import Pair

PAIRS = [
    Pair("가", "답 하나", "hrc"),
    Pair("나", "답 둘", "hrc"),
    Pair("다", "답 하나", "hrc"),
    Pair("라", "답 셋", "tydiqa_ko"),
]


def test_every_question_is_judged_against_the_passages_of_its_source() -> None:
    data = judged(PAIRS, "hrc")
    assert data.queries == ("가", "나", "다")
    assert sorted(data.documents) == ["답 둘", "답 하나"]
    passages = dict(zip(data.document_ids, data.documents, strict=True))
    assert [passages[passage] for _, passage, _ in data.qrels] == ["답 하나", "답 둘", "답 하나"]


def test_questions_weigh_alike_and_the_first_row_is_the_reference() -> None:
    assert table(["hrc", "tydiqa_ko"], [3, 1], {"fp32": [0.8, 0.4], "int8": [0.8, 0.3]}).splitlines() == [
        "| | hrc (3) | tydiqa_ko (1) | all | kept |",
        "|---|---|---|---|---|",
        "| fp32 | 0.8000 | 0.4000 | 0.7000 | 100.00% |",
        "| int8 | 0.8000 | 0.3000 | 0.6750 | 96.43% |",
    ]
