"""The annotation stage: one teacher's rationales for a set of questions, filtered; every drop is counted and shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain
from operator import or_
from pathlib import Path
from typing import Any

from cotdistill.annotation.collect import (
    Outcome,
    collect_rationales,
    collected,
    forget_collected,
    log_of,
    tokens_of,
)
from cotdistill.annotation.compress import compress, compression_identity
from cotdistill.annotation.decontaminate import NO_OVERLAP, overlap_by_set
from cotdistill.annotation.perturb import VERSION as PERTURBATION_VERSION
from cotdistill.annotation.perturb import perturb
from cotdistill.annotation.rationales import Dropped, Rationales, Uses
from cotdistill.annotation.select import levels_of, num_learnt_words, select, student_of, within_words
from cotdistill.annotation.teachers.sources import completions_name, source_of
from cotdistill.config import (
    AnnotationConfig,
    Compression,
    Model,
    PromptFile,
    Rewritten,
    RoutedTeacher,
    Teacher,
    identity,
)
from cotdistill.errors import DataError
from cotdistill.models.load.source import model_identity
from cotdistill.records import Question, Rationale, count_by
from cotdistill.storage.atomic import write_text_atomically
from cotdistill.storage.finished import open_finished
from cotdistill.storage.hashes import ListKey
from cotdistill.storage.jsonl import write_rows
from cotdistill.storage.stages import Stage, open_stage
from cotdistill.storage.stored import StoredRecords, Without, content_of
from cotdistill.tasks.stored import asked_key

VERSION = 6
"""Raised whenever a change of code changes what an annotation holds."""

RATIONALES, DROPPED = "rationales.jsonl", "dropped.jsonl"
PROMPT = "prompt"
"""The name of the user's own prompt file in the folder, which keeps its ending."""


@dataclass(frozen=True, slots=True)
class AnnotationRequest:
    """What to annotate, by whom and how.

    Questions that are in ``evaluation`` (including exemplars of few-shot prompts, with the split "few_shot") are
    dropped as ``config.decontaminate`` says. ``data_dir`` holds released rationales, for teachers whose settings name
    no folder. ``student`` is asked if ``config.selection`` needs one and names none.
    """

    questions: Sequence[Question]
    teacher: Teacher
    config: AnnotationConfig
    data_dir: Path | None = None
    evaluation: Sequence[Question] = ()
    student: Model | None = None

    @property
    def compared(self) -> Sequence[Question]:
        """The evaluation questions that training questions are compared with."""
        return self.evaluation if self.config.decontaminate != "off" else ()


def annotate(
    questions: Sequence[Question],
    teacher: Teacher,
    annotation: AnnotationConfig,
    *,
    runs: Path,
    data_dir: Path | None = None,
    evaluation: Sequence[Question] = (),
    student: Model | None = None,
) -> Rationales:
    """What :func:`make_annotation` makes from a request with these arguments, read back."""
    request = AnnotationRequest(questions, teacher, annotation, data_dir, evaluation, student)
    return read_annotation(make_annotation(request, runs))


def make_annotation(request: AnnotationRequest, runs: Path) -> Path:
    """The folder ``runs/annotation/<key>`` with what ``collect_rationales`` gives; a finished one stays as it is.

    Evaluation questions are dropped and counted, and what is kept is perturbed if that is set. The manifest says for
    every evaluation set how many training questions are in it; ``dropped.jsonl`` holds what was dropped. What a killed
    process has collected is not collected again. Raises DataError if nothing is left.
    """
    with open_stage(runs, "annotation", annotation_identity(request, runs)) as stage:
        if not stage.finished:
            _make(request, stage, runs)
        forget_collected(stage.path)  # not before: a kill would cost all of it
        return stage.path


def _make(request: AnnotationRequest, stage: Stage, runs: Path) -> None:
    teacher, annotation = request.teacher, request.config
    clean, leaked, contamination = without_leaks(request)
    source = source_of(teacher, request.data_dir, completions_folder(teacher, runs))
    if annotation.selection or annotation.compress or annotation.perturbation or annotation.max_total_words:
        made = _chosen(list(clean), request, stage.path, runs)
        outcomes, tokens = chain(made.records, made.left_out), made.tokens
    else:
        outcomes, tokens = collected(clean, source, annotation, log_of(stage.path, teacher, annotation)), None
    dropped, found = list(leaked), _Found()
    write_rows(stage.path / RATIONALES, found.rows(outcomes, dropped))
    write_rows(stage.path / DROPPED, (one.to_row() for one in dropped))
    counts = count_by(one.reason for one in dropped)
    if not found.key.number:
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items())
        raise DataError(f"no rationale is left ({reasons})", where=f"teacher {teacher.kind}")
    if isinstance(annotation.prompt, PromptFile):
        write_text_atomically(stage.path / f"{PROMPT}{Path(annotation.prompt).suffix}", annotation.prompt.source)
    paid = tokens_of(source) if tokens is None else tokens
    summary = {"rationales": found.key.number, "words": found.words, "overlap": contamination.pop("overlap")}
    summary |= ({"tokens": paid} if any(paid) else {}) | found.uses.to_row()
    notes = {"contamination": contamination, "content": found.key.digest}
    stage.finish(summary, seeds={}, dropped=counts, notes=notes)


class _Found:
    """Counts of the rationales that are written, and the key of their rows."""

    def __init__(self) -> None:
        self.key, self.words, self.uses = ListKey(), 0, Uses()

    def rows(self, outcomes: Iterable[Outcome], dropped: list[Dropped]) -> Iterator[dict[str, Any]]:
        """The row of each rationale; what is dropped is added to ``dropped``."""
        for outcome in outcomes:
            if isinstance(outcome, Dropped):
                dropped.append(outcome)
                continue
            row = outcome.to_row()
            self.key.add(row)
            self.words += num_learnt_words(outcome)
            self.uses.add(outcome)
            yield row


