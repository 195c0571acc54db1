"""Learning rates: a linear warm-up, then constant, linear or cosine decay to zero."""

from __future__ import annotations

import math

from cotdistill.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int, num_steps: int) -> float:
    """The rate of step ``step`` (from 0) of ``num_steps``; the last step still has a rate above zero."""
    warmup = round(config.warmup_share * num_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, num_steps - warmup)
    decay = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}
    return config.learning_rate * decay[config.schedule]
