"""Parsing JSON that others wrote."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str) -> Any:
    """What `json.loads` gives.

    Raises:
        ValueError: the text is not JSON, or is nested too deeply (`json.loads` has another error for that).
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
