"""A cell of a user's table as a text: never Python's own way of writing a value.

A missing value is None. Anything that is not a text and has no single plain reading as a text is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cotdistill.errors import DataError

_MISSING = frozenset({"nan", "null", "<na>", "#n/a"})
"""Texts that stand for a missing value in tables."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_DIGITS = 15
"""Decimal digits that a double always keeps: anything beyond is noise (0.1 + 0.2 = 0.30000000000000004)."""


def text_of(value: Any, name: str, place: str) -> str | None:
    """A question or a rationale (``name`` says which): a text, a list of texts, or a chat of one message.

    Texts of a list are joined by line breaks. Raises DataError for anything else.
    """
    if _is_chat(value):
        role = "user" if name == "question" else "assistant"
        if len(value) == 1 and value[0]["role"] == role:
            return scalar(value[0].get("content"), name, place)
    elif isinstance(value, list):
        parts = [scalar(part, name, place) for part in value]
        return "\n".join(part for part in parts if part) or None
    return scalar(value, name, place)


def answer_of(value: Any, place: str) -> str | None:
    """An answer: a text, a number, true or false (capitalised), or a list of them (joined by spaces)."""
    parts = [_plain(part, "answer", place) for part in (value if isinstance(value, list) else [value])]
    return " ".join(part for part in parts if part) or None


def choice_of(value: Any, place: str) -> str | None:
    """One choice: a text, a number, true or false."""
    return _plain(value, "choice", place)


def _plain(value: Any, name: str, place: str) -> str | None:
    return str(value) if isinstance(value, bool) else scalar(value, name, place)


def scalar(value: Any, name: str, place: str) -> str | None:
    """A text, UTF-8 bytes, or a number, as a text without outer spaces; None if it is empty or missing."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise DataError(
                f"{name} holds bytes that are not UTF-8 text", where=place, remedy="save it as UTF-8 text"
            ) from None
    if isinstance(value, str):
        text = value.strip()
        refuse_half_characters(text, name, place)
        return None if not text or (len(text) < 6 and text.casefold() in _MISSING) else text
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else f"{value:.{_DIGITS}g}"
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{name} is {_kind(value)}", where=place, remedy="give a text" + _hint(value, name))


def refuse_half_characters(text: str, name: str, place: str) -> None:
    """Raise DataError for half of a surrogate pair, which no file can hold."""
    if not text.isascii() and (found := _SURROGATE.search(text)):
        problem = f"{name} holds half a character (U+{ord(found[0]):04X}) at {found.start() + 1}"
        raise DataError(problem, where=place, remedy="write the whole character, or delete it")


def _is_chat(value: Any) -> bool:
    """Whether it is a list of ``{role, content}``."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) and "role" in one for one in value)


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object with the keys {', '.join(map(repr, value)):.60}"
    if isinstance(value, list):
        return f"a chat of {len(value)} messages" if _is_chat(value) else "a list within a list"
    if isinstance(value, bool | float):
        return str(value).lower()
    return f"of type {type(value).__name__}"


def _hint(value: Any, name: str) -> str:
    if _is_chat(value):
        return "; write the user's message as the question, and the model's as rationale and answer"
    if isinstance(value, Mapping):
        return f": write the right one into its own column, such as {name}_text"
    return ""
