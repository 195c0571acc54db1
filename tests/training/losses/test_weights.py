"""Token weights along a response, against the plain sum over each example in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.tiny import tiny_model
from tests.training.test_step import VOCAB, random_examples

from cotdistill.config import CrossEntropy, ForwardKL, LossConfig, PositionWeights, TrainingConfig, identity, validated
from cotdistill.errors import ConfigError
from cotdistill.models.forward.attention import computing_attention_with
from cotdistill.models.forward.packed_attention import NAME
from cotdistill.tasks.segments import REGIONS, Region
from cotdistill.training.data.batches import Layout, collate
from cotdistill.training.data.examples import Example
from cotdistill.training.losses.weights import token_weights
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.step import DistillationLoss, accumulate

FIRST = PositionWeights(first_share=0.3)
FALLING = PositionWeights(end=0.0)
BOTH = PositionWeights(first_share=0.5, start=2.0, end=1.0)
TERMS: tuple[LossConfig, ...] = (
    CrossEntropy(region="rationale", positions=FIRST),
    ForwardKL(weight=0.5, temperature=2.0, positions=FALLING),
    CrossEntropy(weight=2.0, region="answer"),
    ForwardKL(region="rationale", positions=BOTH),
)


def weights_of(positions: PositionWeights | None, count: int) -> list[float]:
    """The definition, with whole numbers: the first share of ``count`` tokens, rounded up, from start to end."""
    if positions is None:
        return [1.0] * count
    kept = math.ceil(round(positions.first_share * 1000) * count / 1000)
    step = (positions.end - positions.start) / max(1, kept - 1)
    return [positions.start + step * place for place in range(kept)] + [0.0] * (count - kept)


def plain_loss(examples: list[Example], student: Any, teacher: Any) -> float:
    """Example by example and token by token, without batches."""
    total, num_tokens = 0.0, 0
    for example in examples:
        tokens = torch.tensor([example.input_ids])
        with torch.no_grad():
            logits, theirs = student(tokens).logits[0], teacher(tokens).logits[0]
        num_tokens += example.num_loss_tokens
        for term in TERMS:
            places = [i for i, region in enumerate(example.regions) if region in REGIONS[term.region]]
            for place, weight in zip(places, weights_of(term.positions, len(places)), strict=True):
                if isinstance(term, CrossEntropy):
                    loss = -F.log_softmax(logits[place], -1)[example.targets[place]]
                else:
                    assert isinstance(term, ForwardKL)
                    t = term.temperature
                    q, p = (F.log_softmax(each[place] / t, -1) for each in (logits, theirs))
                    loss = t * t * (p.exp() * (p - q)).sum()
                total += term.weight * weight * loss.item()
    return total / num_tokens


@pytest.mark.parametrize("layout", ["padded", "packed", "shared"])
@pytest.mark.parametrize("cut", [[8], [3, 5], [1] * 8], ids=str)
def test_the_weighted_loss_is_the_plain_sum_in_every_layout_and_cut(layout: Layout, cut: list[int]) -> None:
    examples = random_examples(8)
    models = [tiny_model(VOCAB, seed=1), tiny_model(VOCAB, hidden=48, layers=1, seed=2)]
    expected = plain_loss(examples, *(model.double() for model in models))
    student, teacher = (model.float() for model in models)
    starts = [sum(cut[:number]) for number in range(len(cut))]
    batches = [collate(examples[start : start + size], layout) for start, size in zip(starts, cut, strict=True)]
    module = DistillationLoss(student, TERMS, LiveSignal(teacher))
    if layout == "padded":
        loss, _, _ = accumulate(module, batches, device=torch.device("cpu"), dtype=torch.float32)
    else:
        with computing_attention_with(NAME, student, teacher):
            loss, _, _ = accumulate(module, batches, device=torch.device("cpu"), dtype=torch.float32)
    assert loss == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 10, 33, 1000])
@pytest.mark.parametrize("positions", [None, FIRST, FALLING, BOTH, PositionWeights(first_share=0.1, start=0.0)])
def test_weights_are_counted_within_each_example(positions: PositionWeights | None, count: int) -> None:
    """The rationale's tokens between others, in the middle of two more examples."""
    own = [Region.RATIONALE] * count + [Region.ANSWER, Region.END]
    neighbour = [Region.RATIONALE] * 5 + [Region.END]
    regions = torch.tensor([*neighbour, *own, *neighbour])
    owners = torch.tensor([0] * 6 + [1] * len(own) + [3] * 6)  # one example has no loss tokens
    (found,) = token_weights([CrossEntropy(region="rationale", positions=positions)], regions, owners)
    expected = weights_of(positions, count)
    assert found[6 : 6 + len(own)].tolist() == pytest.approx([*expected, 0.0, 0.0])
    assert found[:6].tolist() == found[-6:].tolist() == pytest.approx([*weights_of(positions, 5), 0.0])


def test_where_no_positions_are_set_a_training_keeps_its_identity() -> None:
    assert "positions" not in str(identity(TrainingConfig(loss=(CrossEntropy(region="answer"),))))
    one, other = (TrainingConfig(loss=(CrossEntropy(positions=each),)) for each in (FIRST, FALLING))
    assert identity(one) != identity(other)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ({"start": 0, "end": 0}, "no token carries the loss"),
        ({"first_share": 0}, "greater than 0"),
        ({"last": 1}, "last"),
    ],
)
def test_weights_that_make_no_sense_are_refused(positions: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validated(TrainingConfig, {"loss": {"kind": "cross_entropy", "positions": positions}}, where="training")
