"""The user's own questions, from files, the hub or a function: answer types are inferred, a share is held out for the
test."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from cotdistill.config import FileTask, HubTask, OwnBenchmark, OwnQuestions
from cotdistill.errors import DataError
from cotdistill.records import AnswerType, Question
from cotdistill.tasks.answers.types import is_number, read_gold
from cotdistill.tasks.choices import first_index, letter
from cotdistill.tasks.conversations import LeftOut
from cotdistill.tasks.drafts import Draft, draft_of, kept_columns
from cotdistill.tasks.held_out import is_held_out
from cotdistill.tasks.hub import read_split
from cotdistill.tasks.tables import read_table
from cotdistill.tasks.task import Task, refuse_repeated_ids

Row = Mapping[str, Any]

_MAX_LEFT_OUT = 0.5
"""The share of conversations that may be left out."""
_NAMED = 3
"""This many rows that do not fit are named; the others are counted."""


def load_own(config: OwnQuestions) -> Task:
    """The questions of :func:`own_questions`, all of them in memory."""
    found = own_questions(config)
    return Task(found.name, tuple(found.train), tuple(found.test), found.dropped)


class Own(NamedTuple):
    """The user's questions, each made when it is asked for; ``dropped`` counts rows by the reason why they are none."""

    name: str
    train: Iterator[Question]
    test: Iterator[Question]
    dropped: dict[str, int]


def own_questions(config: OwnQuestions) -> Own:
    """The questions of ``config.train`` and ``config.test``.

    If there is no ``test``, a share of ``train`` is held out by a hash of the questions. Rows without an id get one
    from their content, and exact repetitions of such rows are dropped and counted. Raises DataError naming file, line
    and remedy, also while questions are made.
    """
    dropped: Counter[str] = Counter()
    train, test = (_drafts(config, side, dropped) for side in ("train", "test"))
    type_of = _answer_types([*train, *test], config)
    name = test_name = config.side_name("train" if config.train else "test")
    if config.test is None:
        train, test = _held_out(train, config)
    else:
        test_name = config.side_name("test")
    return Own(
        name,
        _questions(name, "train", train[: config.num_train], type_of),
        _questions(test_name, "test", test[: config.num_test], type_of),
        dict(sorted(dropped.items())),
    )


def place_of(config: OwnQuestions, side: Literal["train", "test"]) -> str:
    """Where the rows of one side lie, for an error about all of them."""
    if isinstance(config, FileTask):
        return str(config.train if side == "train" else config.test)
    return f"{config.hub if isinstance(config, HubTask) else config.function}, {side}"


def _drafts(config: OwnQuestions, side: Literal["train", "test"], dropped: Counter[str]) -> list[Draft]:
    """The rows of one side as drafts; those that are repeated and conversations that we cannot use are counted.

    Raises the error of the first such conversation if their share is above ``_MAX_LEFT_OUT``.
    """
    if (config.train if side == "train" else config.test) is None:
        return []
    rows = _rows(config, side)
    drafts: list[Draft] = []
    left_out: list[LeftOut] = []
    made_ids: set[str] = set()
    whole = config.answer_type == "text"
    for place, row in rows:
        try:
            draft = draft_of(row, place, config.columns, config.side_name(side), whole_answers=whole)
        except LeftOut as error:
            left_out.append(error)
            continue
        if not draft.own_id and draft.id in made_ids:
            dropped["repeated"] += 1
            continue
        made_ids.add(draft.id)
        if config.keep_columns:
            draft = replace(draft, meta=kept_columns(row, config.keep_columns, place))
        drafts.append(draft)
    _refuse_many(left_out, len(drafts))
    dropped.update(error.reason for error in left_out)
    if not drafts:
        raise DataError("no rows", where=place_of(config, side), remedy="give at least one question")
    if any(draft.own_id for draft in drafts):
        refuse_repeated_ids((draft.id, draft.place) for draft in drafts)
    return drafts


def _refuse_many(left_out: Sequence[LeftOut], kept: int) -> None:
    total = len(left_out) + kept
    if len(left_out) > _MAX_LEFT_OUT * total:
        first = left_out[0]
        reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(e.reason for e in left_out).items())
        problem = f"{first.problem} (of {total} rows {len(left_out)} cannot be used: {reasons})"
        raise DataError(problem, where=first.where, remedy=first.remedy)


def _rows(config: OwnQuestions, side: Literal["train", "test"]) -> Iterable[tuple[str, Row]]:
    """``(place, row)`` of one side. Raises DataError for what cannot be read as rows."""
    if isinstance(config, HubTask):
        return read_split(config, side)
    if isinstance(config, OwnBenchmark):
        return _written_rows(config, side)
    path = config.train if side == "train" else config.test
    assert path is not None, "only what the config names is read"
    return read_table(path)


def _written_rows(config: OwnBenchmark, side: Literal["train", "test"]) -> Iterator[tuple[str, Row]]:
    config.function.check("split", settings=config.settings)
    rows = config.function.call(side, **config.settings)
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        problem = f"{config.function.name} returns {type(rows).__name__}"
        raise DataError(problem, where=config.function, remedy="return rows: mappings of columns")
    for index, row in enumerate(rows):
        place = f"{config.function}, {side} row {index}"
        if not isinstance(row, Mapping):
            raise DataError(f"{type(row).__name__} instead of a row", where=place, remedy="return mappings of columns")
        yield place, row


def _held_out(drafts: list[Draft], config: OwnQuestions) -> tuple[list[Draft], list[Draft]]:
    """The drafts to train on, and those to test on."""
    sides: tuple[list[Draft], list[Draft]] = [], []
    for draft in drafts:
        sides[is_held_out(draft.asked, config.test_share)].append(draft)
    if not all(sides):
        problem = f"no questions left for {'testing' if sides[0] else 'training'}"
        raise DataError(
            problem, where=place_of(config, "train"), remedy="give more rows, a test file, or another test_share"
        )
    return sides


