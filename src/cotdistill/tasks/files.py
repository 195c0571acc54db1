"""The user's own questions: columns mapped, answer types inferred, a test share held out if there is no test file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cotdistill.config import FileTask
from cotdistill.errors import DataError, nearest
from cotdistill.records import AnswerType, Question
from cotdistill.tasks.answers.types import is_number, read_gold
from cotdistill.tasks.tables import Row, read_table
from cotdistill.tasks.task import Task, refuse_repeated_ids

_MAX_CHOICES = 26

_Column = Literal["id", "question", "answer", "choices", "rationale"]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row's fields, mapped and checked, before its answer's type is known."""

    place: str
    id: str
    question: str
    answer: str
    is_list: bool
    choices: tuple[str, ...] | None
    rationale: str | None


def load_files(config: FileTask) -> Task:
    """Questions of ``config.train`` and ``config.test``, or a share of the former held out by a hash of its questions.

    Rows without an id of their own get one from their content, and exact repetitions of such rows are dropped and
    counted. Raises DataError naming file, line and remedy.
    """
    train, train_repeated = _drafts(config, config.train)
    test, test_repeated = _drafts(config, config.test) if config.test else ([], 0)
    if config.test is None:
        held_out = [_is_held_out(draft.question, config.test_share) for draft in train]
        test = [draft for draft, out in zip(train, held_out, strict=True) if out]
        train = [draft for draft, out in zip(train, held_out, strict=True) if not out]
        if not train or not test:
            problem = f"no question is left for {'training' if not train else 'testing'}"
            raise DataError(problem, where=config.train, remedy="give more rows, a test file, or another test_share")
    types = _answer_types([*train, *test], config)
    name = config.name
    questions = [
        _question(name, split, draft, types[draft.place])
        for split, drafts in (("train", train[: config.num_train]), ("test", test[: config.num_test]))
        for draft in drafts
    ]
    repeated = train_repeated + test_repeated
    return Task(
        config.name,
        tuple(question for question in questions if question.split == "train"),
        tuple(question for question in questions if question.split == "test"),
        {"repeated": repeated} if repeated else {},
    )


def _drafts(config: FileTask, path: Path) -> tuple[list[_Draft], int]:
    """The rows of ``path`` as drafts, and the number of repeated ones left out."""
    drafts: list[_Draft] = []
    num_repeated = 0
    made_ids: set[str] = set()
    for place, row in read_table(path):
        draft = _draft(config, row, place)
        if _has_own_id(config, row):
            drafts.append(draft)
        elif draft.id in made_ids:
            num_repeated += 1
        else:
            made_ids.add(draft.id)
            drafts.append(draft)
    if not drafts:
        raise DataError("no rows", where=path, remedy="give a file with at least one question")
    refuse_repeated_ids((draft.id, draft.place) for draft in drafts)
    return drafts, num_repeated


def _draft(config: FileTask, row: Row, place: str) -> _Draft:
    question = str(_cell(config, row, "question", place) or "").strip()
    if not question:
        raise DataError("row without a question", where=place, remedy="fill in or delete that row")
    raw_answer = _cell(config, row, "answer", place)
    answer = _answer_text(raw_answer, place)
    choices = _choices(_cell(config, row, "choices", place), place)
    rationale = str(_cell(config, row, "rationale", place) or "").strip() or None
    if not _has_own_id(config, row):
        content = json.dumps([question, choices, answer])
        own_id = f"{config.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    elif (value := _cell(config, row, "id", place)) is not None:
        own_id = str(value)
    else:
        raise DataError("row without an id", where=place, remedy="give every row an id, or none")
    return _Draft(place, own_id, question, answer, isinstance(raw_answer, list), choices, rationale)


def _has_own_id(config: FileTask, row: Row) -> bool:
    return "id" in config.columns or "id" in row


def _cell(config: FileTask, row: Row, name: _Column, place: str) -> Any:
    """The row's value for our column ``name``; question and answer must exist, and so must every mapped column."""
    column = config.columns.get(name, name)
    if column not in row and (name in ("question", "answer") or name in config.columns):
        remedy = f"{nearest(column, row)} (map it with columns: {{{name}: NAME}})"
        raise DataError(f"no column {column!r}", where=place, remedy=remedy)
    return row.get(column)


def _answer_text(value: Any, place: str) -> str:
    """A row's answer as text; JSON lists are joined by spaces, and true and false are capitalised."""
    if isinstance(value, list):
        value = " ".join(str(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or not str(value).strip() or (isinstance(value, float) and not math.isfinite(value)):
        raise DataError("question without an answer", where=place, remedy="fill in or delete that row")
    if isinstance(value, dict):
        raise DataError("answer is an object", where=place, remedy="give a text, a number, true or false, or a list")
    return str(value).strip()


def _choices(value: Any, place: str) -> tuple[str, ...] | None:
    """Choices from a list, a JSON list in a text, or a text separated by "|"."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.split("|")
        except json.JSONDecodeError as error:
            raise DataError(f"choices are no JSON list ({error.msg})", where=place) from None
    if not value:
        return None
    if not isinstance(value, list) or not 2 <= len(value) <= _MAX_CHOICES:
        problem = f"choices are {value!r:.60}, not a list of 2 to {_MAX_CHOICES}"
        raise DataError(problem, where=place, remedy='give a list, or separate them by "|"')
    return tuple(str(choice).strip() for choice in value)


def _answer_types(drafts: Sequence[_Draft], config: FileTask) -> dict[str, AnswerType]:
    """Each draft's answer type by its place: as configured, else letter where there are choices, else inferred."""
    if config.answer_type != "auto":
        return {draft.place: config.answer_type for draft in drafts}
    inferred = _inferred_type([draft for draft in drafts if draft.choices is None])
    return {draft.place: inferred if draft.choices is None else "letter" for draft in drafts}


def _inferred_type(drafts: Sequence[_Draft]) -> AnswerType:
    """The narrowest type that all answers have."""
    answers = {draft.answer.casefold() for draft in drafts}
    if all(map(is_number, answers)):
        return "number"
    if answers <= {"true", "false"}:
        return "true_false"
    if answers <= {"yes", "no"}:
        return "yes_no"
    return "list" if all(draft.is_list for draft in drafts) else "text"


def _question(task: str, split: str, draft: _Draft, answer_type: AnswerType) -> Question:
    answer = read_gold(draft.answer, answer_type, draft.choices)
    if answer is None:
        kind = f"none of its choices {list(draft.choices)}" if draft.choices else f"no {answer_type.replace('_', '/')}"
        remedy = "mend that row" if draft.choices else "mend that row or set answer_type"
        raise DataError(f"answer {draft.answer!r} is {kind}", where=draft.place, remedy=remedy)
    return Question(draft.id, task, split, draft.question, answer, answer_type, draft.choices, draft.rationale)


def _is_held_out(question: str, share: float) -> bool:
    """By a hash of the question's words: rows can be added or moved, and equal questions stay on one side."""
    words = " ".join(question.casefold().split())
    return int.from_bytes(hashlib.sha256(words.encode("utf-8", "backslashreplace")).digest()[:8], "big") < share * 2**64
