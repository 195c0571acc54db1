"""The evaluation stage: greedy answers of a model to a task's questions, judged, and every one of them kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.artifacts import RowAppender, content_key, open_stage, write_rows
from cotdistill.config import EvaluationConfig, Model
from cotdistill.errors import DataError
from cotdistill.evaluation.statistics import score
from cotdistill.models.generation import generate, num_positions
from cotdistill.models.loading import load_model, load_tokenizer, model_identity, pick_device, resolve_dtype
from cotdistill.models.template import decode, encode_prompt, stop_token_ids
from cotdistill.progress import track
from cotdistill.records import Prediction, Question, Score, read_rows
from cotdistill.tasks.answers import judge
from cotdistill.tasks.prompts import Target, prompt_text

VERSION = 1
"""Raised whenever a change of code changes what an evaluation makes."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation; iterating gives its predictions in the order of the questions.

    ``dropped`` counts, by reason, questions that were not put to the model; their predictions are truncated.
    """

    path: Path
    score: Score
    predictions: tuple[Prediction, ...]
    seconds: float
    dropped: dict[str, int]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)


def evaluation_identity(
    model: Model, questions: Sequence[Question], target: Target, config: EvaluationConfig
) -> dict[str, Any]:
    """All that can change a prediction: model, questions and prompts, decoding, and batches for their rounding."""
    return {
        "version": VERSION,
        "model": model_identity(model),
        "questions": content_key(
            [(question.task, question.id, question.answer, question.answer_type) for question in questions]
        ),
        "prompts": content_key([prompt_text(question, target) for question in questions]),
        "max_new_tokens": config.max_new_tokens,
        "max_batch_size": config.max_batch_size,
        "dtype": str(resolve_dtype(config.dtype, pick_device())),
    }


def evaluate(
    model: Model, questions: Sequence[Question], *, target: Target, config: EvaluationConfig, runs: Path
) -> Evaluation:
    """Answer ``questions`` in ``runs/evaluation/<key>``, or take the finished answers that are there.

    ``target`` says whether the prompt asks for a rationale or for the answer alone. A prompt that leaves the model no
    room for ``max_new_tokens`` is neither cut nor put to it: its verdict is truncated, so that every model is scored on
    the same questions, and it is counted. Raises DataError where there is no question, or none that fits.
    """
    if not questions:
        raise DataError("no questions to evaluate on", remedy="check the task and its limits")
    with open_stage(runs, "evaluation", evaluation_identity(model, questions, target, config)) as stage:
        records = stage.path / "predictions.jsonl"
        if not stage.finished:
            predictions, dropped = _answer(model, questions, target, config, records)
            write_rows(records, (prediction.to_row() for prediction in predictions))
            stage.finish(score(predictions).to_row(), seeds={}, dropped=dropped)
        predictions = tuple(Prediction.from_row(row) for row in read_rows(records))
        manifest = stage.manifest()
        return Evaluation(stage.path, score(predictions), predictions, manifest["seconds"], manifest["dropped"])


def _answer(
    config_model: Model, questions: Sequence[Question], target: Target, config: EvaluationConfig, records: Path
) -> tuple[list[Prediction], dict[str, int]]:
    """Predictions in the order of the questions, and counts by reason of those that were not asked.

    Whole batches are appended, and a resumed run keeps whole ones only: a batch's composition can change its rounding,
    and so it must stay the same.
    """
    device = pick_device()
    tokenizer = load_tokenizer(config_model)
    prompts = [encode_prompt(tokenizer, prompt_text(question, target)) for question in questions]
    keys = [(question.task, question.id) for question in questions]
    model = load_model(config_model, dtype=resolve_dtype(config.dtype, device), device=device)
    lengths = _lengths_that_fit(list(map(len, prompts)), num_positions(model), config.max_new_tokens)
    batches = plan_batches(lengths, config.max_batch_size)
    with RowAppender(records) as appender:
        done = {(row["task"], row["id"]): Prediction.from_row(row) for row in appender.rows}
        left = [batch for batch in batches if any(keys[i] not in done for i in batch)]
        finished = len(lengths) - sum(map(len, left))
        stops = stop_token_ids(model, tokenizer)
        with track("evaluate", len(lengths), done=finished) as progress:
            for batch in left:
                generated = generate(
                    model,
                    [prompts[i] for i in batch],
                    max_new_tokens=config.max_new_tokens,
                    max_batch_size=len(batch),
                    stop_token_ids=stops,
                )
                for output in generated:
                    i = batch[output.index]
                    text = decode(tokenizer, output.token_ids)
                    done[keys[i]] = _judged(questions[i], text, output.finished, len(prompts[i]), len(output.token_ids))
                    progress.advance()
                for i in batch:
                    appender.append(done[keys[i]].to_row())
    too_long = [i for i in range(len(prompts)) if i not in lengths]
    done |= {keys[i]: _judged(questions[i], "", False, len(prompts[i]), 0) for i in too_long}
    return [done[key] for key in keys], {"prompt_too_long": len(too_long)} if too_long else {}


def _lengths_that_fit(lengths: Sequence[int], num_positions: int | None, max_new_tokens: int) -> dict[int, int]:
    """Prompts by index, with their lengths, that leave room for ``max_new_tokens`` in a model's positions."""
    room = math.inf if num_positions is None else num_positions - max_new_tokens
    fitting = {index: length for index, length in enumerate(lengths) if length <= room}
    if not fitting:
        raise DataError(
            f"no prompt leaves room for {max_new_tokens} new tokens in the model's {num_positions} positions "
            f"(the shortest has {min(lengths)} tokens)",
            where="evaluation",
            remedy="lower evaluation.max_new_tokens",
        )
    return fitting


def plan_batches(lengths: dict[int, int], max_batch_size: int) -> list[list[int]]:
    """Indices by batch, longest prompts first: padding is least, and a lack of memory shows at once."""
    order = sorted(lengths, key=lambda index: (-lengths[index], index))
    return [order[start : start + max_batch_size] for start in range(0, len(order), max_batch_size)]


def _judged(
    question: Question, text: str, finished: bool, num_prompt_tokens: int, num_output_tokens: int
) -> Prediction:
    extracted, verdict = judge(text, question, finished=finished)
    return Prediction(
        question.id, question.task, question.answer, text, extracted, verdict, num_prompt_tokens, num_output_tokens
    )


def by_task(predictions: Iterable[Prediction]) -> dict[str, Score]:
    """The score of each task among the predictions, by name."""
    groups: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        groups.setdefault(prediction.task, []).append(prediction)
    return {task: score(group) for task, group in sorted(groups.items())}
