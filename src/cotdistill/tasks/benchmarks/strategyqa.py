"""StrategyQA (arXiv 2101.02235): true or false by steps that the question hides; 2,061 training and 229 test questions.

The test questions are the development split of the authors' repository. The hub's copy is split differently.
"""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    """The facts that lead to the answer are the human rationale."""
    return {
        "id": f"strategyqa-{row['qid']}",
        "question": row["question"],
        "answer": "True" if row["answer"] else "False",
        "rationale": row["facts"],
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="true_false",
    files={"train": "strategyqa/strategyqa_train.jsonl.gz", "test": "strategyqa/strategyqa_dev.jsonl.gz"},
    sizes={"train": 2061, "test": 229},
    hub="ChilleD/StrategyQA",
    from_hub=_from_hub,
)
