"""What an annotation would ask and cost, said before the first request. Nothing is asked or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cotdistill.annotation.annotate import annotation_identity, answers_folder, without_leaks
from cotdistill.annotation.select import levels_of
from cotdistill.annotation.teachers.asked import LiveSource
from cotdistill.config import AnnotationConfig, AskedTeacher, Model, Teacher
from cotdistill.config.selection import LowestRankSurprisal
from cotdistill.engines.costs import NOTHING, Estimate
from cotdistill.records import Question
from cotdistill.storage.finished import is_finished
from cotdistill.storage.stages import stage_path


@dataclass(frozen=True, slots=True)
class Plan:
    """``questions`` are those left after decontamination; ``estimate`` is what is still to be asked for them."""

    questions: int
    finished: bool
    estimate: Estimate
    path: Path

    def to_row(self) -> dict[str, Any]:
        return {
            "questions": self.questions,
            "finished": self.finished,
            **asdict(self.estimate),
            "path": str(self.path),
        }


def plan(
    questions: Sequence[Question],
    teacher: Teacher,
    annotation: AnnotationConfig,
    *,
    runs: Path,
    data_dir: Path | None = None,
    evaluation: Sequence[Question] = (),
    student: Model | None = None,
) -> Plan:
    """What :func:`annotate` would do with the same arguments.

    Raw answers that are kept already are not counted. Further draws for answers that ``annotation.keep`` refuses are
    not foreseen. Where a selection gives each question one of several levels, the levels are taken for equally common.
    """
    identity = annotation_identity(questions, teacher, annotation, runs, data_dir, evaluation, student)
    path = stage_path(runs, "annotation", identity)
    clean, _, _ = without_leaks(questions, evaluation, annotation.decontaminate)
    finished = is_finished(path)
    left = NOTHING if finished else _left_to_ask(clean, teacher, annotation, answers_folder(teacher, runs))
    return Plan(len(clean), finished, left, path)


def _left_to_ask(
    questions: Sequence[Question], teacher: Teacher, annotation: AnnotationConfig, answers: Path
) -> Estimate:
    if not isinstance(teacher, AskedTeacher):
        return NOTHING
    source, levels = LiveSource(teacher, answers), levels_of(annotation)
    at_levels = [annotation.model_copy(update={"granularity": level, "selection": None}) for level in levels]
    estimates = [source.plan(questions, at_level) for at_level in at_levels]
    selection = annotation.selection
    times = selection.num_draws if isinstance(selection, LowestRankSurprisal) else 1 / len(levels)
    costs = [estimate.cost for estimate in estimates if estimate.cost is not None]
    return Estimate(
        requests=round(times * sum(estimate.requests for estimate in estimates)),
        input_tokens=round(times * sum(estimate.input_tokens for estimate in estimates)),
        output_tokens=round(times * sum(estimate.output_tokens for estimate in estimates)),
        cost=times * sum(costs) if costs else None,
    )
