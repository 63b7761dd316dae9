"""Lexical weighting: document frequencies, BM25, and both as sparse matrices over the vocabulary."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from tokenizers import Tokenizer


def encode_ids(tokenizer: Tokenizer, texts: list[str], limit: int) -> list[list[int]]:
    """Token ids without special tokens, at most `limit` of them a text."""
    return [coding.ids[:limit] for coding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def counts(ids: list[list[int]], vocab_size: int) -> sparse.csr_matrix:
    """Term frequencies, one row a text."""
    indptr = np.cumsum([0] + [len(row) for row in ids])
    flat = np.fromiter((token for row in ids for token in row), dtype=np.int64)
    matrix = sparse.csr_matrix((np.ones(len(flat), np.float32), flat, indptr), shape=(len(ids), vocab_size))
    matrix.sum_duplicates()
    return matrix


def inverse_document_frequency(term_counts: sparse.csr_matrix) -> np.ndarray:
    texts = term_counts.shape[0]
    holding = np.bincount(term_counts.indices, minlength=term_counts.shape[1])
    return np.log1p((texts - holding + 0.5) / (holding + 0.5)).astype(np.float32)


def bm25_passages(
    term_counts: sparse.csr_matrix, idf: np.ndarray, k1: float = 1.2, b: float = 0.75
) -> sparse.csr_matrix:
    """Passage side of BM25; the query side is the set of the query's terms."""
    length = np.asarray(term_counts.sum(1)).ravel()
    norm = k1 * (1 - b + b * length / max(length.mean(), 1e-9))
    matrix = term_counts.tocsr().copy()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    matrix.data = idf[matrix.indices] * matrix.data * (k1 + 1) / (matrix.data + norm[rows])
    return matrix


def presence(term_counts: sparse.csr_matrix) -> sparse.csr_matrix:
    matrix = term_counts.copy()
    matrix.data = np.ones_like(matrix.data)
    return matrix
