"""GSM-Hard (arXiv 2211.10435): the 1,319 test questions of GSM8K with larger numbers. For testing only.

As in the paper's script, an answer is right if it is less than 0.001 from the target, which a program computed in
floats.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cotdistill.tasks.benchmarks import Benchmark

TOLERANCE = 1e-3


def _from_hub(row: dict[str, Any], split: str, index: int) -> dict[str, Any]:
    return {
        "id": f"gsm-hard-{index:04d}",
        "question": row["input"],
        "answer": f"{Decimal(repr(row['target'])):f}",
        "meta": {"tolerance": TOLERANCE},
    }


BENCHMARK = Benchmark(
    module=__name__,
    answer_type="number",
    files={"test": "gsm-hard/gsmhardv2.jsonl"},
    sizes={"test": 1319},
    hub="reasoning-machines/gsm-hard",
    hub_splits={"test": "train"},
    from_hub=_from_hub,
    from_file=None,
)
