"""SVAMP (arXiv 2103.07191): 700 training and 300 test word problems of one or two steps, answered by a number."""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    return {
        "id": f"svamp-{row['ID']}",
        "question": f"{row['Body'].strip()} {row['Question'].strip()}",
        "answer": str(row["Answer"]),
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="number",
    files={"train": "svamp/svamp_train.jsonl.gz", "test": "svamp/svamp_test.jsonl.gz"},
    sizes={"train": 700, "test": 300},
    hub="ChilleD/SVAMP",
    from_hub=_from_hub,
)