def _questions(task: str, split: str, drafts: list[Draft], type_of: TypeOf) -> Iterator[Question]:
    """The question of each draft, which is then forgotten."""
    drafts.reverse()
    while drafts:
        draft = drafts.pop()
        yield _question(task, split, draft, *type_of(draft))


def _question(task: str, split: str, draft: Draft, answer_type: AnswerType, first: int | None) -> Question:
    """``first`` is the number of the first choice if the answer is the index of one."""
    stated = draft.answer if first is None else letter(int(draft.answer) - first)
    answer = read_gold(stated, answer_type, draft.choices)
    if answer is None:
        kind = f"not one of its choices {list(draft.choices)}" if draft.choices else f"not of type {answer_type}"
        remedy = "fix that row" if draft.choices else "fix that row or set answer_type"
        raise DataError(f"answer {draft.answer!r:.80} is {kind}", where=draft.place, remedy=remedy)
    asked = (draft.id, task, split, draft.question, answer, answer_type, draft.choices, draft.rationale)
    return Question(*asked, meta=draft.meta, turns=draft.turns, human_reasoning=draft.reasoning)


# ---- types ----------------------------------------------------------------------------------------------------------


TypeOf = Callable[[Draft], tuple[AnswerType, int | None]]
"""A draft's answer type, and the number that the index of its choice counts from if its answer is one."""


def _answer_types(drafts: Sequence[Draft], config: OwnQuestions) -> TypeOf:
    """The type as configured, else what the question itself asks for, else letter if there are choices, else
    inferred."""
    if config.answer_type != "auto":
        configured = config.answer_type
        return lambda draft: (configured, None)
    left = [draft for draft in drafts if draft.answer_type is None]
    without_choices = [draft for draft in left if draft.choices is None]
    inferred = _inferred_type(without_choices)
    if inferred == "number":
        _refuse_mixed_commas(without_choices)
    first = first_index([(d.place, d.answer, d.choices) for d in left if d.choices and not d.labelled])

    def type_of(draft: Draft) -> tuple[AnswerType, int | None]:
        if draft.answer_type is not None:
            return draft.answer_type, None
        return (inferred, None) if draft.choices is None else ("letter", None if draft.labelled else first)

    return type_of


_DECIMAL_COMMA = re.compile(r"[-+]?[0-9.]*[0-9],(?:[0-9]{1,2}|[0-9]{4,})")
_ONE_GROUP = re.compile(r"[-+]?[1-9][0-9]{0,2}[.,][0-9]{3}")


def _refuse_mixed_commas(drafts: Sequence[Draft]) -> None:
    """Raise DataError for "1,234" in a table in which "3,5" shows that a comma may be the decimal one."""
    shown = next((draft for draft in drafts if _DECIMAL_COMMA.fullmatch(draft.answer)), None)
    for draft in drafts if shown else ():
        if shown and _ONE_GROUP.fullmatch(draft.answer):
            problem = f"answer {draft.answer!r} may mean thousands, or decimals as in {shown.answer!r} ({shown.place})"
            raise DataError(
                problem, where=draft.place, remedy="write decimals with a point and thousands without a separator"
            )


def _is_lettered(draft: Draft) -> bool:
    """Whether the answer is a letter before an option in the question: "(B) Rome", or "B. Rome" on its own line."""
    found = re.fullmatch(r"\(?([A-Z])\)?\.?", draft.answer)
    return found is not None and bool(
        re.search(rf"\({found[1]}\)|^[ \t]*{found[1]}[).:]", draft.question, re.MULTILINE)
    )


_LATEX = re.compile(r"\\[A-Za-z]+|\^|\$.+\$", re.DOTALL)

_IS_OF: dict[AnswerType, tuple[str, Callable[[Draft], bool]]] = {
    "number": ("a number", lambda draft: is_number(draft.answer)),
    "true_false": ("true or false", lambda draft: draft.answer.casefold() in ("true", "false")),
    "yes_no": ("yes or no", lambda draft: draft.answer.casefold() in ("yes", "no")),
    "letter": ("the letter of an option in its question", _is_lettered),
    "list": ("a list", lambda draft: draft.is_list),
    "math": ("LaTeX", lambda draft: _LATEX.search(draft.answer) is not None or is_number(draft.answer)),
}
"""Tests for the types that can be recognised, the narrowest first."""


def _inferred_type(drafts: Sequence[Draft]) -> AnswerType:
    """The narrowest type that fits all answers, else text.

    Raises DataError where a type fits most of the answers but not all: as texts, most would be compared wrongly.
    """
    unfitting: dict[AnswerType, list[Draft]] = {
        kind: [draft for draft in drafts if not fits(draft)] for kind, (_, fits) in _IS_OF.items()
    }
    for kind, others in unfitting.items():
        if not others:
            return kind
    kind, others = min(unfitting.items(), key=lambda item: len(item[1]))
    if 2 * len(others) >= len(drafts):
        return "text"
    first, *further = others
    problem = (
        f"answer {first.answer!r:.60} is not {_IS_OF[kind][0]}, as {len(drafts) - len(others)} of {len(drafts)} are"
    )
    if further:
        file = first.place.rpartition(", ")[0]
        named = ", ".join(draft.place.removeprefix(f"{file}, ") for draft in further[:_NAMED])
        problem += (
            f" (nor is the answer of {named}{f' and {len(further) - _NAMED} more' if len(further) > _NAMED else ''})"
        )
    raise DataError(problem, where=first.place, remedy=f"fix that row, or set answer_type: {kind} or text")
