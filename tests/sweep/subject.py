"""A family on disk: a student, a teacher with a larger head, the rationales that it learns from, and their tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tests.models.families import make
from tests.sweep import reference
from tests.sweep.reference import Losses, Step, Text
from tests.tiny import ROLE_END, tiny_tokenizer
from torch import nn
from transformers import PreTrainedModel

import cotdistill
from cotdistill.config import LiveTeacher, ModelConfig
from cotdistill.models.load.quiet import no_progress_bars
from cotdistill.models.tokens.template import encode_prompt
from cotdistill.records import Question, Rationale
from cotdistill.tasks.prompts import prompt_text, response_text
from cotdistill.training import loop
from cotdistill.training.stage import Student

NUM_STEPS = 3
SETTINGS: dict[str, Any] = {
    "epochs": NUM_STEPS, "batch_size": 16, "learning_rate": reference.LEARNING_RATE, "schedule": "constant",
    "dtype": "float32", "weight_decay": 0.0,
}  # fmt: skip
QUESTIONS = [
    Question(
        f"q{i}", "own", "test",
        f"Ann has {12 + i} apples and gives {5 + i % 3} to Ben. How many {'of the green ones ' * (i % 2)}are left?",
        str(7 + i), "number",
    )
    for i in range(5)
]  # fmt: skip
RATIONALES = [
    Rationale(q, f"{'So ' * (2 * i)}{12 + i} - {5 + i % 3} = {7 + i}.", "me", None, "human")
    for i, q in enumerate(QUESTIONS)
]


class Subject:
    """``folder`` holds the models ``student`` and ``teacher``, and what is made from them."""

    def __init__(self, family: str, folder: Path):
        self.family, self.folder = family, folder
        self.tokenizer = tiny_tokenizer(chat=True)
        for name, seed, vocabulary in (("student", 1, 480), ("teacher", 2, 512)):
            with no_progress_bars():
                make(family, seed=seed, vocabulary=vocabulary).save_pretrained(folder / name)
            self.tokenizer.save_pretrained(folder / name)
        end = self.tokenizer.convert_tokens_to_ids(ROLE_END)
        self.stops = {0, end, self.tokenizer.eos_token_id}
        self.texts: list[Text] = []
        self.references: dict[tuple[Losses, float, bool], tuple[PreTrainedModel, list[Step]]] = {}
        for rationale in RATIONALES:
            prompt = encode_prompt(self.tokenizer, prompt_text(rationale.question, "rationale"))
            response = self.tokenizer(response_text(rationale), add_special_tokens=False)["input_ids"]
            self.texts.append(Text([*prompt, *response, end], len(prompt)))

    @property
    def student(self) -> ModelConfig:
        return ModelConfig(model=str(self.folder / "student"))

    @property
    def teacher(self) -> LiveTeacher:
        return LiveTeacher(model=ModelConfig(model=str(self.folder / "teacher")))

    def plain(self, name: str = "student") -> PreTrainedModel:
        return reference.load(self.folder / name)

    @cached_property
    def draws_noise(self) -> bool:
        """Whether the model in training mode computes something else each time: dropout, or experts drawn by lot."""
        model = self.plain().train()
        ids = torch.tensor([self.texts[0].ids])
        with torch.no_grad():
            torch.manual_seed(0)
            first, second = (model(input_ids=ids, use_cache=False).logits for _ in range(2))
        return not torch.equal(first, second)

    def trained(self, runs: str, **settings: Any) -> Student:
        return cotdistill.train(self.student, RATIONALES, runs=self.folder / runs, **SETTINGS | settings)

    def expected(self, losses: Losses, *, size: float = 0.0, noise: bool = False) -> tuple[PreTrainedModel, list[Step]]:
        """What the reference makes of the student, disturbed by ``size`` first; with ``noise`` it draws as ours."""
        key = (losses, size, noise)
        if key not in self.references:
            model = reference.disturbed(self.plain(), size) if size else self.plain()
            steps = reference.train(
                model, self.texts, losses, self.plain("teacher"), num_steps=NUM_STEPS, num_tokens=len(self.tokenizer),
                noise=(lambda step: loop.step_seed(0, step)) if noise else None,
            )  # fmt: skip
            self.references[key] = (model, steps)
        return self.references[key]


def steps_of(student: Student) -> list[Step]:
    rows = (json.loads(line) for line in (student.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [Step(row["loss"], row["grad_norm"]) for row in rows]


@contextmanager
def no_noise() -> Iterator[None]:
    """No module can be put into training mode, so that families with dropout compute what the reference does."""
    own = nn.Module.train
    nn.Module.train = lambda self, mode=True: own(self, False)
    try:
        yield
    finally:
        nn.Module.train = own
