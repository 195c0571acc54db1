"""Train, capture and generate with tiny models of every family beside a plain reference, and count the results.

The sweep lies in the folder shared/ beside the checkout; without it nothing runs, which is said. Differences that are
known stand in the tracker, so the counts are reported and do not fail; a sweep that ends early does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SWEEP = ROOT.parent / "shared" / "cases" / "families" / "sweep.py"

HOMES = {
    "models.loading": "models.load.loading",
    "models.generation": "models.generate.generation",
    "models.shared_prefix": "models.generate.abilities",
    "models.beams": "models.generate.beams",
    "training.trainer": "training.loop",
}
"""Where the modules are that the sweep asks for by the names that they had when it was written."""
# The reference takes a folder's tokenizer.json as it is, too; AutoTokenizer would give some families another one.
RUN = f"""
import importlib, runpy, sys
for old, new in {HOMES}.items():
    module = importlib.import_module("cotdistill." + new)
    sys.modules["cotdistill." + old] = module
    package, _, name = old.rpartition(".")
    setattr(importlib.import_module("cotdistill." + package), name, module)
import transformers
transformers.AutoTokenizer.from_pretrained = transformers.PreTrainedTokenizerFast.from_pretrained
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def main() -> None:
    if not SWEEP.is_file():
        print(f"skipped: no {SWEEP}")
        return
    record = ROOT / "build" / "families.jsonl"
    record.parent.mkdir(exist_ok=True)
    counts, families = Counter[str](), set[str]()
    with (
        record.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            [sys.executable, "-c", RUN, SWEEP, *sys.argv[1:]],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": "src:."}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        ) as sweep,
    ):  # fmt: skip
        assert sweep.stdout is not None
        for line in sweep.stdout:
            file.write(line)
            family, feature, result, detail, _ = json.loads(line)
            families.add(family)
            counts[result] += 1
            if result != "ok":
                print(f"{family} {feature}: {result} {str(detail)[:160]}", flush=True)
    if sweep.returncode or not counts:
        sys.exit(f"{SWEEP}: exit status {sweep.returncode} after {len(families)} families")
    print(f"{len(families)} families: " + ", ".join(f"{number} {result}" for result, number in counts.most_common()))


if __name__ == "__main__":
    main()
