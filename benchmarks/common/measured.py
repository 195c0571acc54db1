"""What a side prints about itself, and how fast this machine multiplies matrices. Needs no package but torch."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Sequence


class Clock:
    """Seconds, and processor seconds of this process, since it was made."""

    def __init__(self) -> None:
        self.started = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.started[0], time.process_time() - self.started[1]


def print_side(took: tuple[float, float], num_tokens: int, losses: Sequence[float]) -> None:
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
