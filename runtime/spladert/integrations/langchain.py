"""LangChain: what `QdrantVectorStore(sparse_embedding=...)` of langchain-qdrant takes."""

from __future__ import annotations

from ..encoder import SparseEncoder
from ..errors import DependencyError
from ..qdrant.points import rows_of_entries, sorted_entries
from . import text_alone, texts_in_list

try:
    from langchain_qdrant import SparseEmbeddings, SparseVector
except ImportError as error:
    raise DependencyError(f"this needs langchain-qdrant ({error}): pip install 'spladert[langchain]'") from error


class SpladeEmbeddings(SparseEmbeddings):
    """Sparse embeddings by an encoder, each side of a search with its own prompt, length or table."""

    def __init__(self, encoder: SparseEncoder | None = None) -> None:
        """
        Args:
            encoder: what makes the vectors; None loads the model that comes with spladert.

        Raises:
            DependencyError: onnxruntime is not installed.
        """
        self.encoder = encoder or SparseEncoder.load()

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """A vector a text."""
        entries = rows_of_entries(self.encoder.encode_document(texts_in_list(texts)))
        return [SparseVector(indices=indices, values=values) for indices, values in entries]

    def embed_query(self, text: str) -> SparseVector:
        """The vector of a question."""
        indices, values = sorted_entries(self.encoder.encode_query(text_alone(text)))
        return SparseVector(indices=indices, values=values)
