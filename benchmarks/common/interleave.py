"""Runs the sides of a training benchmark in turns, each in a process of its own, and compares their medians."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.inputs import Inputs, make_inputs
from common.measured import matrix_rate

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parents[1] / ".venv-bench" / "bin" / "python"

Side = dict[str, float]


def arguments(description: str, peers: Sequence[str] = ("trl",)) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=peers, help="what to measure beside it, in turns")
    parser.add_argument("--model", default="builtin:smollm2-135m", help="teacher and student")
    parser.add_argument("--task", choices=("svamp", "procedural"), default="svamp", help="where the rows come from")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of matrix products")
    parser.add_argument("--json", action="store_true", help="the one line of JSON alone, not each measurement")
    return parser


def compare(options: argparse.Namespace, kinds: dict[str, str]) -> None:
    """Measure each of our ``kinds`` and the peer's trainer that stands beside it, and print what was found."""
    with tempfile.TemporaryDirectory() as name:
        inputs = make_inputs(
            Path(name),
            model=options.model,
            task=options.task,
            num_rows=options.rows,
            dtype=options.dtype,
            signal="kd_captured" in kinds,
        )
        sides = {kind: ("our_side.py", kind) for kind in kinds}
        if options.against:
            sides |= {kind: ("trl_side.py", kind.removeprefix("trl_")) for kind in kinds.values()}
        found = in_turns(options, inputs.folder, sides)
    _print_result(options, inputs, found, kinds)


def in_turns(options: argparse.Namespace, folder: Path, sides: dict[str, tuple[str, str]]) -> dict[str, Side]:
    """Medians of each side over the repeats; a side is a script of this folder and its first argument."""
    runs: dict[str, list[Side]] = {side: [] for side in sides}
    for repeat in range(options.repeats):
        for side, (script, kind) in sides.items():
            runs[side].append(_measure(script, kind, folder, options.dtype))
            if not options.json:
                print(f"repeat {repeat + 1}, {side}: {rounded(runs[side][-1])}", file=sys.stderr, flush=True)
    return {
        side: {name: statistics.median(run[name] for run in found) for name in found[0]} for side, found in runs.items()
    }


def rounded(side: Side) -> Side:
    return {name: float(f"{value:.5g}") for name, value in side.items()}


def _measure(script: str, kind: str, folder: Path, dtype: str) -> Side:
    python = _their_python() if script == "trl_side.py" else Path(sys.executable)
    done = subprocess.run(
        [str(python), str(HERE / script), kind, str(folder), dtype],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        killed = " (killed, most likely for want of memory)" if done.returncode < 0 else ""
        sys.exit(f"{script} {kind} ended with {done.returncode}{killed}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _their_python() -> Path:
    if importlib.util.find_spec("trl"):
        return Path(sys.executable)
    if ENVIRONMENT.is_file():
        return ENVIRONMENT
    return sys.exit("trl is not installed here; run make bench-env first")


def _print_result(options: argparse.Namespace, inputs: Inputs, sides: dict[str, Side], kinds: dict[str, str]) -> None:
    """Keys of the JSON line: ours, theirs, ratio_speed, ratio_memory (ours over theirs), loss_difference, and more."""
    rate = matrix_rate(options.dtype)
    for side in sides.values():
        side["share_of_matrix_rate"] = inputs.useful_operations / side["seconds"] / rate
    result: dict[str, Any] = {
        "model": options.model,
        "rows": inputs.num_rows,
        "tokens": inputs.num_tokens,
        "loss_tokens": inputs.num_loss_tokens,
        "repeats": options.repeats,
        "dtype": options.dtype,
        "matrix_gflops": round(rate / 1e9, 1),
        "ours": {kind: rounded(sides[kind]) for kind in kinds},
    }
    if options.against:
        pairs = {kind: (sides[kind], sides[other]) for kind, other in kinds.items()}
        result["theirs"] = {kind: rounded(theirs) for kind, (_, theirs) in pairs.items()}
        for name, key in (("ratio_speed", "tokens_per_second"), ("ratio_memory", "peak_memory_mb")):
            result[name] = {kind: round(ours[key] / theirs[key], 3) for kind, (ours, theirs) in pairs.items()}
        result["loss_difference"] = {
            kind: float(f"{ours['loss'] - theirs['loss']:.2e}") for kind, (ours, theirs) in pairs.items()
        }
    print(json.dumps(result))
