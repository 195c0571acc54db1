"""Where rationales come from: one small class per teacher, all with the same two methods.

A source gives what there is and says why something is missing; ``annotate`` decides which rationales to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from cotdistill.annotation.rationales import Missing
from cotdistill.annotation.released.eit_cot import FOLDER, Released, ReleasedRows, find_human_release, find_release
from cotdistill.config import (
    AnnotationConfig,
    AskedTeacher,
    DatasetTeacher,
    HumanTeacher,
    OwnTeacher,
    ProceduralTeacher,
    RoutedTeacher,
    Teacher,
)
from cotdistill.errors import ConfigError, DataError
from cotdistill.records import AnswerType, Format, Question, Rationale
from cotdistill.storage.hashes import content_key, file_sha256
from cotdistill.tasks.answers.reading import extract_answer, same_answer
from cotdistill.tasks.answers.stripping import clean_rationale, split_statement
from cotdistill.tasks.answers.types import read_answer, read_gold
from cotdistill.tasks.stored import bare_tasks


class Source(Protocol):
    """A teacher's rationales."""

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        """A rationale, or why there is none, for each question in order.

        ``meta["teacher_answer"]`` is what the teacher stated (None: nothing readable) and ``meta["teacher_agrees"]``
        whether that is the gold answer; both are absent if the teacher has no answer of its own (people, the solver,
        the gold answer alone).
        """
        ...

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        """Everything besides questions and teacher settings that can change what :meth:`rationales` gives."""
        ...


def source_of(teacher: Teacher, data_dir: Path | None, completions: Path | None = None) -> Source:
    """The source that a teacher's settings describe.

    ``data_dir`` is for teachers whose settings name no folder; ``completions`` keeps what asked teachers write: those
    of a routed teacher in a folder each.
    """
    if isinstance(teacher, RoutedTeacher):
        return RoutedSource(teacher, data_dir, completions)
    if isinstance(teacher, AskedTeacher):
        from cotdistill.annotation.teachers.asked import AskedSource

        if completions is None:
            raise ConfigError(f"the teacher {teacher.kind} needs a folder for its completions", remedy="give runs")
        return AskedSource(teacher, completions)
    if isinstance(teacher, DatasetTeacher):
        return DatasetSource(teacher.teacher, teacher.data_dir or data_dir)
    if isinstance(teacher, HumanTeacher):
        return HumanSource(data_dir)
    if isinstance(teacher, ProceduralTeacher):
        return ProceduralSource()
    if isinstance(teacher, OwnTeacher):
        return OwnSource(teacher)
    return AnswerOnlySource()


def completions_name(teacher: Teacher) -> str:
    """One folder per teacher that is asked: its completions serve every annotation that asks the same again."""
    return content_key(teacher.model_dump(mode="json", include={"kind", "model", "base_url"}))


@dataclass(frozen=True)
class RoutedSource:
    """Each question's rationale from the teacher that is to write it."""

    teacher: RoutedTeacher
    data_dir: Path | None
    completions: Path | None

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        found: dict[str, Rationale | Missing] = {}
        for source, routed in self.routes(questions):
            found |= dict(zip((q.id for q in routed), source.rationales(routed, annotation), strict=True))
        for question in questions:
            reason = f"{self.teacher.by}: {self.teacher.value_of(question)}"
            yield found[question.id] if question.id in found else Missing(question, "no_route", reason)

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        return {"routes": [source.identity(routed, annotation) for source, routed in self.routes(questions)]}

    def routes(self, questions: Sequence[Question]) -> list[tuple[Source, list[Question]]]:
        """The teachers that questions of these have, each with its own."""
        routed = [(teacher, [q for q in questions if self.teacher.route(q) is teacher]) for teacher in self.teacher.all]
        return [(self._sources[place], some) for place, (_, some) in enumerate(routed) if some]

    @property
    def tokens(self) -> tuple[int, int]:
        """Of all that its teachers were asked."""
        tokens = [getattr(source, "tokens", (0, 0)) for source in self._sources]
        return sum(tokens_in for tokens_in, _ in tokens), sum(tokens_out for _, tokens_out in tokens)

    @cached_property
    def _sources(self) -> list[Source]:
        folders = [self.completions and self.completions / completions_name(each) for each in self.teacher.all]
        pairs = zip(self.teacher.all, folders, strict=True)
        return [source_of(each, self.data_dir, folder) for each, folder in pairs]


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """Released rationales of one model, by task, granularity and format."""

    teacher: str
    data_dir: Path | None

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        released = {task: ReleasedRows.read(path) for task, path in self._files(questions, annotation).items()}
        for question in questions:
            row = released[question.task].find(question)
            if row is None:
                yield Missing(question, "no_rationale")
            else:
                yield _from_release(question, row, self.teacher, annotation.granularity, annotation.format)

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        files = {task: file_sha256(path) for task, path in self._files(questions, annotation).items()}
        return {"files": files, "granularity": annotation.granularity, "format": annotation.format}

    def _files(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Path]:
        tasks = sorted({question.task for question in questions})
        key = (self.teacher, annotation.granularity, annotation.format)
        return {task: find_release(Released(task, *key), self.data_dir) for task in tasks}


