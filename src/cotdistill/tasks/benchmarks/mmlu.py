"""MMLU (arXiv 2009.03300): 14,042 test questions with four choices; its 57 subjects are subtasks. For testing only."""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    """The hub's answer is the index of the right choice."""
    return {
        "id": f"mmlu-{index:05d}",
        "subtask": row["subject"],
        "question": row["question"],
        "choices": row["choices"],
        "answer": chr(ord("A") + row["answer"]),
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="letter",
    files={"test": "mmlu/mmlu_test.jsonl.gz"},
    sizes={"test": 14042},
    hub="cais/mmlu",
    hub_config="all",
    from_hub=_from_hub,
    from_file=dict,
    num_subtasks=57,
)
