"""A row of a user's table as the fields of a question, before the type of its answer is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cotdistill.errors import DataError, nearest
from cotdistill.records import AnswerType, Turn
from cotdistill.tasks.cells import answer_of, scalar, text_of
from cotdistill.tasks.choices import letter, read_choices
from cotdistill.tasks.columns import likely_column
from cotdistill.tasks.conversations import (
    Conversation,
    LeftOut,
    conversation,
    conversation_of,
    is_messages,
    turn_of,
)
from cotdistill.tasks.reasoning import split_reasoning
from cotdistill.tasks.replies import read_prompt, read_reply, split_solution

Column = Literal["id", "question", "answer", "choices", "rationale"]
Row = Mapping[str, Any]

_ALPACA: dict[Column, str] = {"question": "instruction", "answer": "output"}
_ALPACA_SOLVED: dict[Column, str] = {"question": "instruction", "rationale": "output"}
"""Alpaca's columns except the input, and those of a table with answers beside them."""


@dataclass(frozen=True, slots=True)
class Draft:
    """``own_id``: the id is the row's own, not made from its content; ``is_list``: the answer was a list.

    ``answer_type`` is what the question itself asks for in our own words, if it does.
    """

    place: str
    id: str
    own_id: bool
    question: str
    answer: str
    is_list: bool
    choices: tuple[str, ...] | None
    labelled: bool
    rationale: str | None
    reasoning: str | None = None
    turns: tuple[Turn, ...] | None = None
    answer_type: AnswerType | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> str:
        """The question with what was said before it."""
        return "\n".join([*(turn.content for turn in self.turns or ()), self.question])


def draft_of(row: Row, place: str, columns: Mapping[Column, str], name: str, *, whole_answers: bool) -> Draft:
    """The fields of ``row``; an id made for it begins with ``name``.

    With ``whole_answers``, an answer is the whole cell; otherwise a solution before ``####`` or around a box becomes
    the rationale. Raises DataError for a row that cannot be used.
    """
    row = _flat(row, place, columns)
    cells = _Cells(row, place, columns)
    asked = read_prompt(cells.question())
    question, turns = asked.question, _turns(row.get("turns"), place)
    raw_answer = cells.value("answer")
    answer, solution = answer_of(raw_answer, place), None
    if answer is None:
        raise DataError("question has no answer", where=place, remedy="fill in or delete that row")
    if not whole_answers:
        answer, solution = split_solution(answer)
    choices, labels = read_choices(cells.value("choices"), place) or (asked.choices, ())
    if answer in labels:
        answer = letter(labels.index(answer))
    reasoning = text_of(row.get("reasoning"), "reasoning", place)
    rationale = text_of(cells.value("rationale"), "rationale", place) or solution
    if rationale is None:
        rationale, reasoning = reasoning, None
    own_id = "id" in columns or "id" in row
    id_ = scalar(cells.value("id"), "id", place) if own_id else _made_id(name, question, choices, answer, turns=turns)
    if id_ is None:
        raise DataError("row has no id", where=place, remedy="give every row an id, or no row")
    is_list = isinstance(raw_answer, list)
    written = (question, answer, is_list, choices, bool(labels), rationale, reasoning)
    return Draft(place, id_, own_id, *written, turns, asked.answer_type)


def kept_columns(row: Row, names: Sequence[str], place: str) -> dict[str, Any]:
    """The columns of a row that are kept beside the question. Raises DataError for one that is not there."""
    for name in names:
        if name not in row:
            raise DataError(f"row has no column {name!r}", where=place, remedy=nearest(name, row))
    return {name: scalar(row[name], name, place) for name in names}


def _flat(row: Row, place: str, columns: Mapping[Column, str]) -> Row:
    """The row with the columns of a table where it holds a conversation, a reply that states an answer, or both.

    A gold answer in a column of its own goes before the one that a reply states. Raises LeftOut for a conversation that
    we cannot use.
    """
    found = _conversation(row, place, columns)
    has_gold = columns.get("answer", "answer") in row
    if found is None:
        return row if has_gold or "output" not in row else _flat_alpaca(row)
    flat = dict(row) | {columns.get("question", "question"): found.question, "turns": found.turns or None}
    if found.reply is None:
        return flat
    answer, rationale, reasoning = read_reply(found.reply)
    if has_gold:
        return flat | {"rationale": found.reply.content, "reasoning": found.reply.reasoning}
    if answer is None:
        problem = "the reply states no answer that could be compared"
        remedy = (
            'end it with "The answer is ...", name a column of gold answers (columns: {answer: NAME}), or delete it'
        )
        raise LeftOut("no_stated_answer", problem, place, remedy)
    return flat | {"answer": answer, "rationale": rationale, "reasoning": reasoning}


def _conversation(row: Row, place: str, columns: Mapping[Column, str]) -> Conversation | None:
    asked = row.get(columns.get("question", "question"))
    if isinstance(asked, list) and is_messages(asked) and len(asked) > 1:
        return conversation([turn_of(message, place) for message in asked], place)
    return None if asked is not None or "question" in columns else conversation_of(row, place)


def _flat_alpaca(row: Row) -> Row:
    """An output that states an answer behind what it says, or thinks before; others are answers as a whole."""
    if not isinstance(row["output"], str):
        return row
    split = split_reasoning(row["output"])
    answer, rationale, reasoning = read_reply(Turn("assistant", split.visible, split.reasoning))
    if answer in (None, row["output"].strip()):
        return row
    return dict(row) | {"answer": answer, "output": rationale, "reasoning": reasoning}


def _turns(value: Any, place: str) -> tuple[Turn, ...] | None:
    if not value:
        return None
    known = isinstance(value, (list, tuple)) and all(isinstance(turn, Turn) for turn in value)
    if not known and not is_messages(value):
        raise DataError("turns are no messages", where=place, remedy='write [{"role": "user", "content": "..."}, ...]')
    return tuple(turn if isinstance(turn, Turn) else turn_of(turn, place) for turn in value)


def _made_id(name: str, *content: Any, turns: tuple[Turn, ...] | None) -> str:
    if turns:
        content += ([turn.to_row() for turn in turns],)
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
            theirs = likely_column(name, self._row) if name not in self._mapped else None
            near = f"did you mean {theirs!r}?" if theirs else nearest(column, filter(None, self._row))
            remedy = f"{near} (map it with columns: {{{name}: {theirs or 'NAME'}}})"
            raise DataError(f"no column {column!r}", where=self._place, remedy=remedy)
        return self._row.get(column)

    def question(self) -> str:
        question = text_of(self.value("question"), "question", self._place)
        if question is None:
            raise DataError("row has no question", where=self._place, remedy="fill in or delete that row")
        given = text_of(self._row.get("input"), "input", self._place) if self._is_alpaca else None
        return f"{question}\n\n{given}" if given else question
