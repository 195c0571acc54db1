"""How far a model that was made from another still is that model: on the questions that the first was tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError

from cotdistill.config import EvaluationConfig, ModelConfig
from cotdistill.evaluation.answering import Asked
from cotdistill.evaluation.evaluate import evaluate, evaluation_identity
from cotdistill.evaluation.read import QUESTIONS, questions_of
from cotdistill.evaluation.statistics.comparisons import compare
from cotdistill.evaluation.stored import PREDICTIONS, StoredPredictions
from cotdistill.models.forward.heads import check_head, head_of, last_hidden_states
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity, pick_device
from cotdistill.models.tokens.template import encode_prompt, encode_response
from cotdistill.progress import track
from cotdistill.records import Prediction, Question
from cotdistill.storage.finished import FinishedStage, is_finished, open_finished
from cotdistill.tasks.prompts import Target, prompt_of
from cotdistill.tasks.segments import Region, Segment

_ROWS = 256
"""Tokens whose logits are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What a model was tested on, and how it answered: some of a finished evaluation's questions, in order."""

    path: Path
    questions: tuple[Question, ...]
    predictions: tuple[Prediction, ...]
    target: Target
    config: EvaluationConfig


def tested(model: ModelConfig, runs: Path, num_questions: int) -> Tested | None:
    """``num_questions`` of the evaluation of ``model`` in ``runs`` that has the most, at equal distances.

    None if there is no evaluation that can be repeated: with prompts of ours, by transformers.
    """
    name, found = model_identity(model), list[Tested]()
    for path in sorted((runs / "evaluation").glob("*")):
        if is_finished(path) and (stage := open_finished(path)).identity.get("model") == name:
            found += _again(model, stage)
    if not found:
        return None
    most = max(found, key=lambda each: len(each.questions))
    chosen = slice(None, None, -(-len(most.questions) // num_questions))
    return Tested(most.path, most.questions[chosen], most.predictions[chosen], most.target, most.config)


def _again(model: ModelConfig, stage: FinishedStage) -> list[Tested]:
    """An evaluation as it can be repeated; its key holds a hash of its prompts, which one target gives again."""
    if QUESTIONS not in stage or PREDICTIONS not in stage:
        return []
    questions, first = questions_of(stage), bool(stage.identity["first_statement"])
    try:
        config = EvaluationConfig.model_validate(stage.identity["evaluation"])
    except ValidationError:  # a reader of the user's own is a hash there
        return []
    for target in get_args(Target):
        asked = Asked(questions, [prompt_of(question, target) for question in questions], first_statement=first)
        if evaluation_identity(model, asked, config)["prompts"] == stage.identity["prompts"]:
            return [Tested(stage.path, questions, tuple(StoredPredictions(stage)), target, config)]
    return []


def fidelity(model: ModelConfig, made: ModelConfig, on: Tested, runs: Path) -> dict[str, Any]:
    """How ``made`` compares with ``model``, which it was made from: agreement of likeliest tokens, and accuracy.

    The tokens are those of the outputs of ``model``, stop tokens included, each behind what stands before it in the
    text, which is the same for both. The difference in accuracy is paired, with its 95 % interval.
    """
    equal, num_tokens = _agreement(model, made, on)
    answered = evaluate(made, on.questions, target=on.target, config=on.config, runs=runs)
    compared = compare(answered.predictions, on.predictions, names=("converted", "student")).to_row()
    kept = ("accuracy_a", "accuracy_b", "difference", "interval", "p_value", "gained", "lost")
    return {
        "num_questions": len(on.questions),
        "num_tokens": num_tokens,
        "top1_agreement": equal / num_tokens,
        "accuracy": {name: compared[name] for name in kept},
        "evaluations": {"student": on.path.name, "converted": answered.path.name},
    }


def _agreement(model: ModelConfig, made: ModelConfig, on: Tested) -> tuple[int, int]:
    """At how many of how many places both find the same token likeliest. One model is in memory at a time."""
    tokenizer = load_tokenizer(model)
    texts = []
    for question, prediction in zip(on.questions, on.predictions, strict=True):
        prompt = encode_prompt(tokenizer, prompt_of(question, on.target))
        response, _ = encode_response(tokenizer, (Segment(prediction.output, Region.ANSWER),))
        texts.append((prompt, response))
    a, b = (_likeliest(each, texts) for each in (model, made))
    return sum(int((x == y).sum()) for x, y in zip(a, b, strict=True)), sum(map(len, a))


@torch.inference_mode()
def _likeliest(config: ModelConfig, texts: Sequence[tuple[list[int], list[int]]]) -> list[torch.Tensor]:
    """The likeliest token at each place of each response, behind the text's own tokens.

    In float32: what a shorter type rounds away would count as the file's.
    """
    device = pick_device()
    model = load_model(config, dtype=torch.float32, device=device)
    check_head(model)
    head, found = head_of(model), []
    with track("compare", len(texts)) as progress:
        for prompt, response in texts:
            ids = torch.tensor([[*prompt, *response]], device=device)
            hidden = last_hidden_states(model, ids, torch.ones_like(ids))[0, len(prompt) - 1 : -1]
            found.append(torch.cat([head.logits(rows).argmax(-1).cpu() for rows in hidden.split(_ROWS)]))
            progress.advance()
    return found
