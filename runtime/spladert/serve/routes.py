"""The endpoints: text-embeddings-inference's, the server's own, and what operates it."""

from __future__ import annotations

import time
from typing import cast

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from ..opensearch.connector import MARK
from ..origin import origin_of
from ..version import __version__
from .answers import (
    arrays_body,
    embed_sparse_body,
    ids_body,
    json_answer,
    opensearch_answer,
    safetensors_answer,
    tokens_body,
)
from .refusals import unavailable
from .schemas import (
    DecodeRequest,
    EmbedSparseRequest,
    EncodeRequest,
    EncodeResponse,
    Info,
    SimpleToken,
    SparseValue,
    TokenizeRequest,
    responses,
)
from .service import Service


def tei_routes(service: Service) -> APIRouter:
    """POST /embed_sparse, /tokenize, /decode and GET /info, as text-embeddings-inference answers them."""
    router, texts, options = APIRouter(tags=["text-embeddings-inference"]), service.texts, service.options

    @router.post(
        "/embed_sparse",
        response_model=list[list[SparseValue]],
        responses=responses(400, 401, 408, 413, 415, 422, 424, 429, 503),
    )
    async def embed_sparse(body: EmbedSparseRequest, request: Request) -> Response:
        """Sparse vectors of one text or many."""
        started = time.perf_counter()
        side = texts.side(body.prompt_name)
        inputs = _many(body.inputs)
        service.check_room(len(inputs), side)
        tokenized = await texts.embed(
            inputs,
            side,
            truncate=options.auto_truncate if body.truncate is None else body.truncate,
            left=body.truncation_direction.lower() == "left",
        )
        vectors, timing = await service.encode(tokenized, request, started=started, side=side)
        return json_answer(embed_sparse_body(vectors), timing.headers())

    @router.post("/tokenize", response_model=list[list[SimpleToken]], responses=responses(400, 401, 408, 413, 415, 422))
    async def tokenize(body: TokenizeRequest) -> Response:
        """Tokens of one text or many, uncut."""
        inputs = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        side = texts.side(body.prompt_name)
        rows = await texts.tokens(inputs, side, special_tokens=body.add_special_tokens)
        return json_answer(rows)

    @router.post("/decode", response_model=list[str], responses=responses(400, 401, 408, 413, 415, 422))
    async def decode(body: DecodeRequest) -> Response:
        """Texts of token ids."""
        return json_answer(await texts.decode(_rows(body.ids), skip_special_tokens=body.skip_special_tokens))

    @router.get("/info", responses=responses(401))
    async def info() -> Info:
        """What is served, and its limits."""
        encoder, manifest = service.encoder, service.encoder.manifest
        origin = origin_of(encoder.bundle)
        return Info(
            model_id=manifest.source.id,
            model_sha=manifest.source.revision,
            model_dtype=encoder.variant.precision,
            served_model_name=manifest.source.id,
            model_type={"embedding": {"pooling": "splade"}},
            max_concurrent_requests=options.max_queue,
            max_input_length=manifest.max_length,
            max_batch_tokens=encoder.engine.limits.tokens,
            max_batch_requests=options.batch_size,
            max_client_batch_size=options.max_client_batch_size,
            auto_truncate=options.auto_truncate,
            tokenization_workers=1,
            version=__version__,
            sha=None,
            docker_label=None,
            top_k=manifest.top_k,
            vocabulary_size=manifest.vocabulary_size,
            variant=encoder.variant.name,
            device=encoder.device,
            providers=list(encoder.providers),
            prompts=manifest.prompts,
            query_max_length=texts.longest("query"),
            document_max_length=texts.longest("document"),
            queries_without_model=service.queries_without_model,
            weights_sha256=origin.weights_sha256,
            tokenizer_sha256=origin.tokenizer_sha256,
            excluded_sha256=origin.excluded_sha256,
        )

    return router


def encode_routes(service: Service) -> APIRouter:
    """POST /v1/encode: queries or documents, in the form that the client wants."""
    router, texts = APIRouter(tags=["spladert"]), service.texts

    @router.post(
        "/v1/encode",
        response_model=EncodeResponse,
        responses={
            200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
            **responses(400, 401, 408, 413, 415, 422, 424, 429, 503),
        },
    )
    async def encode(body: EncodeRequest, request: Request) -> Response:
        """A vector a text, in the order of the inputs. The header x-truncated says how many texts were cut."""
        started = time.perf_counter()
        inputs = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        service.check_room(len(inputs), body.side)
        if body.escaped_dollars:
            inputs = [text.replace(f"${MARK}", "$") for text in inputs]
        tokenized = await texts.encode(inputs, body.side, body.max_length)
        vectors, timing = await service.encode(tokenized, request, started=started, side=body.side, top_k=body.top_k)
        headers = timing.headers() | {"x-truncated": str(vectors.truncated)}
        match body.output:
            case "safetensors":
                return safetensors_answer(vectors, headers)
            case "tokens":
                return json_answer(tokens_body(vectors, service.encoder), headers)
            case "ids":
                return json_answer(ids_body(vectors), headers)
            case "opensearch-tokens" | "opensearch-ids":
                keys = service.keys("tokens" if body.output == "opensearch-tokens" else "ids")
                return opensearch_answer(vectors, keys, body.side, headers)
        return json_answer(arrays_body(vectors), headers)

    return router


def operation_routes(service: Service) -> APIRouter:
    """GET /health (with /health/live and /health/ready) and /metrics."""
    router = APIRouter(tags=["operation"])

    @router.get("/health", response_class=Response, responses=responses(503))
    async def health() -> Response:
        """Whether the model works; where its last batch failed, one is run to see."""
        await service.probe()
        return Response()

    @router.get("/health/live", response_class=Response)
    async def live() -> Response:
        """Whether the process answers."""
        return Response()

    @router.get("/health/ready", response_class=Response, responses=responses(503))
    async def ready() -> Response:
        """Whether requests may be sent here: not before the first text has gone through, nor while the server ends."""
        if service.draining:
            raise unavailable("the server is ending", 1)
        await service.probe()
        return Response()

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counts and times in Prometheus' text form."""
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router


def _many(inputs: str | list[int] | list[str | list[int]]) -> list[str | list[int]]:
    """The inputs of text-embeddings-inference, where one text may come without a list around it."""
    if isinstance(inputs, str) or (inputs and isinstance(inputs[0], int)):
        return [inputs]
    return cast("list[str | list[int]]", inputs)


def _rows(ids: list[int] | list[list[int]]) -> list[list[int]]:
    if ids and isinstance(ids[0], int):
        return [ids]
    return cast("list[list[int]]", ids)
