"""A row of a user's table as the fields of a question, before the type of its answer is known."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cotdistill.errors import DataError, nearest
from cotdistill.tasks.answers.typography import last_box
from cotdistill.tasks.cells import answer_of, scalar, text_of
from cotdistill.tasks.choices import letter, read_choices

Column = Literal["id", "question", "answer", "choices", "rationale"]
Row = Mapping[str, Any]

_GSM8K = re.compile(r"(?:(?P<rationale>.*)\n)?[ \t]*####[ \t]*(?P<answer>[^\n]*\S)\s*", re.DOTALL)
"""A solution, then #### and the answer: the form of GSM8K (arXiv 2110.14168)."""
_CALCULATOR = re.compile(r"<<[^<>]*>>")
"""GSM8K's annotations ``<<48/2=24>>``."""
_ALPACA: dict[Column, str] = {"question": "instruction", "answer": "output"}
_ALPACA_SOLVED: dict[Column, str] = {"question": "instruction", "rationale": "output"}
"""Alpaca's columns except the input, and those of a table with answers beside them."""
_CHATS = ("messages", "conversations", "conversation")


@dataclass(frozen=True, slots=True)
class Draft:
    """``own_id``: the id is the row's own, not made from its content; ``is_list``: the answer was a list."""

    place: str
    id: str
    own_id: bool
    question: str
    answer: str
    is_list: bool
    choices: tuple[str, ...] | None
    labelled: bool
    rationale: str | None


def draft_of(row: Row, place: str, columns: Mapping[Column, str], name: str, *, whole_answers: bool) -> Draft:
    """The fields of ``row``; an id made for it begins with ``name``.

    With ``whole_answers``, an answer is the whole cell; otherwise a solution before ``####`` or around a box becomes
    the rationale. Raises DataError for a row that cannot be used.
    """
    cells = _Cells(row, place, columns)
    question = cells.question()
    raw_answer = cells.value("answer")
    answer, solution = answer_of(raw_answer, place), None
    if answer is None:
        raise DataError("question has no answer", where=place, remedy="fill in or delete that row")
    if not whole_answers:
        answer, solution = split_solution(answer)
    choices, labels = read_choices(cells.value("choices"), place) or (None, ())
    if answer in labels:
        answer = letter(labels.index(answer))
    rationale = text_of(cells.value("rationale"), "rationale", place) or solution
    own_id = "id" in columns or "id" in row
    id_ = scalar(cells.value("id"), "id", place) if own_id else _made_id(name, question, choices, answer)
    if id_ is None:
        raise DataError("row has no id", where=place, remedy="give every row an id, or no row")
    is_list = isinstance(raw_answer, list)
    return Draft(place, id_, own_id, question, answer, is_list, choices, bool(labels), rationale)


def _made_id(name: str, *content: Any) -> str:
    return f"{name}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]}"


class _Cells:
    """A row by our column names: those that ``columns`` maps, our own, or Alpaca's."""

    def __init__(self, row: Row, place: str, columns: Mapping[Column, str]):
        self._row, self._place, self._mapped = row, place, columns
        self._is_alpaca = "instruction" in row and "question" not in row and "question" not in columns
        alpaca = _ALPACA_SOLVED if "answer" in row or "answer" in columns else _ALPACA
        self._columns = {**alpaca, **columns} if self._is_alpaca else columns

    def value(self, name: Column) -> Any:
        """Question and answer must exist, and so must every mapped column."""
        column = self._columns.get(name, name)
        if column not in self._row and (name in ("question", "answer") or name in self._mapped):
            remedy = f"{nearest(column, filter(None, self._row))} (map it with columns: {{{name}: NAME}})"
            if chat := next((chat for chat in _CHATS if chat in self._row), None):
                remedy = f"write the content of {chat} as separate columns: question, rationale and answer"
            raise DataError(f"no column {column!r}", where=self._place, remedy=remedy)
        return self._row.get(column)

    def question(self) -> str:
        question = text_of(self.value("question"), "question", self._place)
        if question is None:
            raise DataError("row has no question", where=self._place, remedy="fill in or delete that row")
        given = text_of(self._row.get("input"), "input", self._place) if self._is_alpaca else None
        return f"{question}\n\n{given}" if given else question


def split_solution(answer: str) -> tuple[str, str | None]:
    """``(answer, rationale)`` of a gold answer that is a solution: the answer after ``####`` or in the last box."""
    if (found := _GSM8K.fullmatch(answer)) is not None:
        return found["answer"], _CALCULATOR.sub("", found["rationale"] or "").strip() or None
    if box := last_box(answer):
        whole, held = box
        return held or answer, None if answer.strip("$ .") == whole else answer
    return answer, None