def _chosen(questions: list[Question], request: AnnotationRequest, folder: Path, runs: Path) -> Rationales:
    """The rationales as selection, compression, perturbation and a budget of words leave them."""
    teacher, annotation = request.teacher, request.config
    completions = completions_folder(teacher, runs)
    collect = partial(collect_rationales, data_dir=request.data_dir, completions=completions, folder=folder)
    if annotation.selection:
        made = select(questions, teacher, annotation, student=request.student, collect=collect, runs=runs)
    else:
        made = collect(questions, teacher, annotation)
    kept, tokens = _compressed(made, annotation, runs)
    kept = perturb(kept, annotation.perturbation) if annotation.perturbation else kept
    kept, beyond = within_words(kept, annotation.max_total_words) if annotation.max_total_words else (kept, [])
    return Rationales(kept, left_out=[*made.left_out, *beyond], tokens=tokens)


def _compressed(
    made: Rationales, annotation: AnnotationConfig, runs: Path
) -> tuple[Sequence[Rationale], tuple[int, int]]:
    """The rationales as ``annotation.compress`` wants them, and the tokens of all that teachers were asked."""
    compression = annotation.compress
    if compression is None:
        return made.records, made.tokens
    folder = _compression_folder(compression, runs)
    kept, (tokens_in, tokens_out) = compress(made.records, compression, folder)
    return kept, (made.tokens[0] + tokens_in, made.tokens[1] + tokens_out)


def _compression_folder(compression: Compression, runs: Path) -> Path:
    """Where the completions of a teacher that rewrites are kept."""
    return completions_folder(compression.teacher, runs) if isinstance(compression, Rewritten) else runs


def read_annotation(path: Path) -> Rationales:
    """The rationales in the folder of a finished annotation, and what was dropped.

    Raises ArtifactError for a file that was changed.
    """
    stage = open_finished(path)
    told = stage.summary
    records = StoredRecords(
        stage.file(RATIONALES), Rationale.from_row, stage.manifest.get("content"), told["rationales"]
    )
    left_out = StoredRecords(stage.file(DROPPED), Dropped.from_row)
    tokens_in, tokens_out = told.get("tokens", (0, 0))
    return Rationales(records, stage.dropped, path, left_out, (tokens_in, tokens_out), Uses.from_row(told))


def completions_folder(teacher: Teacher, runs: Path) -> Path:
    """Where the completions of a teacher are kept, or of several, each in a folder of its own."""
    folder = runs / "completions"
    return folder if isinstance(teacher, RoutedTeacher) else folder / completions_name(teacher)


def annotation_identity(request: AnnotationRequest, runs: Path) -> dict[str, Any]:
    """Everything that can change what :func:`make_annotation` makes from a request."""
    config, compared = request.config, request.compared
    compression = config.compress
    compressed = compression and compression_identity(compression, _compression_folder(compression, runs))
    return ({"compression": compressed} if compressed else {}) | {
        "version": VERSION,
        "questions": content_of(request.questions),
        "teacher": identity(request.teacher),
        "annotation": identity(config.model_copy(update=_SAID_APART)),
        "perturbation": PERTURBATION_VERSION if config.perturbation else None,
        "evaluation": [config.decontaminate, asked_key(compared)] if compared else None,
        "source": _source_identity(request, completions_folder(request.teacher, runs)),
        "selection": _selection_identity(config, request.student),
    }


_SAID_APART = {
    name: AnnotationConfig.model_fields[name].default
    for name in ("decontaminate", "selection", "granularity", "format", "answer_conditioned", "prompt")
}
"""Settings that count only with what they apply to: evaluation questions, a student, a source that uses them."""


def _source_identity(request: AnnotationRequest, completions: Path) -> dict[str, Any]:
    """The source's identity, level by level if a selection uses several."""
    questions, annotation = request.questions, request.config
    source = source_of(request.teacher, request.data_dir, completions)
    if annotation.selection is None:
        return source.identity(questions, annotation)
    levels = levels_of(annotation)
    at_levels = [annotation.model_copy(update={"granularity": level}) for level in levels]
    return {str(level): source.identity(questions, at) for level, at in zip(levels, at_levels, strict=True)}


def _selection_identity(annotation: AnnotationConfig, student: Model | None) -> dict[str, Any] | None:
    """The selection, and the content of the student that it asks; None without a selection."""
    if annotation.selection is None:
        return None
    asked = student_of(annotation.selection, student)
    settings = identity(annotation.selection.model_copy(update={"student": None} if asked else {}))
    return {"settings": settings, "student": model_identity(asked) if asked else None}


def without_leaks(request: AnnotationRequest) -> tuple[Sequence[Question], list[Dropped], dict[str, Any]]:
    """The questions to train on, those dropped because they are evaluation questions, and the overlaps found."""
    questions, decontaminate, compared = request.questions, request.config.decontaminate, request.compared
    by_set = overlap_by_set(questions, compared)
    overlap = reduce(or_, (found for _, found in by_set.values()), NO_OVERLAP)
    found = {
        "left_out_by": decontaminate,
        "evaluation": {name: {"questions": count} | found.to_row() for name, (count, found) in by_set.items()},
        "overlap": overlap.to_row() | {"evaluation": len(compared)},
    }
    leaks: frozenset[int] = frozenset()
    if decontaminate in ("questions", "ngrams"):
        leaks = overlap.normalised | (overlap.ngram if decontaminate == "ngrams" else frozenset())
    left_out = [Dropped(questions[place].id, "in_evaluation", questions[place].question) for place in sorted(leaks)]
    return Without(questions, leaks) if leaks else questions, left_out, found
