"""Haystack: the two components that fill and ask a document store with sparse vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..encoder import SparseEncoder
from ..errors import DependencyError, InputError
from ..qdrant.points import sorted_entries
from . import text_alone

try:
    from haystack import Document, component
    from haystack.dataclasses import SparseEmbedding
except ImportError as error:
    raise DependencyError(f"this needs Haystack ({error}): pip install 'spladert[haystack]'") from error


@component
class SpladeTextEmbedder:
    """A question's sparse embedding."""

    def __init__(self, model: str | None = None, load_options: dict[str, Any] | None = None) -> None:
        """
        Args:
            model: a bundle's folder or hub id; None is the model that comes with spladert.
            load_options: further arguments of `SparseEncoder.load`.
        """
        self.model, self.load_options = model, load_options
        self._encoder: SparseEncoder | None = None

    def warm_up(self) -> None:
        """Load the model; `run` does if this has not."""
        self._encoder = self._encoder or SparseEncoder.load(self.model, **(self.load_options or {}))

    @component.output_types(sparse_embedding=SparseEmbedding)
    def run(self, text: str) -> dict[str, SparseEmbedding]:
        """{"sparse_embedding": that of the text}."""
        self.warm_up()
        assert self._encoder is not None
        return {"sparse_embedding": SparseEmbedding(*sorted_entries(self._encoder.encode_query(text_alone(text))))}


@component
class SpladeDocumentEmbedder:
    """Documents with their sparse embeddings; arguments as of `SpladeTextEmbedder`."""

    def __init__(self, model: str | None = None, load_options: dict[str, Any] | None = None) -> None:
        self.model, self.load_options = model, load_options
        self._encoder: SparseEncoder | None = None

    def warm_up(self) -> None:
        """Load the model; `run` does if this has not."""
        self._encoder = self._encoder or SparseEncoder.load(self.model, **(self.load_options or {}))

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """{"documents": copies of these, each with the embedding of its content}.

        Raises:
            InputError: they are no list of documents, or a content cannot be taken.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise InputError("documents are a list of Haystack's Document; give [Document(content=text)]")
        self.warm_up()
        assert self._encoder is not None
        vectors = self._encoder.encode_document([document.content or "" for document in documents])
        embedded = [
            replace(document, sparse_embedding=SparseEmbedding(*sorted_entries(vector)))
            for document, vector in zip(documents, vectors, strict=True)
        ]
        return {"documents": embedded}
