"""MATH (arXiv 2103.03874): 7,500 training and 5,000 test problems from competitions in seven subjects, with solutions.

Answers are LaTeX, from the box in the human solution, and are compared as mathematics (see
``tasks/answers/mathematics.py``).
"""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.answers.typography import last_box
from cotdistill.tasks.benchmarks import Benchmark

SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    box = last_box(row["solution"])
    return {
        "id": f"math-{row['subtask']}-{split}-{index:04d}",
        "subtask": row["subtask"],
        "question": row["problem"],
        "answer": box[1] if box else None,
        "rationale": row["solution"],
        "meta": {"level": row["level"]},
    }


def _from_file(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a data folder names its subject as ``task``."""
    rationale = row.get("rationale") if row.get("format") == "human" else None
    columns = {name: row.get(name) for name in ("id", "question", "answer", "meta")}
    return columns | {"subtask": row.get("task"), "rationale": rationale}


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="math",
    files={"train": "math/math_train.jsonl.gz", "test": "math/math_test.jsonl.gz"},
    sizes={"train": 7500, "test": 5000},
    hub="EleutherAI/hendrycks_math",
    from_hub=_from_hub,
    from_file=_from_file,
    subtasks=SUBJECTS,
    num_subtasks=7,
)
