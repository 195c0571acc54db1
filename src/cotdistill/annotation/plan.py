"""What an annotation would ask and cost, before the first request. Nothing is asked or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cotdistill.annotation.annotate import AnnotationRequest, annotation_identity, completions_folder, without_leaks
from cotdistill.annotation.compress import planned
from cotdistill.annotation.rationales import REASONING
from cotdistill.annotation.select import levels_of
from cotdistill.annotation.teachers.asked import AskedSource
from cotdistill.annotation.teachers.sources import RoutedSource, source_of
from cotdistill.config import AnnotationConfig, AskedTeacher, Teacher, teachers_of
from cotdistill.config.selection import LowestRankSurprisal
from cotdistill.engines.estimate import NOTHING, Estimate
from cotdistill.records import Question
from cotdistill.storage.finished import is_finished
from cotdistill.storage.stages import stage_path

TYPICAL_WORDS = 40
"""Of a question."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``questions`` are those left after decontamination; ``estimate`` covers what is still to be asked for them.

    ``prompts`` are what each teacher that is asked reads about the first of its questions, and ``reasoning`` says what
    becomes of what it thinks.
    """

    questions: int
    finished: bool
    estimate: Estimate
    path: Path
    prompts: dict[str, str]
    reasoning: dict[str, str]

    def to_row(self) -> dict[str, Any]:
        return {
            "questions": self.questions,
            "finished": self.finished,
            **asdict(self.estimate),
            "path": str(self.path),
            "prompts": self.prompts,
            "reasoning": self.reasoning,
        }


def plan(request: AnnotationRequest, runs: Path) -> Plan:
    """What :func:`make_annotation` would do with the same request.

    Completions that are already there are not counted, nor are further draws for those that ``annotation.keep``
    rejects. If a selection gives each question one of several levels, the levels are assumed to be equally common.
    """
    path = stage_path(runs, "annotation", annotation_identity(request, runs))
    clean, _, _ = without_leaks(request)
    finished = is_finished(path)
    teacher = request.teacher
    left = NOTHING
    if not finished:
        left = _left_to_ask(clean, teacher, request.config, runs)
        left += planned(clean, request.config, runs)
    level = request.config.model_copy(update={"granularity": levels_of(request.config)[0]})
    asked = [(source, routed[0]) for source, routed in _asked(clean, teacher, runs) if routed]
    prompts = {source.name: source.shown(question, level) for source, question in asked}
    reasoning = {source.name: REASONING[source.teacher.reasoning] for source, _ in asked}
    return Plan(len(clean), finished, left, path, prompts, reasoning)


def plan_typical(num_questions: int, teacher: Teacher, annotation: AnnotationConfig) -> Estimate:
    """The same for a number of questions that are not at hand; they are assumed to be of typical length, and to go to
    several teachers equally."""
    typical = Question("", "", "train", "word " * TYPICAL_WORDS, "0", "number")
    found = planned([typical], annotation, Path())
    teachers = teachers_of(teacher)
    for asked in (each for each in teachers if isinstance(each, AskedTeacher)):
        source = AskedSource(asked, Path())
        each = _over_levels(annotation, partial(source.estimate, [typical]))
        found += each.times(1 / len(teachers))
    return found.times(num_questions)


def _left_to_ask(questions: Sequence[Question], teacher: Teacher, annotation: AnnotationConfig, runs: Path) -> Estimate:
    left = NOTHING
    for source, routed in _asked(questions, teacher, runs):
        left += _over_levels(annotation, partial(source.plan, routed))
    return left


def _asked(
    questions: Sequence[Question], teacher: Teacher, runs: Path
) -> Iterator[tuple[AskedSource, Sequence[Question]]]:
    """The teachers that are asked, each with its questions."""
    source = source_of(teacher, None, completions_folder(teacher, runs))
    for each, routed in source.routes(questions) if isinstance(source, RoutedSource) else [(source, questions)]:
        if isinstance(each, AskedSource):
            yield each, routed


def _over_levels(annotation: AnnotationConfig, estimate: Callable[[AnnotationConfig], Estimate]) -> Estimate:
    selection, levels = annotation.selection, levels_of(annotation)
    at_levels = [annotation.model_copy(update={"granularity": level, "selection": None}) for level in levels]
    total = sum(map(estimate, at_levels), NOTHING)
    return total.times(selection.num_draws if isinstance(selection, LowestRankSurprisal) else 1 / len(levels))
