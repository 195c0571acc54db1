"""A teacher's rationales, question after question; each is written down before the next is made, so that a kill costs
none. Those of files, which cost nothing, are written some thousands later where several processes verify them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cotdistill.annotation.rationales import Dropped, Missing, Rationales
from cotdistill.annotation.teachers.sources import OwnSource, Source, source_of
from cotdistill.annotation.verifying import with_refusals
from cotdistill.config import AnnotationConfig, Teacher, identity
from cotdistill.errors import ConfigError
from cotdistill.records import Question, Rationale, count_by
from cotdistill.storage.hashes import content_key
from cotdistill.storage.jsonl import RowAppender
from cotdistill.storage.stored import Without

Outcome = Rationale | Dropped
"""What becomes of a question."""

_ENDING = ".collected.tmp"
_DROPPED = "left_out"
"""The key of a row under which what was dropped is written."""


def collect_rationales(
    questions: Sequence[Question],
    teacher: Teacher,
    annotation: AnnotationConfig,
    data_dir: Path | None = None,
    *,
    completions: Path | None = None,
    folder: Path | None = None,
) -> Rationales:
    """The teacher's rationales for ``questions``, in their order, without those that ``annotation.keep`` refuses.

    ``data_dir`` holds released rationales, for teachers whose settings name no folder (default: $COTDISTILL_DATA);
    ``completions`` is the folder for a teacher that is asked; its budget covers everything in that folder; ``folder``
    is for what a killed process has collected (see :func:`collected`). A rationale's answer is always the gold answer.
    Raises DataError for rationales that were never released.
    """
    if annotation.selection is not None:
        raise ConfigError("a selection needs a folder for its scores", remedy="call annotate with runs")
    source = source_of(teacher, data_dir, completions)
    log = None if folder is None else log_of(folder, teacher, annotation)
    records: list[Rationale] = []
    left_out: list[Dropped] = []
    for outcome in collected(questions, source, annotation, log):
        if isinstance(outcome, Dropped):
            left_out.append(outcome)
        else:
            records.append(outcome)
    dropped = count_by(one.reason for one in left_out)
    return Rationales(tuple(records), dropped, left_out=tuple(left_out), tokens=tokens_of(source))


def collected(
    questions: Sequence[Question], source: Source, annotation: AnnotationConfig, log: Path | None
) -> Iterator[Outcome]:
    """What becomes of each question, in order: first what a killed process has left in ``log``, then what is new,
    which is appended there line by line."""
    asks = hasattr(source, "tokens")  # its completions are kept elsewhere, and their tokens are counted over all
    if log is None:
        found = source.rationales(list(questions) if asks else questions, annotation)
        yield from _outcomes(found, annotation, one_by_one=False)
        return
    with RowAppender(log) as appender:
        done = 0
        for row in appender.rows():
            done += 1
            yield _read(row)
        if asks:
            new = islice(source.rationales(list(questions), annotation), done, None)
        else:
            new = source.rationales(Without(questions, range(done)) if done else questions, annotation)
        for outcome in _outcomes(new, annotation, one_by_one=isinstance(source, OwnSource)):
            appender.append({_DROPPED: outcome.to_row()} if isinstance(outcome, Dropped) else outcome.to_row())
            yield outcome


def tokens_of(source: Source) -> tuple[int, int]:
    """Of all that a source has asked: of prompts, and of completions."""
    return getattr(source, "tokens", (0, 0))


def log_of(folder: Path, teacher: Teacher, annotation: AnnotationConfig) -> Path:
    """The log of one collection; those of a selection have other levels, or draws of the teacher."""
    return folder / f"{content_key([identity(teacher), identity(annotation)])}{_ENDING}"


def forget_collected(folder: Path) -> None:
    """Remove all logs from a folder that is finished, and the files that a kill has left half written."""
    for left in (*folder.glob(f"*{_ENDING}"), *folder.glob(".*.tmp")):
        left.unlink()


def _outcomes(
    found: Iterable[Rationale | Missing], annotation: AnnotationConfig, *, one_by_one: bool
) -> Iterator[Outcome]:
    for one, refused in with_refusals(found, annotation.keep, one_by_one=one_by_one):
        if refused is not None:
            yield refused
        elif isinstance(one, Rationale):
            yield one


def _read(row: dict[str, Any]) -> Outcome:
    return Dropped.from_row(row[_DROPPED]) if _DROPPED in row else Rationale.from_row(row)
