"""GPQA diamond (arXiv 2311.12022): 198 questions of graduate physics, chemistry and biology with four choices. For
testing.

The data set is gated and asks that no question be shown in public. Its first choice is the right one, so choices are
put in an order that follows from ``task.choice_seed`` and the question's id; the seed is kept in each question's
``meta``.
"""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    wrong = [row[f"Incorrect Answer {number}"] for number in (1, 2, 3)]
    return {
        "id": f"gpqa-{row['Record ID']}",
        "subtask": row["High-level domain"].lower(),
        "question": row["Question"],
        "choices": [choice.strip() for choice in (row["Correct Answer"], *wrong)],
        "answer": "A",
        "meta": {"subdomain": row["Subdomain"]},
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="letter",
    files={"test": "gpqa/gpqa_diamond.csv"},
    sizes={"test": 198},
    hub="Idavidrein/gpqa",
    hub_config="gpqa_diamond",
    hub_splits={"test": "train"},
    revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
    from_hub=_from_hub,
    from_file=None,
    shuffled=True,
    num_subtasks=3,
)
