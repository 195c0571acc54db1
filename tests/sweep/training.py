"""What is tried of a family's training: ours against the reference, step by step and in the logits that come out."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tests.sweep import reference
from tests.sweep.cells import feature
from tests.sweep.reference import Losses, Step, Text
from tests.sweep.subject import QUESTIONS, RATIONALES, SETTINGS, Subject, steps_of
from torch import nn
from transformers import AutoTokenizer

import cotdistill
from cotdistill.config import (
    CachedTeacher,
    CrossEntropy,
    ForwardKL,
    HiddenMSE,
    LoRA,
    ModelConfig,
    OnPolicy,
)
from cotdistill.models.load.loading import load_model
from cotdistill.training import loop, rollouts
from cotdistill.training.stage import Student

Outcome = tuple[bool, dict[str, Any]]

LIMITS = {"loss1": 3e-4, "grad1": 3e-3, "loss": 1e-2, "logits": 5e-2}
"""How far ours may be from the reference, as shares: loss and gradient of the first step, all losses, the logits of the
trained student."""
DRIFT = (1e-7, 3e-7)
"""Shares by which rounding differs. Where a reference that is disturbed so drifts further than the limits (chaotic
recurrences, experts that are chosen by a hair), steps after the first may be as far as thrice that drift."""
TOP = 20
KL = (CrossEntropy(), ForwardKL())
MSE = HiddenMSE(weight=0.5)


def _measured(found: Sequence[Step], expected: Sequence[Step], logits: float | None = None) -> dict[str, float]:
    losses = [_share(f.loss, e.loss) for f, e in zip(found, expected, strict=True)]
    measured = {
        "loss1": losses[0],
        "grad1": _share(found[0].grad_norm, expected[0].grad_norm),
        "loss": max(losses),
    }
    return measured if logits is None else measured | {"logits": logits}


def _share(found: float, expected: float) -> float:
    return abs(found - expected) / max(abs(expected), 1e-6)


def _compared(subject: Subject, student: Student, losses: Losses, *, noise: bool = False) -> Outcome:
    model, expected = subject.expected(losses, noise=noise)
    logits = reference.difference(reference.load(student.model), model, subject.texts[:3])
    found = _measured(steps_of(student), expected, logits)
    if _within(found, LIMITS) or not _within({k: found[k] for k in ("loss1", "grad1")}, LIMITS):
        return _within(found, LIMITS), found
    drift = dict.fromkeys(found, 0.0)
    for size in DRIFT:
        other, steps = subject.expected(losses, size=size, noise=noise)
        moved = _measured(steps, expected, reference.difference(other, model, subject.texts[:3]))
        drift = {name: max(drift[name], moved[name]) for name in drift}
    limits = {name: max(limit, 3 * drift[name]) for name, limit in LIMITS.items()}
    return _within(found, limits), found | {"drift": drift["logits"]}


def _within(found: dict[str, float], limits: dict[str, float]) -> bool:
    return all(value < limits[name] for name, value in found.items())


@feature
def sft(subject: Subject) -> Outcome:
    return _compared(subject, subject.trained("sft"), Losses())


@feature
def padded(subject: Subject) -> Outcome:
    return _compared(subject, subject.trained("padded", packing=False), Losses())


@feature
def packed(subject: Subject) -> Outcome:
    return _compared(subject, subject.trained("packed", packing=True), Losses())


@feature
def noise(subject: Subject) -> Outcome:
    """What a model draws in training mode it draws here too, by the seed of the step; its teacher draws nothing."""
    if not subject.draws_noise:
        return True, {}
    right, measured = _compared(subject, subject.trained("noise", packing=False), Losses(), noise=True)
    learned = subject.trained("noise", packing=False, loss=KL, signal=subject.teacher)
    right_too, measured_too = _compared(subject, learned, Losses(divergence=1.0), noise=True)
    return right and right_too, measured | {f"{name} with a teacher": value for name, value in measured_too.items()}


@feature
def checkpointing(subject: Subject) -> Outcome:
    student = subject.trained("checkpointing", packing=False, gradient_checkpointing=True)
    return _compared(subject, student, Losses(), noise=subject.draws_noise)


@feature
def kl(subject: Subject) -> Outcome:
    return _compared(subject, subject.trained("kl", loss=KL, signal=subject.teacher), Losses(divergence=1.0))


@feature
def kl_hidden(subject: Subject) -> Outcome:
    signal = CachedTeacher(model=subject.teacher.model, store="hidden")
    return _compared(subject, subject.trained("kl_hidden", loss=KL, signal=signal), Losses(divergence=1.0))


@feature
def kl_topk(subject: Subject) -> Outcome:
    signal = CachedTeacher(model=subject.teacher.model, store="topk", k=TOP)
    return _compared(subject, subject.trained("kl_topk", loss=KL, signal=signal), Losses(divergence=1.0, top=TOP))


@feature
def hidden(subject: Subject) -> Outcome:
    student = subject.trained("hidden", loss=(CrossEntropy(), MSE), signal=subject.teacher)
    return _compared(subject, student, Losses(hidden=0.5))


@feature
def hidden_kl(subject: Subject) -> Outcome:
    student = subject.trained("hidden_kl", loss=(*KL, MSE), signal=subject.teacher)
    return _compared(subject, student, Losses(divergence=1.0, hidden=0.5))


@feature
def on_policy(subject: Subject) -> Outcome:
    """One step on the student's own samples, which the reference then learns from too."""
    kept: list[Text] = []
    own = rollouts.Rollouts.sample

    def sample(self: Any, *arguments: Any, **settings: Any) -> Any:
        made = own(self, *arguments, **settings)
        kept.extend(
            Text([*e.input_ids, e.targets[-1]], len(e.prompt))
            for step in made.values()
            for e in copy.deepcopy(step).values()
        )
        return made

    rollouts.Rollouts.sample = sample
    try:
        student = subject.trained(
            "on_policy", loss=(ForwardKL(),), signal=subject.teacher, epochs=1,
            on_policy=OnPolicy(share=1.0, max_new_tokens=12),
        )  # fmt: skip
    finally:
        rollouts.Rollouts.sample = own
    expected = reference.train(
        subject.plain(), kept, Losses(cross_entropy=0.0, divergence=1.0), subject.plain("teacher"), num_steps=1,
        num_tokens=len(subject.tokenizer),
    )  # fmt: skip
    found = _measured(steps_of(student), expected)
    return _within(found, LIMITS), found


