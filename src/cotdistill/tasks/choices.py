"""The choices of a user's row, and which one its answer names: by a letter, a label, a text or an index."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cotdistill.errors import DataError
from cotdistill.tasks.cells import choice_of

MAX_CHOICES = 26
_LABEL = re.compile(r"\(?([A-Za-z]|[0-9]{1,2})\)?")
_INDEX = re.compile("[0-9]{1,2}")
_PREFIXED = re.compile(r"\(?([A-Z])\s?[).:]\s*(?=\S)")


def read_choices(value: Any, place: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """``(choices, labels)`` of a cell, or None for an empty one; labels are () if they are the letters A, B, ...

    A cell is a list of texts, a list of ``{label, text}``, ``{label: [...], text: [...]}``, ``{A: text, B: text}``, any
    of these as JSON, or a text with "|" between choices. Raises DataError for anything else.
    """
    if isinstance(value, str):
        value = _parsed(value.strip(), place)
    labels: list[Any] = []
    if isinstance(value, Mapping) and {"text", "label"} <= value.keys():
        labels, value = value["label"], value["text"]
    elif isinstance(value, Mapping) and value and all(_LABEL.fullmatch(str(key)) for key in value):
        value = {key: text for key, text in value.items() if text is not None}
        labels, value = list(value), list(value.values())
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "text" in one for one in value):
        labels, value = [one["label"] for one in value if "label" in one], [one["text"] for one in value]
    if not value:
        return None
    if not isinstance(value, list) or not 2 <= len(value) <= MAX_CHOICES:
        problem = f"choices are {json.dumps(value, default=str, ensure_ascii=False):.60}"
        remedy = f'give a list of 2 to {MAX_CHOICES}, or separate them with "|"'
        raise DataError(problem, where=place, remedy=remedy)
    choices = [choice_of(choice, place) for choice in value]
    if None in choices:
        raise DataError(f"choice {choices.index(None) + 1} is empty", where=place, remedy="fill in or delete it")
    texts = tuple(choice for choice in choices if choice is not None)
    return _without_letters(texts), _labels(labels, len(texts), place)


def _parsed(text: str, place: str) -> Any:
    if not text.startswith(("[", "{")):
        return text.split("|") if text else None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = f"choices are not a JSON list ({getattr(error, 'msg', 'nested too deeply')})"
        raise DataError(problem, where=place, remedy='fix them, or separate choices with "|"') from None


def _labels(labels: Any, num_choices: int, place: str) -> tuple[str, ...]:
    """The labels, () if they are A, B, ..."""
    names = tuple(str(label).strip() for label in labels) if isinstance(labels, list) else ("",)
    if names and (len(names) != num_choices or len(set(names)) != num_choices):
        remedy = "give each choice its own label"
        raise DataError(f"{len(set(names))} labels for {num_choices} choices", where=place, remedy=remedy)
    return () if names == tuple(map(letter, range(num_choices))) else names


def _without_letters(choices: tuple[str, ...]) -> tuple[str, ...]:
    """The choices without the letters that they begin with, in order, such as "A)21" and "B) 22"."""
    found = [_PREFIXED.match(choice) for choice in choices]
    if [match and match[1] for match in found] != [letter(index) for index in range(len(choices))]:
        return choices
    return tuple(choice[match.end() :] for choice, match in zip(choices, found, strict=True) if match)


def letter(index: int) -> str:
    """The letter of the choice at ``index``: A is the first."""
    return chr(ord("A") + index)


def first_index(rows: Sequence[tuple[str, str, tuple[str, ...]]]) -> int | None:
    """0 or 1 if the answers of all rows ``(place, answer, choices)`` count choices from that number; None if they are
    not such indices.

    Raises DataError for whole numbers that may count from either, or may also be texts of choices.
    """
    if not rows or not all(_INDEX.fullmatch(answer) for _, answer, _ in rows):
        return None
    fitting = [first for first in (0, 1) if all(0 <= int(answer) - first < len(listed) for _, answer, listed in rows)]
    if not fitting:
        return None
    place, answer, choices = rows[0]
    are_texts = all(answer in listed for _, answer, listed in rows)
    if are_texts or len(fitting) > 1:
        readings = [f"choice {letter(int(answer) - first)} counted from {first}" for first in fitting]
        readings += [f"choice {letter(choices.index(answer))}, whose text it is"] if are_texts else []
        remedy = "write the letter of the right choice (A is the first)"
        raise DataError(f"answer {answer} may be {' or '.join(readings)}", where=place, remedy=remedy)
    return fitting[0]
