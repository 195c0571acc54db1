"""Learning rates beside transformers' own schedules, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch.optim.lr_scheduler import LambdaLR
from transformers.optimization import (
    get_constant_schedule_with_warmup,
    get_cosine_with_min_lr_schedule_with_warmup,
    get_linear_schedule_with_warmup,
    get_wsd_schedule,
)

from cotdistill.config import TrainingConfig
from cotdistill.training.schedules import learning_rate

PEAK = 3e-4


def rates(num_steps: int, **settings: object) -> list[float]:
    config = TrainingConfig.model_validate({"learning_rate": PEAK, **settings})
    return [learning_rate(config, step, num_steps) for step in range(num_steps)]


def reference(num_steps: int, make: Callable[[torch.optim.Optimizer], LambdaLR]) -> list[float]:
    """The rates of transformers, whose first step has rate 0: ours begin at its second."""
    optimizer = torch.optim.SGD([torch.zeros(1, dtype=torch.float64)], lr=PEAK)
    schedule, found = make(optimizer), []
    for _ in range(num_steps):
        optimizer.step()
        schedule.step()
        found.append(schedule.get_last_lr()[0])
    return found


@pytest.mark.parametrize(("num_steps", "warmup_share"), [(1, 0.0), (7, 0.3), (100, 0.05), (1000, 0.0)])
def test_rates_are_those_of_transformers(num_steps: int, warmup_share: float) -> None:
    warmup, later, shared = round(warmup_share * num_steps) + 1, num_steps + 1, {"warmup_share": warmup_share}
    pairs = [
        ("cosine", lambda made: get_cosine_with_min_lr_schedule_with_warmup(made, warmup, later, min_lr_rate=0.1), 0.1),
        ("cosine", lambda made: get_cosine_with_min_lr_schedule_with_warmup(made, warmup, later, min_lr_rate=0.0), 0.0),
        ("linear", lambda made: get_linear_schedule_with_warmup(made, warmup, later), 0.0),
        ("constant", lambda made: get_constant_schedule_with_warmup(made, warmup), 0.0),
    ]
    for schedule, make, lowest in pairs:
        ours = rates(num_steps, schedule=schedule, min_rate_share=lowest, **shared)
        assert ours == pytest.approx(reference(num_steps, make), rel=1e-12), (schedule, lowest)


@pytest.mark.parametrize(("warmup_share", "decay_share"), [(0.1, 0.2), (0.0, 1.0), (0.25, 0.75), (0.0, 0.01)])
@pytest.mark.parametrize("lowest", [0.0, 0.1])
def test_warm_up_stable_decay_is_that_of_transformers(warmup_share: float, decay_share: float, lowest: float) -> None:
    ours = rates(
        60,
        schedule="warmup_stable_decay",
        warmup_share=warmup_share,
        decay_share=decay_share,
        min_rate_share=lowest,
    )
    warmup, decay = round(60 * warmup_share), round(60 * decay_share)
    expected = reference(
        60,
        lambda made: get_wsd_schedule(
            made, warmup + 1, decay, num_training_steps=61, decay_type="linear", min_lr_ratio=lowest
        ),
    )
    assert ours[warmup:] == pytest.approx(expected[warmup:], rel=1e-12)
    if not lowest:  # theirs warms up from the minimum, ours from nothing
        assert ours == pytest.approx(expected, rel=1e-12)


def test_phases_longer_than_the_training_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"warmup_share 0\.5 and decay_share 0\.6 are more than the training"):
        TrainingConfig(schedule="warmup_stable_decay", warmup_share=0.5, decay_share=0.6)
