"""What a filter, FIELD=VALUE, asks of a document's fields."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import InputError


def check_filters(filters: object) -> None:
    """
    Raises:
        InputError: it is no mapping of text to text.
    """
    pairs = filters.items() if isinstance(filters, Mapping) else [(None, None)]
    if not all(_is_text(part) for pair in pairs for part in pair):
        raise InputError(f"filters are {filters!r}; give fields and values, both text: {{'year': '2020'}}")


def _is_text(value: object) -> bool:
    """Whether it is a string of valid Unicode."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def wanted_values(text: str) -> list[str | int | float | bool]:
    """What a filter's value may stand for: the text itself, or the number or boolean that it spells.

    A number is a float, to which integers of the same value are equal; an int is one that no float holds exactly.
    """
    values: list[str | int | float | bool] = [text]
    if text in ("true", "false"):
        values.append(text == "true")
    try:
        number = float(text)
    except ValueError:
        return values
    if 2**53 <= abs(number) < 2**63 and text.lstrip("+-").isdecimal():
        values.append(int(text))
    elif abs(number) < float("inf"):
        values.append(number)
    return values


def field_paths(name: str) -> list[list[str]]:
    """Where a filter's field may be: under its name, or, if that has dots, nested.

    Raises:
        InputError: no field can be called so.
    """
    if not name or '"' in name or "\\" in name:
        raise InputError(f"a filter's field is {name!r}; give FIELD=VALUE with a field's name")
    parts = name.split(".")
    return [[name], parts] if len(parts) > 1 and all(parts) else [[name]]
