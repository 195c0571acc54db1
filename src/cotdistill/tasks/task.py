"""A loaded task: its questions, and what was left out of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from cotdistill.errors import DataError
from cotdistill.records import Question
from cotdistill.storage.jsonl import dump_row


@dataclass(frozen=True)
class Task:
    """Training and test questions; ``dropped`` counts, by reason, rows that became no question."""

    name: str
    train: tuple[Question, ...]
    test: tuple[Question, ...]
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all rows in order: equal content gives equal fingerprints, wherever it was loaded from."""
        digest = hashlib.sha256()
        for question in (*self.train, *self.test):
            digest.update(dump_row(question.to_row()).encode() + b"\n")
        return digest.hexdigest()


def refuse_repeated_ids(places: Iterable[tuple[str, str]]) -> None:
    """Raise DataError for the first id that occurs twice among ``(id, place)``, naming both places."""
    seen: dict[str, str] = {}
    for question_id, place in places:
        if question_id in seen:
            problem = f"id {question_id!r} was used before, in {seen[question_id]}"
            raise DataError(problem, where=place, remedy="give every row an id of its own")
        seen[question_id] = place


def refuse_repeated_questions(questions: Iterable[Question]) -> None:
    """Raise DataError where a task's id occurs twice: predictions are kept, and arms compared, by task and id."""
    seen: set[tuple[str, str]] = set()
    for question in questions:
        key = (question.task, question.id)
        if key in seen:
            problem = f"two questions of task {question.task} have the id {question.id!r}"
            raise DataError(problem, where="evaluation.tasks", remedy="name each task once, and files differently")
        seen.add(key)
