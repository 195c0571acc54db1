"""The evaluation stage: a model's answers to a task's questions, judged and all kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.config import EvaluationConfig, Model, ServedModel, TransformersModel, TransformersSettings, identity
from cotdistill.errors import DataError
from cotdistill.evaluation.answering import Asked, answer, asked_model, stop_strings
from cotdistill.evaluation.read import QUESTIONS
from cotdistill.evaluation.statistics.averages import averages
from cotdistill.evaluation.statistics.comparisons import score
from cotdistill.evaluation.statistics.metrics import metric_scores
from cotdistill.evaluation.statistics.thoughts import thoughts_of
from cotdistill.evaluation.stored import StoredPredictions, write_predictions
from cotdistill.models.load.loading import model_identity, pick_device, resolve_dtype
from cotdistill.records import Prediction, Question, Score
from cotdistill.storage.finished import FinishedStage, is_finished, open_finished
from cotdistill.storage.hashes import content_key
from cotdistill.storage.jsonl import write_rows
from cotdistill.storage.stages import open_stage, stage_path
from cotdistill.tasks.few_shot import few_shot_texts
from cotdistill.tasks.prompts import Target, prompt_of
from cotdistill.tasks.task import refuse_repeated_questions

VERSION = 6
"""Raised whenever a change of code changes what an evaluation makes."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation; iterating gives its predictions, read from disk, in the order of the questions.

    ``dropped`` counts by reason the questions that the model was not asked; their predictions are truncated.
    """

    path: Path
    score: Score
    predictions: Sequence[Prediction]
    seconds: float
    dropped: dict[str, int]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)


def evaluation_identity(model: Model, asked: Asked, config: EvaluationConfig) -> dict[str, Any]:
    """Everything that can change a prediction: model, questions and prompts, decoding, and batches (by rounding)."""
    settings, dtype = asked_model(model, config), None
    if isinstance(settings, TransformersModel):
        dtype = str(resolve_dtype(config.dtype, pick_device()))
    elif not isinstance(settings, ServedModel):
        dtype = config.dtype
    return {
        "version": VERSION,
        "model": _served(settings) if isinstance(settings, ServedModel) else model_identity(model),
        "questions": content_key([(q.task, q.id, q.answer, q.answer_type) for q in asked.questions]),
        "prompts": content_key(list(asked.prompts)),
        "evaluation": identity(_decoding(config)),
        "dtype": dtype,
        "first_statement": asked.first_statement,
    }


def _served(model: ServedModel) -> list[Any] | dict[str, Any] | str:
    return model.at if model.system is None else {"at": model.at, "system": model.system}


def _decoding(config: EvaluationConfig) -> EvaluationConfig:
    """How completions are drawn, without what prompts and model already say, and without unused settings."""
    unused: dict[str, Any] = {"tasks": None, "prompt": "auto", "dtype": "auto"}
    if not config.temperature:
        unused["seed"] = 0
    if not isinstance(config.engine, TransformersSettings):  # they make batches of their own
        unused["max_batch_size"] = EvaluationConfig.model_fields["max_batch_size"].default
    return config.model_copy(update=unused | {"stop": stop_strings(config) or None})


def evaluate(
    model: Model,
    questions: Sequence[Question],
    *,
    target: Target,
    config: EvaluationConfig,
    runs: Path,
    data_dir: Path | None = None,
) -> Evaluation:
    """Answer ``questions`` in ``runs/evaluation/<key>``, or take the finished answers from there.

    ``target`` says what the prompt asks for, and so which statement is judged: the first if the answer comes before its
    rationale, which may state others, else the last. ``data_dir`` holds few-shot prompts
    (default: $COTDISTILL_DATA, then the installed lm-eval). A prompt that leaves the model no room for
    ``max_new_tokens`` is neither cut nor asked: it is counted and its verdict is truncated, so that every model is
    scored on the same questions. Raises DataError for no questions, a repeated one, or none that fits.
    """
    asked = _asked(questions, target, config, data_dir)
    with open_stage(runs, "evaluation", evaluation_identity(model, asked, config)) as stage:
        if not stage.finished:
            write_rows(stage.path / QUESTIONS, (question.to_row() for question in questions))
            predictions, dropped = answer(model, asked, config, stage.path)
            write_predictions(stage.path, predictions)
            summary = score(predictions).to_row() | {"averages": averages(predictions)}
            if thoughts := thoughts_of(predictions):
                summary["reasoning"] = thoughts.to_row()
            if metrics := metric_scores(predictions):
                summary["metrics"] = {name: found.to_row() for name, found in metrics.items()}
            stage.finish(summary, seeds={"sampling": config.seed} if config.temperature else {}, dropped=dropped)
        return _read(stage.read())


def evaluated(
    model: Model,
    questions: Sequence[Question],
    *,
    target: Target,
    config: EvaluationConfig,
    runs: Path,
    data_dir: Path | None = None,
) -> Evaluation | None:
    """What :func:`evaluate` would return, if it is there already."""
    key = evaluation_identity(model, _asked(questions, target, config, data_dir), config)
    path = stage_path(runs, "evaluation", key)
    return _read(open_finished(path)) if is_finished(path) else None


def _asked(questions: Sequence[Question], target: Target, config: EvaluationConfig, data_dir: Path | None) -> Asked:
    if not questions:
        raise DataError("there are no questions to evaluate on", remedy="check the task and its limits")
    refuse_repeated_questions(questions)
    few_shot = config.few_shot > 0
    if few_shot:
        texts = few_shot_texts(questions, config.few_shot, data_dir)
    else:
        texts = [prompt_of(each, target) for each in questions]
    return Asked(questions, texts, first_statement=target == "answer_then_rationale" and not few_shot)


def _read(stage: FinishedStage) -> Evaluation:
    predictions = StoredPredictions(stage)
    return Evaluation(stage.path, score(predictions), predictions, stage.seconds, stage.dropped)
