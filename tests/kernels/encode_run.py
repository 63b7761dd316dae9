"""What test_aarch64.py runs here and under emulation: the package's own model, by whatever `load` takes.

python encode_run.py RESULTS.npz
"""

from __future__ import annotations

import sys

import numpy as np

from spladert import SparseEncoder

TEXTS = (
    "오늘 서울의 날씨는 맑다",
    "계약서에 서명하기 전에 약관을 확인해야 한다",
    "당뇨병 치료 방법",
    "인공지능 " * 40,
    "한국은행은 기준금리를 동결하고 물가 상승률 전망을 낮추었다. " * 4,
    "The quick brown fox jumps over the lazy dog",
    "기차 시간표와 요금",
    "a",
)


def main(results: str) -> None:
    with SparseEncoder.load() as encoder:
        vectors = encoder.encode(TEXTS)
        for text, vector in zip(TEXTS, vectors, strict=True):
            alone = encoder.encode(text)
            np.testing.assert_array_equal(alone.indices, vector.indices)
            np.testing.assert_array_equal(alone.values, vector.values)
        print(encoder.engine.runs_on)
    np.savez(results, indptr=vectors.indptr, indices=vectors.indices, values=vectors.values)


if __name__ == "__main__":
    main(*sys.argv[1:])
