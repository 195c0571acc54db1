"""What a side prints about itself, and how fast this machine multiplies matrices. Needs no package but torch."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any


class Clock:
    """Seconds, and processor seconds of this process, since it was made."""

    def __init__(self) -> None:
        self.started = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.started[0], time.process_time() - self.started[1]


class Parts:
    """Seconds and calls of some methods, watched from outside."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def watch(self, owner: Any, name: str, part: str, *, when: Callable[..., bool] = lambda *_: True) -> None:
        """Count the seconds of ``owner``'s method as those of ``part``, for calls whose arguments ``when`` is true."""
        method = getattr(owner, name)
        self.seconds[part] = 0.0

        @wraps(method)
        def timed(*arguments: Any, **settings: Any) -> Any:
            started = time.perf_counter()
            found = method(*arguments, **settings)
            if when(*arguments):
                self.seconds[part] += time.perf_counter() - started
            return found

        setattr(owner, name, timed)

    def read(self, seconds: float) -> dict[str, float]:
        """``PART_seconds`` of each part, and ``step_seconds``, what is left of ``seconds``."""
        step = seconds - sum(self.seconds.values())
        return {f"{part}_seconds": value for part, value in (self.seconds | {"step": step}).items()}


def print_side(took: tuple[float, float], num_tokens: int, losses: Sequence[float], **more: float) -> None:
    """One JSON line, the last of the process; ``took`` is what a :class:`Clock` said of the training alone. Peak memory
    is the process's own, in megabytes."""
    seconds, processor_seconds = took
    row = {
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "tokens_per_second": num_tokens / seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "loss": sum(losses) / len(losses),
        "first_loss": losses[0],
        "tokens": num_tokens,
        **more,
    }
    print(json.dumps(row))


def matrix_rate(dtype: str, size: int = 2048) -> float:
    """Floating-point operations a second of a product of two square matrices: the best of five."""
    import torch

    a, b = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(6):  # the first one only warms up
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
