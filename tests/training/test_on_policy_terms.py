"""Cross-entropy beside the student's own samples: it counts the tokens of the rationales' steps alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.tiny import tiny_model, tiny_tokenizer
from tests.training.test_rollouts import CPU, config, examples, metrics, own_samples

from cotdistill.config import CrossEntropy, ForwardKL, LossConfig, ReverseKL
from cotdistill.training.data.batches import collate
from cotdistill.training.data.examples import Example
from cotdistill.training.loop import train_student
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.step import DistillationLoss, accumulate

TERMS: tuple[LossConfig, ...] = (
    CrossEntropy(weight=0.7, region="answer"),
    ForwardKL(weight=0.5),
    ReverseKL(weight=2.0, temperature=2.0),
)


def pair() -> tuple[Any, Any]:
    return tiny_model(len(tiny_tokenizer()), seed=0), tiny_model(len(tiny_tokenizer()), seed=1)


def reference(texts: list[Example], *, sampled: bool) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and its gradients in float64, example by example and token by token."""
    student, teacher = (model.double() for model in pair())
    total = torch.zeros((), dtype=torch.float64)
    for text in texts:
        ids = torch.tensor([text.input_ids])
        logits, theirs = student(ids).logits[0], teacher(ids).logits[0].detach()
        for place, (target, region) in enumerate(zip(text.targets, text.regions, strict=True)):
            if not region:
                continue
            if region.name in ("ANSWER", "END") and not sampled:
                total = total - 0.7 * logits[place].log_softmax(-1)[target]
            for weight, t, forward in ((0.5, 1.0, True), (2.0, 2.0, False)):
                log_q, log_p = (logits[place] / t).log_softmax(-1), (theirs[place] / t).log_softmax(-1)
                one, other = (log_p, log_q) if forward else (log_q, log_p)
                total = total + weight * t * t * F.kl_div(other, one, log_target=True, reduction="sum")
    loss = total / sum(text.num_loss_tokens for text in texts)
    loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in student.named_parameters()}


@pytest.mark.parametrize("sampled", [True, False])
def test_value_and_gradient_are_those_of_float64(sampled: bool) -> None:
    texts = examples()
    if sampled:
        texts = list(own_samples().sample(pair()[0].eval(), {0: dict(enumerate(texts))}, 12)[0].values())
    student, teacher = pair()
    module = DistillationLoss(student, TERMS, LiveSignal(teacher))
    batches = [replace(collate(part), sampled=sampled) for part in (texts[:3], texts[3:])]
    loss, means, _ = accumulate(module, batches, device=CPU, dtype=torch.float32)
    expected, gradients = reference(texts, sampled=sampled)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (means[0] == 0) is sampled
    for name, parameter in student.named_parameters():
        difference = (parameter.grad.double() - gradients[name]).norm()
        assert difference <= 1e-4 * max(gradients[name].norm().item(), 1e-3), name


def test_the_metrics_of_a_step_hold_the_terms_that_apply(tmp_path: Path) -> None:
    student, teacher = pair()
    settings = config(loss=["cross_entropy", "forward_kl"], on_policy={"share": 0.5})
    rollouts = replace(own_samples(share=0.5), seed=2)
    train_student(student, examples(), settings, signal=LiveSignal(teacher), seed=0, folder=tmp_path, rollouts=rollouts)
    names = {"rollouts" in row: list(row["terms"]) for row in metrics(tmp_path)}
    assert names == {True: ["1_forward_kl_all"], False: ["0_cross_entropy_all", "1_forward_kl_all"]}
