"""The stage that measures what rationales do inside a student, per question: resumable, every number is kept.

See ``rationale_effect`` for what is measured. The rationales are the student's own (its outputs in an evaluation),
people's if the questions have them, and a teacher's from a file of rationales.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.config import Dtype, Model
from cotdistill.errors import DataError
from cotdistill.evaluation.read import read_evaluation
from cotdistill.evaluation.statistics.comparisons import mean_interval
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity, pick_device, resolve_dtype
from cotdistill.progress import track
from cotdistill.records import Question
from cotdistill.storage.finished import open_finished
from cotdistill.storage.hashes import content_key
from cotdistill.storage.jsonl import RowAppender, read_rows
from cotdistill.storage.stages import open_stage
from cotdistill.tasks.answers.stripping import clean_rationale

VERSION = 4
Texts = Mapping[str, Mapping[tuple[str, str], str]]
"""Rationales by source, and by a question's task and id: two tasks may use the same ids."""


@dataclass(frozen=True, slots=True)
class EffectResult:
    """``rows``: one per question with ``id, task, correct, baseline, effects, attention``, the last two by source.

    ``summary`` maps each source to ``n``, the mean effect in nats with its 95 % ``interval``, ``helps`` (the share of
    questions whose gold answer it makes more likely) and the mean share of ``attention`` that it gets.
    """

    path: Path
    summary: dict[str, dict[str, Any]]
    rows: tuple[dict[str, Any], ...]


def measure_effects(
    model: Model,
    evaluation: Path,
    *,
    runs: Path,
    rationales: Path | None = None,
    limit: int | None = None,
    dtype: Dtype = "auto",
) -> EffectResult:
    """Effects of rationales on the questions of an evaluation's folder, in ``runs/effect/<key>``.

    ``rationales`` is a file of a teacher's rationales for these questions, or the folder of an annotation. ``limit``
    takes only the first questions. A rationale that does not fit the model's positions is dropped. Raises DataError for
    a folder that is not an evaluation, and if no rationale belongs to a question.
    """
    found = read_evaluation(evaluation)
    questions, predictions = found.questions[:limit], found.predictions
    correct = {(one.task, one.id): one.correct for one in predictions}
    texts = {
        "own": {(one.task, one.id): one.output for one in predictions},
        "human": {(one.task, one.id): one.human_rationale for one in questions if one.human_rationale},
        "teacher": _teachers(rationales, questions) if rationales else {},
    }
    identity = {
        "version": VERSION,
        "model": model_identity(model),
        "questions": content_key([question.to_row() for question in questions]),
        "rationales": content_key({source: _of(found, questions) for source, found in texts.items()}),
        "dtype": str(resolve_dtype(dtype, pick_device())),
    }
    with open_stage(runs, "effect", identity) as stage:
        records = stage.path / "effects.jsonl"
        if not stage.finished:
            with RowAppender(records) as appender:
                done = sum(1 for _ in appender.rows())
                _measure(model, dtype, questions[done:], texts, correct, appender)
            stage.finish(summarise(list(read_rows(records))), seeds={}, dropped={})
        done = stage.read()
        return EffectResult(stage.path, done.summary, tuple(done.rows(records.name)))


def _measure(
    model: Model,
    dtype: Dtype,
    questions: Sequence[Question],
    texts: Texts,
    correct: Mapping[tuple[str, str], bool],
    appender: RowAppender,
) -> None:
    if not questions:
        return
    from cotdistill.evaluation.diagnosis.rationale_effect import attention_to_rationale, num_tokens, rationale_effects
    from cotdistill.models.forward.positions import num_positions

    device = pick_device()
    loaded = load_model(model, dtype=resolve_dtype(dtype, device), device=device)
    tokenizer = load_tokenizer(model)
    room = num_positions(loaded) or math.inf
    done = sum(1 for _ in appender.rows())
    with track("effects", done + len(questions), done=done) as progress:
        for question in questions:
            key = question.task, question.id
            given = {source: found[key] for source, found in texts.items() if key in found}
            fitting = {source: text for source, text in given.items() if num_tokens(tokenizer, question, text) <= room}
            one_each = {source: {question.id: text} for source, text in fitting.items()}
            (effect,) = rationale_effects(loaded, tokenizer, [question], one_each)
            attention = {
                source: attention_to_rationale(loaded, tokenizer, question, text) for source, text in fitting.items()
            }
            appender.append(
                {
                    "id": question.id,
                    "task": question.task,
                    "correct": correct.get(key),
                    "baseline": effect.baseline,
                    "effects": effect.effects,
                    "attention": attention,
                }
            )
            progress.advance()


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By source, over all questions that have a rationale from it."""
    summary = {}
    for source in sorted({source for row in rows for source in row["effects"]}):
        effects = [row["effects"][source] for row in rows if source in row["effects"]]
        shares = [row["attention"][source] for row in rows if row["attention"].get(source) is not None]
        mean, low, high = mean_interval(effects)
        summary[source] = {
            "n": len(effects),
            "mean": mean,
            "interval": [low, high],
            "helps": sum(effect > 0 for effect in effects) / len(effects),
            "attention": sum(shares) / len(shares) if shares else None,
        }
    return summary


def _teachers(path: Path, questions: Sequence[Question]) -> dict[tuple[str, str], str]:
    file = open_finished(path).file("rationales.jsonl") if path.is_dir() else path
    asked = {question.id for question in questions}
    found = {
        row["id"]: clean_rationale(row["rationale"])
        for row in read_rows(file)
        if row.get("id") in asked and isinstance(row.get("rationale"), str)
    }
    if not found:
        remedy = "annotate the questions that were evaluated, or omit --rationales"
        raise DataError("no rationale belongs to a question of the evaluation", where=file, remedy=remedy)
    return {(one.task, one.id): found[one.id] for one in questions if one.id in found}


def _of(texts: Mapping[tuple[str, str], str], questions: Sequence[Question]) -> list[str | None]:
    return [texts.get((question.task, question.id)) for question in questions]
