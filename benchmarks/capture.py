"""What it takes to keep a teacher's signal: rows (loss tokens) a second and bytes on disk, of each store.

    make bench-env && .venv-bench/bin/python benchmarks/capture.py --against loop --json

``loop`` is a plain forward loop over the same rows that keeps the likeliest tokens. Every time counts loading the
teacher. Needs the data folder ($COTDISTILL_DATA) and the extra smollm2.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from common.inputs import make_inputs
from common.interleave import arguments, in_turns, rounded

STORES = ("hidden", "topk", "sampled")


def main() -> None:
    options = arguments(__doc__ or "", peers=("loop",)).parse_args()
    sides = {store: ("capture_side.py", store) for store in (*STORES, *(["loop"] if options.against else []))}
    with tempfile.TemporaryDirectory() as name:
        inputs = make_inputs(
            Path(name), model=options.model, task=options.task, num_rows=options.rows, dtype=options.dtype, signal=False
        )
        found = in_turns(options, inputs.folder, sides)
    result: dict[str, Any] = {
        "model": options.model,
        "rows": inputs.num_rows,
        "tokens": inputs.num_tokens,
        "loss_tokens": inputs.num_loss_tokens,
        "repeats": options.repeats,
        "dtype": options.dtype,
        "ours": {store: rounded(found[store]) for store in STORES},
    }
    if options.against:
        result["theirs"] = rounded(found["loop"])
        for name, key in (("ratio_speed", "rows_per_second"), ("ratio_memory", "peak_memory_mb")):
            result[name] = {store: round(found[store][key] / found["loop"][key], 3) for store in STORES}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
