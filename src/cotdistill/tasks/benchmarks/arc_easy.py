"""ARC's easy set (arXiv 1803.05457): 2,251 training and 2,376 test questions."""

from __future__ import annotations

from cotdistill.tasks.benchmarks._arc import arc

BENCHMARK = arc(__name__, "Easy", {"train": 2251, "test": 2376})
