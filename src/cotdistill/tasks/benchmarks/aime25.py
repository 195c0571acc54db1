"""AIME I and II of 2025 (see ``_aime.py``)."""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark
from cotdistill.tasks.benchmarks._aime import integer


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    return {"id": f"aime25-{row['id']}", "question": row["problem"], "answer": integer(row["answer"])}


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="number",
    files={"test": "aime25/test.jsonl"},
    sizes={"test": 30},
    hub="math-ai/aime25",
    revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
    from_hub=_from_hub,
    from_file=None,
)
