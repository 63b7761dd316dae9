"""Bodies of requests and answers. Those of the first part are text-embeddings-inference's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TokenId = Annotated[int, Field(ge=0, lt=2**32)]
Text = str
Ids = list[TokenId]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True)


class EmbedSparseRequest(_Request):
    """`inputs` is one text or many, each a string or its token ids."""

    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [{"inputs": "What is Deep Learning?"}]})

    inputs: Text | Ids | list[Text | Ids]
    truncate: bool | None = Field(None, description="Cut long texts; else they are refused. Default: the server's.")
    truncation_direction: Literal["Left", "Right", "left", "right"] = "Right"
    prompt_name: str | None = Field(None, description="`query` or `document`, where the bundle tells them apart.")


class SparseValue(BaseModel):
    index: int
    value: float


class TokenizeRequest(_Request):
    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [{"inputs": "What is Deep Learning?"}]})

    inputs: Text | list[Text]
    add_special_tokens: bool = True
    prompt_name: str | None = None


class SimpleToken(BaseModel):
    """A token; `start` and `stop` are its place in the prompted text, in bytes of UTF-8; special tokens have none."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class DecodeRequest(_Request):
    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [{"ids": [5, 6, 7]}]})

    ids: Ids | list[Ids]
    skip_special_tokens: bool = True


class Info(BaseModel):
    """text-embeddings-inference's facts, then this server's own."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: dict[str, dict[str, str]]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
    top_k: int
    vocabulary_size: int
    variant: str
    device: str
    providers: list[str]
    prompts: dict[str, str]
    query_max_length: int
    document_max_length: int
    queries_without_model: bool
    weights_sha256: str
    tokenizer_sha256: str
    excluded_sha256: str


class ErrorResponse(BaseModel):
    error: str
    error_type: Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]


class EncodeRequest(_Request):
    """Texts to encode, and in which form the vectors are wanted."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"inputs": ["당뇨병 치료 방법"], "side": "query", "output": "tokens"}]},
    )

    inputs: Text | list[Text]
    side: Literal["query", "document"] = Field("document", description="Queries go first, and have their own prompt.")
    top_k: int | None = Field(None, ge=1, description="Keep the heaviest entries of each vector. Default: all.")
    max_length: int | None = Field(None, ge=1, description="Cut at fewer tokens than the bundle does.")
    escaped_dollars: bool = Field(
        False,
        description="U+E000 behind each dollar sign of the inputs is taken out: OpenSearch would fill in `${...}`.",
    )
    output: Literal["arrays", "ids", "tokens", "safetensors", "opensearch-tokens", "opensearch-ids"] = Field(
        "arrays",
        description="`arrays`: {indices, values} a text, by falling weight. `ids`: {id: weight}. `tokens`: "
        "{token: weight}. `safetensors`: one binary file of indptr, indices and values. `opensearch-tokens` and "
        "`opensearch-ids`: {key: weight} with the keys and digits that OpenSearch's fields take.",
    )


class SparseArrays(BaseModel):
    indices: list[int]
    values: list[float]


EncodeResponse = list[SparseArrays] | list[dict[str, float]]


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's answers for `statuses`, all of one shape."""
    return {status: {"model": ErrorResponse, "description": DESCRIPTIONS[status]} for status in statuses}


DESCRIPTIONS = {
    400: "Batch is empty, or the body is not JSON",
    401: "The API key is missing or wrong",
    408: "The body did not arrive in time",
    413: "Batch size error, or the body is too large",
    415: "The body is compressed",
    422: "Tokenization or validation error",
    424: "Inference failed",
    429: "Model is overloaded",
    503: "Not answered in time, or the server is not ready",
}
