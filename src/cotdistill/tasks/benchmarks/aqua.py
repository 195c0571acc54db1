"""AQuA-RAT (arXiv 1705.04146): algebra in words with five choices; 97,467 training and 254 test questions.

A data folder has no training questions; the 254 of the development split stand in for them.
"""

from __future__ import annotations

import re
from typing import Any

from cotdistill.tasks.benchmarks import Benchmark

_LABEL = re.compile(r"^\s*[A-E]\s*\)\s*")


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    """The hub's options are "A)21", "B)21.5"; its rationales often close with the answer in words of their own."""
    return {
        "id": f"aqua-{split}-{index:05d}",
        "question": row["question"],
        "choices": [_LABEL.sub("", option).strip() for option in row["options"]],
        "answer": row["correct"],
        "rationale": row["rationale"],
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="letter",
    files={"train": "aqua/aqua_dev.jsonl.gz", "test": "aqua/aqua_test.jsonl.gz"},
    sizes={"train": 6100, "test": 254},
    hub="deepmind/aqua_rat",
    hub_config="raw",
    from_hub=_from_hub,
)
