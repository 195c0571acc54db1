"""The training benchmarks run, on a model that is small enough, and print the line that they promise. No timings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = ["--model", "builtin:nano-student", "--task", "procedural", "--rows", "8", "--repeats", "1", "--json"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "kinds"),
    [
        pytest.param("sft_step", {"sft"}, marks=pytest.mark.full),
        ("kd_step", {"kd_captured", "kd_live"}),
        pytest.param("capture", {"hidden", "topk", "sampled"}, marks=pytest.mark.full),
    ],
)
def test_a_benchmark_prints_one_line_of_json(script: str, kinds: set[str]) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *SMALL]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(printed) == 1
    found = json.loads(printed[0])
    assert set(found["ours"]) == kinds
    assert found["rows"] == 8
    for side in found["ours"].values():
        assert side["seconds"] > 0
        assert side["peak_memory_mb"] > 0
    if script == "kd_step":  # a captured signal is the live teacher
        losses = [found["ours"][kind]["loss"] for kind in kinds]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.slow
@pytest.mark.full
def test_samples_are_drawn_beside_trl() -> None:
    pytest.importorskip("trl")
    command = [sys.executable, str(BENCHMARKS / "on_policy.py"), *SMALL, "--against", "trl", "--new-tokens", "8"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert {"generation", "scoring", "step"} == set(found["ratio_by_part"])
    assert all(found[side]["tokens"] > 8 * 8 for side in ("ours", "theirs"))


@pytest.mark.slow
def test_the_loss_needs_as_much_memory_at_three_times_the_vocabulary() -> None:
    command = [sys.executable, str(BENCHMARKS / "memory.py"), "--json", "--hidden", "16", "--tokens", "700"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["growth_vocabulary"]["700"] < 0.1
