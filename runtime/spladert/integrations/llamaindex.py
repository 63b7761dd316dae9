"""LlamaIndex: the functions that its `QdrantVectorStore(sparse_doc_fn=..., sparse_query_fn=...)` takes."""

from __future__ import annotations

from collections.abc import Callable

from ..encoder import SparseEncoder
from ..qdrant.points import rows_of_entries
from ..tokenizer import Side
from . import texts_in_list

# Texts -> (indices of each, weights of each), as LlamaIndex has it.
SparseFunction = Callable[[list[str]], tuple[list[list[int]], list[list[float]]]]


def sparse_functions(encoder: SparseEncoder | None = None) -> tuple[SparseFunction, SparseFunction]:
    """(sparse_doc_fn, sparse_query_fn).

    Args:
        encoder: what makes the vectors; None loads the model that comes with spladert.

    Raises:
        DependencyError: onnxruntime is not installed.
    """
    loaded = encoder or SparseEncoder.load()

    def of(side: Side) -> SparseFunction:
        def encode(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
            entries = rows_of_entries(loaded.encode(texts_in_list(texts), side=side))
            return [indices for indices, _ in entries], [weights for _, weights in entries]

        return encode

    return of("document"), of("query")
