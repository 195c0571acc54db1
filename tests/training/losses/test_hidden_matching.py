"""Hidden-state terms: zero at equality, the gradients of a plain float64 computation, a projection that is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny import tiny_model
from tests.training.test_step import VOCAB, random_examples

from cotdistill.config import (
    CrossEntropy,
    ForwardKL,
    HiddenCosine,
    HiddenMSE,
    HiddenTerm,
    LossConfig,
    TrainingConfig,
    validated,
)
from cotdistill.errors import ConfigError
from cotdistill.models.forward.heads import all_hidden_states, last_hidden_states
from cotdistill.tasks.segments import REGIONS
from cotdistill.training import loop as trainer
from cotdistill.training.data.batches import collate, micro_batches
from cotdistill.training.loop import CHECKPOINT, train_student
from cotdistill.training.losses.hidden_matching import layer_pairs
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.step import DistillationLoss, accumulate

CPU = torch.device("cpu")
TERMS = (HiddenMSE(weight=0.5, region="rationale"), HiddenCosine(layers="last"), HiddenMSE(layers=((0, 0), (2, 3))))


def module_of(terms: tuple[LossConfig, ...], *, hidden: int = 32, layers: int = 3) -> DistillationLoss:
    """A student of two layers, 32 wide."""
    return DistillationLoss(
        tiny_model(VOCAB, seed=1), terms, LiveSignal(tiny_model(VOCAB, hidden=hidden, layers=layers, seed=2))
    )


def test_the_last_layer_is_what_the_head_sees() -> None:
    model, batch = tiny_model(VOCAB), collate(random_examples(3))
    states = all_hidden_states(model, batch.input_ids, batch.attention_mask)
    assert len(states) == 3
    assert torch.equal(states[-1], last_hidden_states(model, batch.input_ids, batch.attention_mask))


@pytest.mark.parametrize("term", [HiddenMSE(), HiddenCosine(), HiddenMSE(layers="last")], ids=str)
def test_a_student_that_equals_its_teacher_has_no_loss_left(term: HiddenTerm) -> None:
    module = DistillationLoss(tiny_model(VOCAB, seed=1), (term,), LiveSignal(tiny_model(VOCAB, seed=1)))
    loss, _, _ = accumulate(module, [collate(random_examples(6))], device=CPU, dtype=torch.float32)
    assert abs(loss) < 1e-6
    assert max(p.grad.abs().max().item() for p in module.student.parameters() if p.grad is not None) < 1e-5


@pytest.mark.parametrize("width", [32, 48])
def test_value_and_gradients_are_those_of_a_plain_computation(width: int) -> None:
    """In float64, pair by pair; a teacher of another width goes through the projection."""
    module, examples = module_of(TERMS, hidden=width), random_examples(5)
    batch = collate(examples)
    loss, means, _ = accumulate(module, [batch], device=CPU, dtype=torch.float32)
    fast = {name: parameter.grad.clone() for name, parameter in module.named_parameters() if parameter.grad is not None}
    module.zero_grad()

    reference, teacher = module.double(), module.signal.teacher.double()
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "output_hidden_states": True}
    ours, theirs = reference.student(**inputs).hidden_states, teacher(**inputs).hidden_states
    pairs = ([(1, 2), (2, 3)], [(2, 3)], [(0, 0), (2, 3)])
    total, expected_means = torch.zeros((), dtype=torch.float64), []
    for index, (term, term_pairs) in enumerate(zip(TERMS, pairs, strict=True)):
        term_sum = torch.zeros((), dtype=torch.float64)
        for place, (mine, other) in enumerate(term_pairs):
            for position, region in zip(batch.positions, batch.regions, strict=True):
                if region not in REGIONS[term.region]:
                    continue
                s, t = (states.flatten(0, 1)[position] for states in (ours[mine], theirs[other]))
                if width != 32:
                    s = reference.matching.projections[index][place].weight @ s
                if isinstance(term, HiddenMSE):
                    term_sum = term_sum + (s - t).square().sum() / len(t) / len(term_pairs)
                else:
                    term_sum = term_sum + (1 - (s @ t) / (s.norm() * t.norm())) / len(term_pairs)
        expected_means.append(term_sum.item() / len(batch.targets))
        total = total + term.weight * term_sum / len(batch.targets)
    total.backward()
    assert loss == pytest.approx(total.item(), rel=1e-5)
    assert means == pytest.approx(expected_means, rel=1e-5)
    assert (width != 32) == any(name.startswith("matching.") for name in fast)
    for name, gradient in fast.items():
        expected = dict(reference.named_parameters())[name].grad
        assert (gradient - expected).norm() <= 1e-4 * expected.norm(), name


def test_terms_add_up_in_any_order_and_any_cut() -> None:
    """Hidden-state and token terms keep their places in the means, and micro-batches change nothing."""
    terms = (HiddenMSE(weight=0.5), CrossEntropy(), HiddenCosine(region="answer"), ForwardKL(weight=2.0))
    examples = random_examples(6)
    lengths = [len(example) for example in examples]

    def run(chosen: tuple[LossConfig, ...], max_batch_tokens: int) -> tuple[float, list[float]]:
        cut = micro_batches(range(len(examples)), lengths, max_batch_tokens)
        batches = [collate([examples[i] for i in micro]) for micro in cut]
        return accumulate(module_of(chosen, hidden=48), batches, device=CPU, dtype=torch.float32)[:2]

    loss, means = run(terms, 10_000)
    assert run(terms, 40)[1] == pytest.approx(means, rel=1e-5)
    alone = [run((term,), 10_000)[1][0] for term in terms]
    assert means == pytest.approx(alone, rel=1e-5)
    assert loss == pytest.approx(sum(term.weight * mean for term, mean in zip(terms, alone, strict=True)), rel=1e-5)


def test_layers_are_paired_by_depth() -> None:
    assert layer_pairs("uniform", 2, 6) == [(1, 3), (2, 6)]
    assert layer_pairs("last", 2, 6) == [(2, 6)]


@pytest.mark.parametrize(("layers", "message"), [([[3, 1]], "student has no layer 3"), ([[0, 4]], "teacher has no")])
def test_a_layer_that_does_not_exist_is_refused(layers: Any, message: str) -> None:
    terms = validated(TrainingConfig, settings(loss=[{"kind": "hidden_mse", "layers": layers}]), where="test").loss
    with pytest.raises(ConfigError, match=message):
        module_of(terms)


def settings(**changes: Any) -> dict[str, Any]:
    return {"signal": {"model": "builtin:nano-teacher"}, "loss": ["hidden_mse"]} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal": None}, "needs a teacher"),
        ({"signal": {"kind": "cache", "model": "builtin:nano-teacher"}}, "all layers"),
        ({"signal": {"model": "builtin:nano-teacher", "alignment": "byte_offset"}}, "same tokens"),
        ({"loss": [{"kind": "hidden_mse", "layers": [[-1, 2]]}]}, "layers"),
        ({"loss": [{"kind": "hidden_mse", "layers": []}]}, "layers"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validated(TrainingConfig, settings(**changes), where="test")


def test_a_killed_training_resumes_with_its_projection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The projection is trained, and a training killed behind its checkpoint ends in the same bits."""
    config = TrainingConfig(
        signal={"kind": "live", "model": "builtin:nano-teacher"},  # the tests' own teacher stands in for it below
        loss=(HiddenMSE(layers="last"),),
        epochs=2,
        batch_size=2,
        learning_rate=1e-2,
        checkpoint_every=2,
        dtype="float32",
    )
    made: list[DistillationLoss] = []

    class Kept(DistillationLoss):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(trainer, "DistillationLoss", Kept)

    def run(folder: Path) -> DistillationLoss:
        folder.mkdir(exist_ok=True)
        signal = LiveSignal(tiny_model(VOCAB, hidden=48, seed=2))
        train_student(tiny_model(VOCAB, seed=1), random_examples(6), config, signal=signal, seed=0, folder=folder)
        return made[-1]

    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "accumulate", killed_after(3, trainer.accumulate))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed")
    saved = load_file(tmp_path / "killed" / CHECKPOINT / "parameters-2.safetensors")
    assert "matching.projections.0.0.weight" in saved
    assert "lm_head.weight" in saved
    resumed = run(tmp_path / "killed")
    start = module_of((HiddenMSE(layers="last"),), hidden=48).matching.projections[0][0].weight
    assert not torch.equal(whole.matching.projections[0][0].weight, start)
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, dict(resumed.named_parameters())[name]), name
    assert not any("matching" in name for name in resumed.student.state_dict())


def killed_after(num_calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    left = iter(range(num_calls))

    def call(*arguments: Any, **settings: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*arguments, **settings)

    return call
