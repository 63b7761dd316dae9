"""The encoder in the frameworks themselves: the same documents and questions through each, and the same answers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from spladert import InputError, SparseEncoder

TEXTS = [
    "당뇨병 치료에는 식이요법과 운동이 중요하다",
    "손해배상 청구 소송에서 위자료를 산정하는 기준",
    "오늘 날씨는 맑다",
]
QUESTION = "소송에서 손해배상"


def score(encoder: SparseEncoder, text: str) -> float:
    document = encoder.encode_document(text).to_dict()
    return sum(weight * document.get(i, 0.0) for i, weight in encoder.encode_query(QUESTION).to_dict().items())


def test_langchain(encoder: SparseEncoder) -> None:
    qdrant = pytest.importorskip("langchain_qdrant", reason="needs langchain-qdrant")
    from spladert.integrations.langchain import SpladeEmbeddings

    store = qdrant.QdrantVectorStore.from_texts(
        TEXTS,
        location=":memory:",
        collection_name="docs",
        sparse_embedding=SpladeEmbeddings(encoder),
        retrieval_mode=qdrant.RetrievalMode.SPARSE,
    )
    [(document, found)] = store.similarity_search_with_score(QUESTION, k=1)
    assert document.page_content == TEXTS[1]
    assert found == pytest.approx(score(encoder, TEXTS[1]), rel=1e-4)


def test_llamaindex(encoder: SparseEncoder) -> None:
    pytest.importorskip("llama_index.vector_stores.qdrant", reason="needs llama-index-vector-stores-qdrant")
    from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    from spladert.integrations.llamaindex import sparse_functions

    of_documents, of_questions = sparse_functions(encoder)
    store = QdrantVectorStore(
        "docs",
        client=QdrantClient(":memory:"),
        enable_hybrid=True,
        sparse_doc_fn=of_documents,
        sparse_query_fn=of_questions,
    )
    nodes = [TextNode(text=text) for text in TEXTS]
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(nodes, storage_context=context, embed_model=MockEmbedding(4))
    retriever = index.as_retriever(vector_store_query_mode="sparse", sparse_top_k=1)
    [found] = retriever.retrieve(QUESTION)
    assert found.text == TEXTS[1]
    assert found.score == pytest.approx(score(encoder, TEXTS[1]), rel=1e-4)


def test_haystack(encoder: SparseEncoder) -> None:
    haystack = pytest.importorskip("haystack", reason="needs haystack-ai")
    from spladert.integrations.haystack import SpladeDocumentEmbedder, SpladeTextEmbedder

    pipeline = haystack.Pipeline()
    pipeline.add_component("documents", SpladeDocumentEmbedder(load_options={"threads": 1}))
    pipeline.add_component("question", SpladeTextEmbedder(load_options={"threads": 1}))
    again = haystack.Pipeline.loads(pipeline.dumps(), allowed_modules=["spladert.integrations.haystack"])
    documents = [haystack.Document(content=text, meta={"n": n}) for n, text in enumerate(TEXTS)]
    done = again.run({"documents": {"documents": documents}, "question": {"text": QUESTION}})
    asked = done["question"]["sparse_embedding"]
    weights = dict(zip(asked.indices, asked.values, strict=True))
    assert asked.indices == sorted(asked.indices)
    embedded = done["documents"]["documents"]
    assert [document.meta for document in embedded] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert all(document.sparse_embedding is None for document in documents)
    for document in embedded:
        found = zip(document.sparse_embedding.indices, document.sparse_embedding.values, strict=True)
        dot = sum(weights.get(i, 0.0) * weight for i, weight in found)
        assert dot == pytest.approx(score(encoder, document.content), rel=1e-4)


@pytest.mark.parametrize("framework", ["langchain", "llamaindex", "haystack"])
def test_what_is_no_text_is_named(encoder: SparseEncoder, framework: str) -> None:
    if framework == "langchain":
        pytest.importorskip("langchain_qdrant", reason="needs langchain-qdrant")
        from spladert.integrations.langchain import SpladeEmbeddings

        embeddings = SpladeEmbeddings(encoder)
        of_many, of_one = embeddings.embed_documents, [embeddings.embed_query]
    elif framework == "llamaindex":
        from spladert.integrations.llamaindex import sparse_functions

        of_many, of_one = sparse_functions(encoder)[0], []  # both are for lists
    else:
        haystack = pytest.importorskip("haystack", reason="needs haystack-ai")
        from spladert.integrations.haystack import SpladeDocumentEmbedder, SpladeTextEmbedder

        of_many, of_one = SpladeDocumentEmbedder().run, [SpladeTextEmbedder().run]
        with pytest.raises(InputError, match="lone surrogate"):
            of_many([haystack.Document(content="\ud800", id="a")])
    for wrong in ("문자열", 5, None, [5]):
        with pytest.raises(InputError):
            of_many(wrong)
    for call in of_one:
        for wrong in (["문자열"], 5, None, "\ud800"):
            with pytest.raises(InputError):
                call(wrong)


@pytest.mark.parametrize(
    ("module", "framework"), [("langchain", "langchain_qdrant"), ("haystack", "haystack"), ("llamaindex", None)]
)
def test_without_the_framework_it_is_named(module: str, framework: str | None) -> None:
    block = f"sys.modules[{framework!r}] = None; " if framework else ""
    code = f"import sys; {block}import spladert.integrations.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if framework is None:
        assert done.returncode == 0, done.stderr
    else:
        assert "DependencyError" in done.stderr
        assert "pip install" in done.stderr
