"""How long `cotdistill plan` takes for an experiment of many cells, start-up included, and whether it loads torch.

    .venv/bin/python benchmarks/plan.py --json

The experiment is made on the spot: six granularities by five students by seeds. Each measurement is a process of its
own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXPERIMENT = """
task: procedural
teacher: procedural
arms: {base: {training: null}, answers: {teacher: answer_only}, levels: {}}
grid:
  student: {a: some/model-0.5B, b: some/model-1B, c: some/model-1.5B, d: some/model-3B, e: some/model-7B}
  annotation.granularity: [1, 2, 3, 4, 5, 6]
  seed: SEEDS
comparisons: [{a: {annotation.granularity: 3}, b: base}, {a: {annotation.granularity: 3}, b: answers}]
"""
PLAN = """
import sys
from cotdistill.cli import app
app(["plan", sys.argv[1], "--runs", sys.argv[2], "--json"], standalone_mode=False)
print("torch" in sys.modules, file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=29, help="29 make 1,020 cells")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="the default: one JSON line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "experiment.yaml"
        file.write_text(EXPERIMENT.replace("SEEDS", str(list(range(options.seeds)))), encoding="utf-8")
        outcomes = [_timed(file) for _ in range(options.repeats)]
    times, done = [seconds for seconds, _ in outcomes], outcomes[-1][1]
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "cells": len(json.loads(done.stdout)["cells"]),
        "seconds": round(statistics.median(times), 3),
        "fastest": round(min(times), 3),
        "processor_seconds": round((usage.ru_utime + usage.ru_stime) / options.repeats, 3),
        "repeats": options.repeats,
        "loads_torch": done.stderr.split()[-1] == "True",
    }
    print(json.dumps(found))


def _timed(file: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    started = time.perf_counter()
    command = [sys.executable, "-c", PLAN, str(file), str(file.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, done


if __name__ == "__main__":
    main()
