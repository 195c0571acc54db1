"""The evaluation stage: greedy answers of a model to a task's questions, judged, and every one of them kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.artifacts import RowAppender, content_key, open_stage, write_rows
from cotdistill.config import EvaluationConfig, Model
from cotdistill.errors import DataError
from cotdistill.evaluation.statistics import score
from cotdistill.models.generation import generate_greedy
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
    """A finished evaluation; iterating gives its predictions in the order of the questions."""

    path: Path
    score: Score
    predictions: tuple[Prediction, ...]
    seconds: float

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

    ``target`` says whether the prompt asks for a rationale or for the answer alone. Raises DataError where there is no
    question.
    """
    if not questions:
        raise DataError("no questions to evaluate on", remedy="check the task and its limits")
    with open_stage(runs, "evaluation", evaluation_identity(model, questions, target, config)) as stage:
        records = stage.path / "predictions.jsonl"
        if not stage.finished:
            predictions = _answer(model, questions, target, config, records)
            write_rows(records, (prediction.to_row() for prediction in predictions))
            stage.finish(score(predictions).to_row(), seeds={}, dropped={})
        predictions = tuple(Prediction.from_row(row) for row in read_rows(records))
        return Evaluation(stage.path, score(predictions), predictions, stage.manifest()["seconds"])


def _answer(
    config_model: Model, questions: Sequence[Question], target: Target, config: EvaluationConfig, records: Path
) -> list[Prediction]:
    """Predictions in the order of the questions. Whole batches are appended, and a resumed run keeps whole ones only:
    a batch's composition can change its rounding, and so it must stay the same."""
    device = pick_device()
    tokenizer = load_tokenizer(config_model)
    prompts = [encode_prompt(tokenizer, prompt_text(question, target)) for question in questions]
    keys = [(question.task, question.id) for question in questions]
    batches = plan_batches([len(prompt) for prompt in prompts], config.max_batch_size)
    with RowAppender(records) as appender:
        done = {(row["task"], row["id"]): Prediction.from_row(row) for row in appender.rows}
        left = [batch for batch in batches if any(keys[i] not in done for i in batch)]
        finished = len(questions) - sum(map(len, left))
        if not left:
            return [done[key] for key in keys]
        model = load_model(config_model, dtype=resolve_dtype(config.dtype, device), device=device)
        stops = stop_token_ids(model, tokenizer)
        with track("evaluate", len(questions), done=finished) as progress:
            for batch in left:
                generated = generate_greedy(
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
    return [done[key] for key in keys]


def plan_batches(lengths: Sequence[int], max_batch_size: int) -> list[list[int]]:
    """Indices by batch, longest prompts first: padding is least, and a lack of memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
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
