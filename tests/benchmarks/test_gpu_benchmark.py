"""The GPU benchmark runs to its end on a CPU, and whatever it does not measure has a line that says why."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu")


def run(out: Path, minutes: float) -> list[dict[str, Any]]:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(out), "--device", "cpu", "--tiny"]
    done = subprocess.run([*command, "--minutes", str(minutes)], capture_output=True, text=True, check=True)
    assert "tests marked gpu: " in done.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


def results(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """By part, case and side; each has one line."""
    found = [row for row in rows if row["kind"] == "result"]
    by_unit = {(row["part"], row["case"], row["side"]): row for row in found}
    assert len(by_unit) == len(found)
    return by_unit


def planned(gpu: Any) -> set[tuple[str, str, str]]:
    return {(part.name, *unit) for part in gpu.parts(tiny=True) for unit in part.units}


@pytest.mark.slow
@pytest.mark.full  # make gpu-tiny runs the same each time
def test_it_runs_to_its_end(gpu: Any, tmp_path: Path) -> None:
    rows = run(tmp_path / "out.jsonl", minutes=10)
    machine, tests = rows[:2]
    assert machine["kind"] == "machine"
    assert {"device", "commit", "date"} <= machine.keys()
    assert {"torch", "transformers", "triton"} <= machine["versions"].keys()
    assert (tests["kind"], tests["status"], tests["failed"]) == ("tests", "done", [])
    assert tests["passed"] > 30
    found = results(rows)
    assert found.keys() == planned(gpu)
    for (part, _, side), row in found.items():
        if row["status"] == "done":
            assert row["tokens_per_second"] > 0
        else:
            assert row["status"] == "skipped", row["reason"]
            assert row["reason"]
            assert side.startswith(("liger", "trl")), f"{part}: {side} is ours and runs anywhere: {row['reason']}"
    for case in {case for part, case, _ in found if part == "step tiny"}:
        of_case = {side: row for (part, at, side), row in found.items() if (part, at) == ("step tiny", case)}
        measured = {side: row for side, row in of_case.items() if row["status"] == "done" and "topk" not in side}
        for side, row in measured.items():  # no weight moves, so all that compute the same must find the same
            ours = measured["ours sft" if "sft" in side else "ours kd live"]
            assert row["loss"] == pytest.approx(ours["loss"], rel=2e-3), side
            assert row["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=2e-2), side


def test_what_there_is_no_time_for_is_named(gpu: Any, tmp_path: Path) -> None:
    rows = run(tmp_path / "out.jsonl", minutes=0.001)
    tests = next(row for row in rows if row["kind"] == "tests")
    assert (tests["status"], tests["reason"]) == ("failed", "the time was up")
    found = results(rows)
    assert found.keys() == planned(gpu)
    assert {(row["status"], row["reason"]) for row in found.values()} == {("skipped", "the time was up")}


CHILD = """
import argparse, json, os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {common!r})
from gpu_plan import parts
from gpu_records import Records

parser = argparse.ArgumentParser()
for name in ("part", "out", "run", "deadline", "device"):
    parser.add_argument("--" + name)
parser.add_argument("--tiny", action="store_true")
options = parser.parse_args()
records = Records(Path(options.out), options.run)
part = next(part for part in parts(tiny=True) if part.name == options.part)
for case, side in part.units:
    if (case, side) in records.results(part.name):
        continue
    print(json.dumps([case, side]), flush=True)
    if (case, side) == ("batch 1", "transformers"):
        print("out of luck", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if case == "batch 3, few-shot":
        time.sleep(60)
    records.result(part.name, case, side, "done")
"""
"""A part that one of its units kills, and that another one hangs in."""


def test_a_part_that_dies_loses_one_unit_and_one_that_hangs_the_rest(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "gpu_part.py").write_text(CHILD.format(common=str(BENCHMARKS / "common")))
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(gpu, "GRACE", 0.0)
    records = gpu.Records(tmp_path / "out.jsonl", "now")
    part = next(part for part in gpu.parts(tiny=True) if part.kind == "decode")
    options = argparse.Namespace(device="cpu", tiny=True)
    gpu.run_part(part, replace(records, deadline=time.time() + 4), options)
    found = records.results(part.name)
    assert set(found) == set(part.units)
    dead = found.pop(("batch 1", "transformers"))
    assert (dead["status"], dead["reason"]) == ("failed", "the process ended with -9: out of luck")
    hung = {unit: row["reason"] for unit, row in found.items() if row["status"] == "skipped"}
    assert hung == dict.fromkeys((u for u in part.units if u[0] == "batch 3, few-shot"), "the time was up")
    assert {row["status"] for unit, row in found.items() if unit not in hung} == {"done"}
