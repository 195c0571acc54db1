"""Learning rates: a linear warm-up, then a constant rate or a decay to a share of the peak.

The warm-up of ``w`` steps takes ``1 / (w + 1)`` more of the peak each step, so that no step has rate 0. From its end on
the rates are those of transformers' schedules with one step more of warm-up, one step later.
"""

from __future__ import annotations

import math

from cotdistill.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int, num_steps: int) -> float:
    """The rate of step ``step`` (from 0) of ``num_steps``; the last step still has a rate above the minimum."""
    warmup = round(config.warmup_share * num_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    lowest = config.min_rate_share
    return config.learning_rate * (lowest + (1.0 - lowest) * _decay(config, step, warmup, num_steps))


def _decay(config: TrainingConfig, step: int, warmup: int, num_steps: int) -> float:
    """What is left of the way from the peak to the minimum, from 1 to 0."""
    begin = warmup
    if config.schedule == "warmup_stable_decay":
        begin = max(warmup, num_steps - round(config.decay_share * num_steps))
    done = max(0, step - begin) / max(1, num_steps - begin)
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1.0 - done
