"""MATH-500: the 500 test problems of MATH that Lightman et al. (arXiv 2305.20050) kept out of training. For testing
only.

Answers are LaTeX and compared as mathematics. Thinking models are usually sampled (at 0.6 or 1.0) and reported as the
mean over the samples, ``avg@k``.
"""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    return {
        "id": f"math500-{row['unique_id']}",
        "subtask": row["subject"].lower().replace("&", "and").replace(" ", "_"),
        "question": row["problem"],
        "answer": row["answer"],
        "rationale": row["solution"],
        "meta": {"level": row["level"]},
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="math",
    files={"test": "MATH-500/test.jsonl"},
    sizes={"test": 500},
    hub="HuggingFaceH4/MATH-500",
    revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
    from_hub=_from_hub,
    from_file=None,
    num_subtasks=7,
)
