"""The encoder as other frameworks want it, a module each; none is imported before it is asked for."""

from __future__ import annotations

from ..errors import InputError


def text_alone(text: str) -> str:
    """The text, where a framework wants one and the encoder would take several too.

    Raises:
        InputError: it is none.
    """
    if not isinstance(text, str):
        raise InputError(f"the text is {type(text).__name__}; give a str")
    return text


def texts_in_list(texts: list[str]) -> list[str]:
    """The texts, where a framework wants several and the encoder would take one too.

    Raises:
        InputError: it is a single one.
    """
    if isinstance(texts, str):
        raise InputError("texts are a list, not a single str: write [text]")
    return texts
