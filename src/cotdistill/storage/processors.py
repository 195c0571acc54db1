"""How many processors this process may use."""

from __future__ import annotations

import os


def num_available() -> int:
    """Those that the system lets this process run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_processors(shares: int = 1) -> int:
    """One of so many ``shares`` of the machine's; what the user says by OMP_NUM_THREADS takes precedence."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # a list has one number for each level of nesting
    return int(wanted) if wanted.isdecimal() and 0 < int(wanted) <= 1024 else max(1, num_available() // shares)
