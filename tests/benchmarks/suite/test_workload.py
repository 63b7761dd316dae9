from __future__ import annotations

import pytest

from benchmarks.suite.workload import SHAPES, Shape, Workload, mix_batches, shapes_of


def test_shapes_are_read_as_they_are_written() -> None:
    assert [Shape.parse(str(shape)) for shape in SHAPES] == list(SHAPES)
    assert shapes_of(["32 x 64", "1 x 8", "32 x 8", "1 x 8"]) == [Shape(1, 8), Shape(32, 8), Shape(32, 64)]


@pytest.mark.parametrize("text", ["", "8", "1 x 8 x 2", "one x 8", "0 x 8", "8 x -1"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no shape such as"):
        Shape.parse(text)


def test_a_shape_gets_the_first_texts_of_its_length() -> None:
    workload = Workload({8: ["a", "b", "c"], 16: ["d"]}, [], [])
    assert workload.texts(Shape(2, 8)) == ["a", "b"]


def test_the_mix_is_batched_as_each_engine_is_given_it() -> None:
    texts = ["가" * (i * 7 % 40) for i in range(70)]
    assert mix_batches(texts, "own") == [texts]
    in_order = mix_batches(texts, "in order")
    assert [len(batch) for batch in in_order] == [32, 32, 6]
    assert [text for batch in in_order for text in batch] == texts
    lengths = [len(text) for batch in mix_batches(texts, "sorted") for text in batch]
    assert lengths == sorted((len(text) for text in texts), reverse=True)
