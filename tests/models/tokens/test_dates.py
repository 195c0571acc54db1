"""No clock in a prompt: what is trained, asked and saved is the same whatever the day."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import torch
from tests.tiny import CHATML, tiny_model, tiny_tokenizer
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

import cotdistill as cot
from cotdistill.config import CachedTeacher, ModelConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.load.source import model_identity
from cotdistill.models.tokens.template import encode_prompt
from cotdistill.records import Question, Rationale
from cotdistill.training import loop

DATED = "{{ 'Today is ' + strftime_now('%d %B %Y') + '.' }}" + CHATML
RATIONALES = [
    Rationale(Question(f"q{n}", "own", "train", f"What is {n} + 5?", str(n + 5), "number"), f"{n} + 5 is {n + 5}.",
              "me", None, "human")
    for n in range(4)
]  # fmt: skip


class Clock:
    day = 28

    @classmethod
    def now(cls) -> dt.datetime:
        return dt.datetime(2031, 11, cls.day, 23, 59)


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> type[Clock]:
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    monkeypatch.setattr(Clock, "day", 28)
    return Clock


def save(folder: Path, template: str = DATED, seed: int = 0) -> ModelConfig:
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.chat_template = template
    tiny_model(len(tokenizer), seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelConfig(model=str(folder))


def opening(config: ModelConfig) -> str:
    tokenizer = load_tokenizer(config)
    return tokenizer.decode(encode_prompt(tokenizer, "What is 1 + 1?")).partition("<|im_start|>")[0]


def test_a_date_in_a_template_is_the_one_that_is_set(tmp_path, clock):
    config = save(tmp_path)
    assert opening(config) == "Today is 01 January 2025."
    set_by_the_user = config.model_copy(update={"date": dt.date(2024, 7, 26)})
    assert opening(set_by_the_user) == "Today is 26 July 2024."
    assert model_identity(set_by_the_user) == model_identity(config) + "+date=2024-07-26"
    clock.day = 29
    assert opening(config) == "Today is 01 January 2025."


@pytest.mark.parametrize(
    ("call", "written"),
    [
        ('strftime_now("%Y-%m-%d")', "2025-01-01"),
        ("strftime_now( format = '%d %b %Y' )", "01 Jan 2025"),
        ("strftime_now('the \"%d.%m.\"')", 'the "01.01."'),
        ("strftime_now('%H:%M')", "00:00"),
    ],
)
def test_however_a_template_asks(call, written, tmp_path):
    asked = "{% set today = " + call + " if strftime_now is defined else 'never' %}{{ today }}" + CHATML
    assert opening(save(tmp_path, asked)) == written


def test_a_template_whose_date_cannot_be_fixed_is_refused(tmp_path):
    config = save(tmp_path, "{% set form = '%d' %}{{ strftime_now(form) }}" + CHATML)
    with pytest.raises(ModelError, match="asks for the time in a way that cannot be fixed"):
        load_tokenizer(config)


def test_a_training_killed_before_midnight_and_resumed_after_it_gives_the_same_bits(tmp_path, clock, monkeypatch):
    student, teacher = save(tmp_path / "student"), save(tmp_path / "teacher", seed=1)
    accumulate = loop.accumulate

    def train(runs: Path, dies_before: int | None = None, **changed: object):
        steps = iter(range(100))

        def until_killed(*arguments, **settings):
            if next(steps) == dies_before:
                raise KeyboardInterrupt
            return accumulate(*arguments, **settings)

        monkeypatch.setattr(loop, "accumulate", until_killed)
        return cot.train(
            student, RATIONALES, loss=[cot.CrossEntropy(), cot.ForwardKL()], signal=CachedTeacher(model=teacher),
            epochs=4, batch_size=4, learning_rate=1e-2, dtype="float32", checkpoint_every=2, runs=runs, **changed,
        )  # fmt: skip

    unbroken = train(tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", dies_before=3)
    clock.day = 29
    resumed = train(tmp_path / "killed")
    assert resumed.path.name == unbroken.path.name
    assert (resumed.model / "model.safetensors").read_bytes() == (unbroken.model / "model.safetensors").read_bytes()
    train(tmp_path / "killed", seed=1)
    assert len(list((tmp_path / "killed" / "teacher_signal").iterdir())) == 1, "the teacher is not captured again"
    saved = AutoTokenizer.from_pretrained(resumed.model)
    assert saved.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False).startswith("Today is 01 Jan")
    assert torch.equal(*(torch.tensor(encode_prompt(load_tokenizer(ModelConfig(model=str(folder))), "x"))
                         for folder in (student.model, resumed.model)))  # fmt: skip
