"""A loaded task: its questions, and what was dropped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from cotdistill.errors import DataError
from cotdistill.records import Question
from cotdistill.storage.jsonl import dump_row

_MAX_SHOWN = 40


@dataclass(frozen=True)
class Task:
    """Training and test questions; ``dropped`` counts, by reason, rows that did not become questions.

    ``path`` is the stage folder that holds the questions, if one does; they are then read when they are asked for.
    """

    name: str
    train: Sequence[Question]
    test: Sequence[Question]
    dropped: dict[str, int] = field(default_factory=dict)
    path: Path | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all rows in order: equal content gives equal fingerprints, wherever it is loaded from."""
        digest = hashlib.sha256()
        for question in (*self.train, *self.test):
            digest.update(dump_row(question.to_row()).encode() + b"\n")
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """How many questions there are, what was dropped, and for each answer type its count and three examples."""
        answers: dict[str, list[str]] = {}
        for question in (*self.train, *self.test):
            answers.setdefault(question.answer_type, []).append(_shown(question))
        types = {kind: {"count": len(of), "examples": list(dict.fromkeys(of))[:3]} for kind, of in answers.items()}
        counts = {"train": len(self.train), "test": len(self.test), "dropped": self.dropped}
        return {"name": self.name, **counts, "answers": types}

    def summary_line(self) -> str:
        """:meth:`summary` in one line."""
        types = ", ".join(
            f"{kind.replace('_', '/')} ({'; '.join(found['examples'])})"
            for kind, found in self.summary()["answers"].items()
        )
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
        tested = " and ".join({question.task.partition("/")[0]: None for question in self.test})
        of = "" if tested in ("", self.name) else f" of {tested}"
        counts = f"{len(self.train)} to train on, {len(self.test)}{of} to test on"
        return f"questions of {self.name}: {counts}; answers: {types}" + (f"; dropped: {reasons}" if reasons else "")


def _shown(question: Question) -> str:
    """The answer on one short line, with the choice that a letter stands for."""
    if not question.choices or question.answer_type != "letter":
        return shorten(question.answer, _MAX_SHOWN, placeholder=" ...")
    choice = question.choices[ord(question.answer) - ord("A")]
    return f"{question.answer}: {shorten(choice, _MAX_SHOWN, placeholder=' ...')}"


def refuse_repeated_ids(places: Iterable[tuple[str, str]]) -> None:
    """Raise DataError for the first id that occurs twice among ``(id, place)``, naming both places."""
    seen: dict[str, str] = {}
    for question_id, place in places:
        if question_id in seen:
            problem = f"id {question_id!r} is already used in {seen[question_id]}"
            raise DataError(problem, where=place, remedy="give every row its own id")
        seen[question_id] = place


def refuse_repeated_questions(questions: Iterable[Question]) -> None:
    """Raise DataError if an id occurs twice in a task: predictions are kept, and arms compared, by task and id."""
    seen: set[tuple[str, str]] = set()
    for question in questions:
        key = (question.task, question.id)
        if key in seen:
            problem = f"two questions of task {question.task} have the id {question.id!r}"
            raise DataError(
                problem, where="evaluation.tasks", remedy="name each task once, and give files different names"
            )
        seen.add(key)
