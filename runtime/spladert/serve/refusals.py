"""Answers that are errors: text-embeddings-inference's bodies and codes, `{"error": ..., "error_type": ...}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse

ErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]


class RefusalError(Exception):
    """A request that gets no result, with the answer it gets instead."""

    def __init__(
        self, status: int, error_type: ErrorType, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.error_type, self.message, self.headers = status, error_type, message, headers

    def response(self) -> JSONResponse:
        body = {"error": self.message, "error_type": self.error_type}
        return JSONResponse(body, self.status, self.headers and dict(self.headers))


def empty(name: str) -> RefusalError:
    return RefusalError(400, "Empty", f"`{name}` cannot be empty")


def invalid(message: str) -> RefusalError:
    return RefusalError(422, "Validation", message)


def too_large(message: str) -> RefusalError:
    return RefusalError(413, "Validation", message)


def untokenizable(message: str) -> RefusalError:
    return RefusalError(422, "Tokenizer", message)


def failed(message: str) -> RefusalError:
    return RefusalError(424, "Backend", message)


def overloaded(retry_after: int) -> RefusalError:
    return RefusalError(429, "Overloaded", "Model is overloaded", {"Retry-After": str(retry_after)})


def unavailable(message: str, retry_after: int) -> RefusalError:
    return RefusalError(503, "Unhealthy", message, {"Retry-After": str(retry_after)})


def unsupported(message: str) -> RefusalError:
    return RefusalError(415, "Validation", message, {"Accept-Encoding": "identity"})


def unauthorized() -> RefusalError:
    return RefusalError(
        401,
        "Validation",
        "this server wants its API key: send the header `Authorization: Bearer KEY`",
        {"WWW-Authenticate": "Bearer"},
    )


def from_validation(error: RequestValidationError) -> RefusalError:
    """The first thing that is wrong with a body; what the client sent is not repeated."""
    errors = error.errors()
    first, place = errors[0], errors[0]["loc"][1:]
    if first["type"] == "json_invalid":
        return RefusalError(400, "Validation", f"the body is not valid JSON: {first['ctx']['error']}")
    if not place:
        return invalid("the body is no JSON object; send one, with the header `Content-Type: application/json`")
    alternatives = {str(each["loc"][2]) for each in errors if len(each["loc"]) > 2 and each["loc"][1] == place[0]}
    if len(alternatives) > 1:  # each is tried, and what the first says of itself misleads
        takes_ids = any("int" in kind for kind in alternatives)
        text = ["a string"] if "str" in alternatives else []
        ids = ["token ids (integers of 0 or more)"] if takes_ids else []
        return invalid(f"`{place[0]}` takes {' or '.join([*text, *ids])}, or a list of such")
    return invalid(f"`{'.'.join(map(str, place))}`: {first['msg']}")
