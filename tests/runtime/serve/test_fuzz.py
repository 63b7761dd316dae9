"""The server against its own OpenAPI, fuzzed: no answer of 500 and more, and none that it does not describe."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("schemathesis", reason="needs schemathesis: pip install schemathesis")

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize("path", ["/embed_sparse", "/v1/encode", "/tokenize", "/decode"])
def test_bodies_that_fit_the_description_and_that_do_not(client: httpx.Client, path: str, mode: Any) -> None:
    """The answer's status, content type and shape have to be described; what does not fit has to be refused."""
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    statuses = set()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=schema[path]["POST"].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call()
        assert answer.status_code < 500, answer.text
        # Some rules are in no schema: a text may not be empty, nor have more tokens than the bundle's.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        statuses.add(answer.status_code)

    ask()
    assert statuses & ({200} if mode is schemathesis.GenerationMode.POSITIVE else {400, 422})
