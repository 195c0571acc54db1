"""GSM8K (arXiv 2110.14168): 7,473 training and 1,319 test school problems of several steps, with human solutions."""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark
from cotdistill.tasks.drafts import split_solution


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    """The hub's answer is the solution, with calculator annotations ``<<48/2=24>>``, and the number behind ``####``."""
    answer, solution = split_solution(row["answer"])
    return {
        "id": f"gsm8k-{split}-{index:05d}",
        "question": row["question"],
        "answer": answer,
        "rationale": solution,
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="number",
    files={"train": "gsm8k/gsm8k_train.jsonl.gz", "test": "gsm8k/gsm8k_test.jsonl.gz"},
    sizes={"train": 7473, "test": 1319},
    hub="openai/gsm8k",
    hub_config="main",
    from_hub=_from_hub,
)
