"""CommonsenseQA (arXiv 1811.00937): common sense with five choices; 9,741 training questions.

The 1,221 questions of the development split are the test, as in the papers: the test split's answers were not released.
"""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    return {
        "id": f"csqa-{row['id']}",
        "question": row["question"],
        "choices": row["choices"]["text"],
        "answer": row["answerKey"],
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="letter",
    files={"train": "commonsenseqa/csqa_train.jsonl.gz", "test": "commonsenseqa/csqa_dev.jsonl.gz"},
    sizes={"train": 9741, "test": 1221},
    hub="tau/commonsense_qa",
    hub_splits={"train": "train", "test": "validation"},
    from_hub=_from_hub,
)
