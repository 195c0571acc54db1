"""On-policy distillation by reverse KL: our trainer beside TRL's DistillationTrainer.

    make bench-env && .venv-bench/bin/python benchmarks/on_policy.py --against trl --json

The student writes a response to each prompt, at temperature 1 and at most ``--new-tokens`` long, and every step trains
on them, scored by a live teacher. Both sides have the same weights, prompts, steps of eight and learning rate, and draw
their own samples; so tokens (of prompts and samples, without padding) are each side's own, and speeds are compared, not
seconds. ``generation`` and ``scoring`` are the seconds of the samples and of the teacher's body; ``step`` is the rest.
Needs the data folder ($COTDISTILL_DATA) and the extra smollm2.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from common.inputs import make_inputs
from common.interleave import arguments, in_turns, rounded

PER_TOKEN = ("generation", "scoring", "step")


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--new-tokens", type=int, default=96, help="the longest sample")
    options = parser.parse_args()
    os.environ["NEW_TOKENS"] = str(options.new_tokens)
    sides = {"ours": ("our_side.py", "on_policy")}
    if options.against:
        sides["theirs"] = ("trl_side.py", "on_policy")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(
            folder, model=options.model, task=options.task, num_rows=options.rows, dtype=options.dtype, signal=False
        )
        found = in_turns(options, folder, sides)
    result = {
        "model": options.model,
        "rows": options.rows,
        "new_tokens": options.new_tokens,
        "repeats": options.repeats,
        "dtype": options.dtype,
        **{side: rounded(values) for side, values in found.items()},
    }
    if options.against:
        ours, theirs = found["ours"], found["theirs"]
        result["ratio_speed"] = round(ours["tokens_per_second"] / theirs["tokens_per_second"], 3)
        result["ratio_memory"] = round(ours["peak_memory_mb"] / theirs["peak_memory_mb"], 3)
        each = {part: [side[f"{part}_seconds"] / side["tokens"] for side in (theirs, ours)] for part in PER_TOKEN}
        result["ratio_by_part"] = {part: round(theirs / ours, 3) for part, (theirs, ours) in each.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
