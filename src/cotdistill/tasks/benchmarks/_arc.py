"""ARC (arXiv 1803.05457): school science with three to five choices, in an easy and a challenge set."""

from __future__ import annotations

from typing import Any

from cotdistill.tasks.benchmarks import Benchmark


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    """Choices are labelled A to E or 1 to 5: the answer is the place of its label."""
    return {
        "id": f"arc-{row['id']}",
        "question": row["question"],
        "choices": row["choices"]["text"],
        "answer": chr(ord("A") + list(row["choices"]["label"]).index(row["answerKey"])),
    }


def arc(module: str, level: str, sizes: dict[str, int]) -> Benchmark:
    """The declaration of one of the two sets; ``level`` is its name on the hub, Challenge or Easy."""
    return Benchmark(
        module=module,
        answer_type="letter",
        files={split: f"arc/arc_{level.lower()}_{split}.jsonl.gz" for split in ("train", "test")},
        sizes=sizes,
        hub="allenai/ai2_arc",
        hub_config=f"ARC-{level}",
        from_hub=_from_hub,
    )
