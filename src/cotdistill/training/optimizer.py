"""The optimizer: AdamW, with moments in float32 or, to save memory, in 8 bits."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import torch

from cotdistill.config import Optimizer, TrainingConfig
from cotdistill.errors import ModelError


def make_optimizer(parameters: Iterable[torch.nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW over ``parameters``; the rate of each step is set by the loop."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(list(parameters), weight_decay=config.weight_decay, fused=True)
    from bitsandbytes.optim import AdamW8bit  # pyright: ignore[reportMissingImports]

    optimizer = AdamW8bit(list(parameters), weight_decay=config.weight_decay)
    optimizer.register_step_pre_hook(_count_steps_in_numbers)
    return optimizer


def check_optimizer(optimizer: Optimizer) -> None:
    """Raise ModelError for an optimizer that this machine does not have."""
    if optimizer == "adamw":
        return
    missing = [] if torch.cuda.is_available() else ["a CUDA device"]
    if importlib.util.find_spec("bitsandbytes") is None:
        missing.append("the package bitsandbytes (pip install bitsandbytes)")
    if missing:
        problem = f"{optimizer} needs {' and '.join(missing)}"
        raise ModelError(problem, where="training.optimizer", remedy="set it to adamw")


def _count_steps_in_numbers(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """A checkpoint gives the count of steps back as a tensor, which bitsandbytes does not take."""
    for state in optimizer.state.values():
        state["step"] = int(state["step"])