@feature
def lora(subject: Subject) -> Outcome:
    """Merged, kept and read by peft, kept and read here: one model, which is not the base."""
    from peft import PeftModel

    settings = {"learning_rate": 2e-2, "runs": "lora"}
    merged, kept = (subject.trained(adapter=LoRA(rank=4, merge=merge), **settings) for merge in (True, False))
    theirs: Any = PeftModel.from_pretrained(subject.plain(), str(kept.model)).eval()
    ours = load_model(ModelConfig(model=str(kept.model)), dtype=torch.float32, device="cpu")
    _, (first, *_) = subject.expected(Losses())
    found = {
        "loss1": _share(steps_of(merged)[0].loss, first.loss),
        "merged": reference.difference(reference.load(merged.model), theirs, subject.texts[:3]),
        "ours": reference.difference(ours, theirs, subject.texts[:3]),
        "change": reference.difference(theirs, subject.plain(), subject.texts[:3]),
    }
    return found["loss1"] < 3e-4 and max(found["merged"], found["ours"]) < 1e-3 < found["change"], found


@feature
def keep_2(subject: Subject) -> Outcome:
    return _cut(subject, [0, 3])


@feature
def keep_3(subject: Subject) -> Outcome:
    return _cut(subject, [0, 2, 3])


def _cut(subject: Subject, kept: list[int]) -> Outcome:
    """The student's folder, read by transformers, is the base without the other layers, and is evaluated so."""
    start = ModelConfig(model=subject.student.model, keep_layers=len(kept))
    settings = SETTINGS | {"epochs": 1, "learning_rate": 1e-9}
    student = cotdistill.train(start, RATIONALES, runs=subject.folder / "cut", **settings)
    model = reference.load(student.model)
    expected = reference.without_layers(subject.plain(), kept, 4)
    found = {"logits": reference.difference(model, expected, subject.texts[:1])}
    asked = cotdistill.evaluate(
        ModelConfig(model=str(student.model)), QUESTIONS[:2], runs=subject.folder / "cut", max_new_tokens=6,
        dtype="float32",
    )  # fmt: skip
    prompt = subject.texts[0].ids[: subject.texts[0].num_prompt]
    written = subject.tokenizer.decode(reference.greedy(model, prompt, 6, subject.stops), skip_special_tokens=True)
    return found["logits"] < 1e-3 and written == asked.predictions[0].output, found


@feature
def saved(subject: Subject) -> Outcome:
    """The student's folder: the same class, tokenizer and template as its base."""
    student = subject.trained("sft")
    model, tokenizer = reference.load(student.model), AutoTokenizer.from_pretrained(student.model)
    own = AutoTokenizer.from_pretrained(subject.folder / "student")
    same = {
        "class": type(model) is type(subject.plain()),
        "vocabulary": tokenizer.get_vocab() == own.get_vocab(),
        "template": tokenizer.chat_template == own.chat_template,
        "ends": (tokenizer.eos_token, tokenizer.pad_token) == (own.eos_token, own.pad_token),
        "config": _sizes(student.model) == _sizes(subject.folder / "student"),
    }
    return all(same.values()), same


def _sizes(folder: Path) -> dict[str, Any]:
    """All that the config says but its type and the tokens that begin and end texts, which are the tokenizer's."""

    def kept(part: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in part.items() if name != "dtype" and not name.endswith("_token_id")}

    return json.loads((folder / "config.json").read_text(encoding="utf-8"), object_hook=kept)


@feature
def resume(subject: Subject) -> Outcome:
    """Killed in the fourth step of five and continued: the same bits."""
    settings = {"epochs": 5, "checkpoint_every": 2}
    whole = subject.trained("whole", **settings)
    own, calls = loop.accumulate, iter(range(9))

    def interrupted(module: nn.Module, *arguments: Any, **others: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return own(module, *arguments, **others)

    loop.accumulate = interrupted
    try:
        subject.trained("resumed", **settings)
        return False, {"interrupted": False}
    except KeyboardInterrupt:
        pass
    finally:
        loop.accumulate = own
    weights = [load_file(s.model / "model.safetensors") for s in (whole, subject.trained("resumed", **settings))]
    return all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items()), {}
