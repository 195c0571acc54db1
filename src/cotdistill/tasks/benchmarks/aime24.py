"""AIME I and II of 2024 (see ``_aime.py``), with solutions."""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark
from cotdistill.tasks.benchmarks._aime import integer


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    return {
        "id": f"aime24-{row['ID']}",
        "question": row["Problem"],
        "answer": integer(row["Answer"]),
        "rationale": row["Solution"],
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="number",
    files={"test": "AIME_2024/aime_2024_problems.parquet"},
    sizes={"test": 30},
    hub="Maxwell-Jia/AIME_2024",
    hub_splits={"test": "train"},
    revision="8d88b2876a82a080e2f172cc9b25d0d9d2cb4792",
    from_hub=_from_hub,
    from_file=None,
)
