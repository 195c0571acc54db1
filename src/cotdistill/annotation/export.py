"""What ``export`` reads: an annotation, a file of rationales, or the user's own file with what people wrote."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from cotdistill.annotation.annotate import read_annotation
from cotdistill.config import FileTask
from cotdistill.errors import DataError
from cotdistill.records import Question, Rationale
from cotdistill.tasks import load_task
from cotdistill.tasks.tables import read_table

_RECORDED = frozenset(Rationale.__dataclass_fields__) - {"question", "meta", "reasoning"}


def rationales_in(path: Path) -> tuple[list[Rationale], dict[str, int]]:
    """The rationales in a folder ``runs/annotation/KEY`` or in a file, and counts of the rows that cannot be used.

    A question without a rationale is an answer alone. Raises DataError for what holds neither.
    """
    if path.is_dir():
        return list(read_annotation(path)), {}
    if all(row.keys() >= _RECORDED for _, row in islice(read_table(path), 1)):
        return [_recorded(row, place) for place, row in read_table(path)], {}
    loaded = load_task(FileTask(test=path))
    return [_written(question) for question in loaded.test], loaded.dropped


def _recorded(row: dict[str, object], place: str) -> Rationale:
    try:
        return Rationale.from_row(row)
    except (KeyError, TypeError) as error:
        raise DataError(f"not a row of rationales ({error})", where=place, remedy="export the file anew") from None


def _written(question: Question) -> Rationale:
    form = "human" if question.human_rationale else "answer_only"
    return Rationale(question, question.human_rationale, "human", None, form, reasoning=question.human_reasoning)
