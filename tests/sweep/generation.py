"""What is tried of a family's writing: ours against whole texts, read one at a time for every token."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tests.sweep import reference
from tests.sweep.cells import feature
from tests.sweep.subject import QUESTIONS, Subject

import cotdistill
from cotdistill.config import EvaluationConfig
from cotdistill.evaluation.evaluate import evaluate as evaluate_stage
from cotdistill.models.generate.beams import beam_search
from cotdistill.models.generate.generation import generate
from cotdistill.records import Question
from cotdistill.tasks.benchmarks.bbh import ANSWER_TYPES
from cotdistill.tasks.few_shot import PROMPTS_FILE, few_shot_texts

Outcome = tuple[bool, dict[str, Any]]

STOPS = {0, 7, 30, 60}
"""So many that rows of a batch end at different tokens."""
NUM_NEW = 14
SIZE = 3
"""Of a batch: fewer than there are prompts, so that rows that end make room for others."""


def _random_ids(number: int, generator: torch.Generator) -> list[int]:
    return torch.randint(5, 390, (number,), generator=generator).tolist()


def _different(subject: Subject, prompts: Sequence[Sequence[int]], found: Mapping[int, Sequence[int]]) -> Outcome:
    model = subject.plain()
    wrong = [i for i, p in enumerate(prompts) if reference.greedy(model, p, NUM_NEW, STOPS) != list(found[i])]
    return not wrong, {"different": len(wrong), "of": len(prompts)}


def _written(subject: Subject, prompts: Sequence[Sequence[int]]) -> dict[int, Sequence[int]]:
    model = subject.plain()
    outputs = generate(model, prompts, max_new_tokens=NUM_NEW, max_batch_size=SIZE, stop_token_ids=STOPS)
    return {output.index: output.token_ids for output in outputs}


@feature
def evaluate(subject: Subject) -> Outcome:
    asked = cotdistill.evaluate(
        subject.student, QUESTIONS, runs=subject.folder / "evaluate", max_new_tokens=24, dtype="float32"
    )
    model = subject.plain()
    wrong = 0
    for text, prediction in zip(subject.texts, asked.predictions, strict=True):
        expected = reference.greedy(model, text.ids[: text.num_prompt], 24, subject.stops)
        wrong += subject.tokenizer.decode(expected, skip_special_tokens=True) != prediction.output
    return not wrong, {"different": wrong, "of": len(QUESTIONS)}


@feature
def few_shot(subject: Subject) -> Outcome:
    """BIG-Bench-Hard's prompts of three examples, by a file as it has them."""
    (subject.folder / "bbh").mkdir(exist_ok=True)
    examples = "\n\n".join(f"Q: Ann has {n} apples. Are {n + 2} left?\nA: The answer is No." for n in range(3))
    with gzip.open(subject.folder / PROMPTS_FILE, "wt", encoding="utf-8") as file:
        for name in ANSWER_TYPES:
            file.write(json.dumps({"task": name, "prompt_raw": f"canary\n-----\n{examples}"}) + "\n")
    questions = [
        Question(f"b{n}", "bbh/navigate", "test", text, "Yes", "yes_no", meta={"input": text, "target": "Yes"})
        for n, text in enumerate(("Are 3 left?", "Are 4 of 15 green marbles left?"))
    ]
    config = EvaluationConfig(few_shot=3, max_new_tokens=8, stop=(), dtype="float32")
    asked = evaluate_stage(
        subject.student, questions, target="rationale", config=config, runs=subject.folder / "few_shot",
        data_dir=subject.folder,
    )  # fmt: skip
    model = subject.plain()
    wrong = 0
    for text, prediction in zip(few_shot_texts(questions, 3, subject.folder), asked.predictions, strict=True):
        expected = reference.greedy(model, subject.tokenizer(text)["input_ids"], 8, subject.stops)
        wrong += subject.tokenizer.decode(expected, skip_special_tokens=True) != prediction.output
    return not wrong, {"different": wrong, "of": len(questions)}


@feature
def batch(subject: Subject) -> Outcome:
    """Prompts of 3 to 40 tokens beside each other."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 40, (7,), generator=generator).tolist()
    prompts = [_random_ids(length, generator) for length in lengths]
    return _different(subject, prompts, _written(subject, prompts))


@feature
def shared_start(subject: Subject) -> Outcome:
    """Prompts that begin with the same 60 tokens."""
    generator = torch.Generator().manual_seed(1)
    start = _random_ids(60, generator)
    prompts = [start + _random_ids(length, generator) for length in (1, 19, 7, 4)]
    return _different(subject, prompts, _written(subject, prompts))


@feature
def beams(subject: Subject) -> Outcome:
    model, stops = subject.plain(), {0, 7}
    generator = torch.Generator().manual_seed(2)
    prompts = [_random_ids(length, generator) for length in (9, 14, 5)]
    outputs = beam_search(model, prompts, num_beams=3, max_new_tokens=10, stop_token_ids=stops)
    found = [output.token_ids for output in outputs]
    wrong = [i for i, p in enumerate(prompts) if reference.beams(model, p, 10, stops) != found[i]]
    return not wrong, {"different": len(wrong), "of": len(prompts)}
