"""OpenBookQA (arXiv 1809.02789): elementary science with four choices; 4,957 training and 500 test questions."""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark

_REPEATED = (4092, 3514, 2665, 4558, 3536)
"""Exact repetitions of an earlier training question."""
_CONTRADICTORY = (246, 2697)
"""The same question and choices with different answers."""


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    return {
        "id": f"obqa-{split}-{index:05d}",
        "question": row["question_stem"],
        "choices": row["choices"]["text"],
        "answer": row["answerKey"].strip(),
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="letter",
    files={"train": "openbookqa/obqa_train.jsonl.gz", "test": "openbookqa/obqa_test.jsonl.gz"},
    sizes={"train": 4957, "test": 500},
    hub="allenai/openbookqa",
    hub_config="main",
    from_hub=_from_hub,
    faulty=frozenset(f"obqa-train-{number:05d}" for number in (*_REPEATED, *_CONTRADICTORY)),
)