@dataclass(frozen=True, slots=True)
class HumanSource:
    """The rationales that came with the questions, or were released for them."""

    data_dir: Path | None

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        released = {task: ReleasedRows.read(path) for task, path in self._files(questions).items()}
        for question in questions:
            if question.human_rationale:
                written = _from_text(question, question.human_rationale, "human", None, "human")
                yield replace(written, reasoning=question.human_reasoning)
            elif question.task in released and (row := released[question.task].find(question)):
                yield _from_release(question, row, "human", None, "human")
            else:
                yield Missing(question, "no_rationale")

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        return {"files": {task: file_sha256(path) for task, path in self._files(questions).items()}}

    def _files(self, questions: Sequence[Question]) -> dict[str, Path]:
        """Release files, if present, of the tasks whose questions have no rationale of their own."""
        paths = {task: find_human_release(task, self.data_dir) for task in sorted(bare_tasks(questions))}
        return {task: path for task, path in paths.items() if path}


@dataclass(frozen=True, slots=True)
class AnswerOnlySource:
    """No reasoning: the gold answer alone."""

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        return (Rationale(question, None, "answer_only", None, "answer_only") for question in questions)

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class ProceduralSource:
    """The solver of the procedural tasks, at any granularity and in any of the four formats."""

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        from cotdistill.tasks.procedural import write_rationale
        from cotdistill.tasks.procedural.rendering import check_written

        form = annotation.format
        level = check_written(annotation.granularity, form)
        for question in questions:
            if not question.task.startswith("procedural/"):
                problem = f"the procedural teacher cannot write a rationale for a question of task {question.task!r}"
                raise ConfigError(problem, where=question.id, remedy="choose the teacher dataset, human or answer_only")
            yield _from_text(question, write_rationale(question, level, form), "procedural", level, form)

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        return {"granularity": annotation.granularity, "format": annotation.format}


@dataclass(frozen=True, slots=True)
class OwnSource:
    """The user's own function, called question by question."""

    teacher: OwnTeacher

    def rationales(self, questions: Sequence[Question], annotation: AnnotationConfig) -> Iterator[Rationale | Missing]:
        function, level, form = self.teacher.function, annotation.granularity, annotation.format
        for question in questions:
            text = function.call(question, level, form, **self.teacher.settings)
            if text is None:
                yield Missing(question, "no_rationale")
            elif isinstance(text, str):
                yield _from_text(question, text, function.name, level, form)
            else:
                problem = f"{type(text).__name__} instead of a rationale for question {question.id!r}"
                raise DataError(problem, where=function, remedy="return text, or None for no rationale")

    def identity(self, questions: Sequence[Question], annotation: AnnotationConfig) -> dict[str, Any]:
        return {"granularity": annotation.granularity, "format": annotation.format}


def _from_text(question: Question, text: str, teacher: str, granularity: int | None, form: Format) -> Rationale:
    """A rationale that may close with a statement of the answer, which then is what the teacher stated."""
    _, statement = split_statement(text)
    meta = {} if statement is None else _stated(question, read_answer(statement, *_reading(question)))
    return Rationale(question, clean_rationale(text), teacher, granularity, form, meta)


def _from_release(
    question: Question, row: dict[str, Any], teacher: str, granularity: int | None, form: Format
) -> Rationale:
    """A released row; what its teacher stated was parsed when the release was prepared, or is parsed here."""
    recorded = row["meta"].get("teacher_answer")
    if recorded is not None:
        answer = read_gold(recorded, *_reading(question))
    else:
        answer = extract_answer(row.get("output") or "", *_reading(question))
    meta = _stated(question, answer) | {"source": f"{FOLDER}/{row['id']}"}
    return Rationale(question, clean_rationale(row["rationale"] or ""), teacher, granularity, form, meta)


def _reading(question: Question) -> tuple[AnswerType, tuple[str, ...] | None]:
    return question.answer_type, question.choices


def _stated(question: Question, answer: str | None) -> dict[str, Any]:
    agrees = None if answer is None else same_answer(answer, question.answer, question.answer_type)
    return {"teacher_answer": answer, "teacher_agrees": agrees}
