"""The annotation stage: rationales of one teacher for a set of questions, filtered, with every drop counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cotdistill.annotation.rationales import Missing, Rationales
from cotdistill.annotation.sources import source_of
from cotdistill.artifacts import content_key, open_stage, write_rows
from cotdistill.config import AnnotationConfig, AnswerOnlyTeacher, DatasetTeacher, HumanTeacher, ProceduralTeacher
from cotdistill.errors import DataError
from cotdistill.records import Question, Rationale, count_by, read_rows

VERSION = 1
"""Raised whenever a change of code changes what an annotation holds."""

Teacher = DatasetTeacher | HumanTeacher | AnswerOnlyTeacher | ProceduralTeacher


def collect_rationales(
    questions: Sequence[Question], teacher: Teacher, annotation: AnnotationConfig, data_dir: Path | None = None
) -> Rationales:
    """The teacher's rationales for ``questions``, in their order, without those that ``annotation.keep`` refuses.

    ``data_dir`` holds released rationales, for teachers that name no folder of their own (default: $COTDISTILL_DATA).
    The answer of a rationale is always the gold one. Raises DataError for rationales that were never released.
    """
    records: list[Rationale] = []
    reasons: list[str] = []
    for found in source_of(teacher, data_dir).rationales(questions, annotation):
        reason = found.reason if isinstance(found, Missing) else drop_reason(found, annotation.keep)
        if reason is not None:
            reasons.append(reason)
        elif isinstance(found, Rationale):
            records.append(found)
    return Rationales(tuple(records), count_by(reasons))


def drop_reason(rationale: Rationale, keep: str) -> str | None:
    """Why a rationale is left out, or None: it is empty, or under ``agree`` its teacher stated another answer or none.

    A teacher without an answer of its own (people, the solver) always agrees.
    """
    if rationale.rationale == "":
        return "empty_rationale"
    if keep == "agree" and not rationale.meta.get("teacher_agrees", True):
        return "no_stated_answer" if rationale.meta["teacher_answer"] is None else "disagrees"
    return None


def annotate(
    questions: Sequence[Question],
    teacher: Teacher,
    annotation: AnnotationConfig,
    *,
    runs: Path,
    data_dir: Path | None = None,
) -> Rationales:
    """:func:`collect_rationales` into ``runs/annotation/<key>``, or the finished rationales that are there.

    Raises DataError where no rationale is left.
    """
    identity = {
        "version": VERSION,
        "questions": content_key([question.to_row() for question in questions]),
        "teacher": teacher.model_dump(mode="json", exclude={"data_dir"}),
        "keep": annotation.keep,
        "source": source_of(teacher, data_dir).identity(questions, annotation),
    }
    with open_stage(runs, "annotation", identity) as stage:
        records = stage.path / "rationales.jsonl"
        if not stage.finished:
            rationales = collect_rationales(questions, teacher, annotation, data_dir)
            if not len(rationales):
                counts = ", ".join(f"{reason} {count}" for reason, count in rationales.dropped.items())
                raise DataError(f"no rationale is left ({counts})", where=f"teacher {teacher.kind}")
            write_rows(records, (rationale.to_row() for rationale in rationales))
            stage.finish({"rationales": len(rationales)}, seeds={}, dropped=rationales.dropped)
        rows = tuple(Rationale.from_row(row) for row in read_rows(records))
        return Rationales(rows, stage.manifest()["dropped"], stage.path)
