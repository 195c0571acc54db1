"""ARC's challenge set (arXiv 1803.05457): 1,119 training and 1,172 test questions."""

from __future__ import annotations

from cotdistill.tasks.benchmarks._arc import arc

BENCHMARK = arc(__name__, "Challenge", {"train": 1119, "test": 1172})
