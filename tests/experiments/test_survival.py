"""An experiment of 20 cells that is killed, damaged or out of space ends as one that nothing disturbed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from tests import small_disk
from tests.command import Command, new_process, run_command
from tests.experiments.survival import (
    assert_ended,
    cells,
    damage,
    finished,
    is_running,
    made,
    summary,
    trainers,
    wait_for,
)

from cotdistill.config import load_experiment
from cotdistill.experiments.result import load_result

pytestmark = pytest.mark.slow

WHOLE = ("run", "lab.yaml", "--jobs", 2, "--runs")
PART = ("run", "lab.yaml", "--jobs", 2, "--set", "grid.seed=[0]", "--runs")
"""Eight of the 20 cells."""


def test_it_survives_kills_of_its_driver_and_of_workers(lab: Path, unbroken: Path) -> None:
    runs = lab / "killed"
    for num_done in (3, 8):
        command = Command(lab, *WHOLE, runs.name)
        wait_for(command, lambda enough=num_done: len(cells(runs)) >= enough and bool(trainers(runs)))
        workers = {process for process in trainers(runs) if is_running(process)}
        command.kill()
        assert_ended(workers)
    before = finished(runs)

    command = Command(lab, *WHOLE, runs.name)
    killed = 0
    for _ in range(2):
        wait_for(command, lambda: any(map(is_running, trainers(runs))))
        worker = next(process for process in trainers(runs) if is_running(process))
        os.kill(worker, signal.SIGKILL)
        killed += 1
        assert_ended({worker})
    outcome = command.wait(1200)
    assert outcome.status == 1, outcome.err
    failed = summary(runs)["failed"]
    assert len(failed) == killed
    assert all("its process ended with signal 9" in row["error"] for row in failed.values())

    outcome = run_command(lab, *WHOLE, runs.name, seconds=1200)
    assert outcome.status == 0, outcome.err
    assert summary(runs) == summary(unbroken)
    assert made(runs) == made(unbroken)
    after = finished(runs)
    assert {path: after[path] for path in before} == before


DAMAGED = (
    "annotation/*/rationales.jsonl",
    "training/*/student/model.safetensors",
    "evaluation/*/predictions.jsonl",
    "evaluation/*/manifest.json",
)


@pytest.mark.full
def test_damaged_artifacts_are_set_aside_and_they_alone_are_made_again(lab: Path, unbroken: Path) -> None:
    """One file of each kind, each of another stage; what was made from a damaged stage stays as it is."""
    runs = lab / "damaged"
    shutil.copytree(unbroken, runs)
    files = [sorted(runs.glob(pattern))[place] for place, pattern in enumerate(DAMAGED)]
    stages = [runs.joinpath(*file.relative_to(runs).parts[:2]) for file in files]
    for file in files:
        damage(file)
    before = finished(runs)
    outcome = run_command(lab, *WHOLE, runs.name, seconds=1200)
    assert outcome.status == 0, outcome.err
    for file, stage in zip(files, stages, strict=True):
        assert f"{file}: " in outcome.err
        assert stage.with_name(f"{stage.name}.damaged-1").is_dir()
    assert summary(runs) == summary(unbroken)
    assert made(runs) == made(unbroken)
    changed = {path for path, time in finished(runs).items() if before.get(path) != time}
    assert changed == {str(stage / "manifest.json") for stage in stages}


def fill_a_small_disk(lab: Path, runs: Path, sizes: list[str], outcomes: Path) -> None:
    """Run on a disk of the first size, then on the same disk grown to the next."""
    if problem := small_disk.mount(runs, sizes[0]):
        outcomes.write_text(json.dumps(problem))
        return
    found = []
    for size in sizes:
        small_disk.resize(runs, size)
        outcome = run_command(lab, *PART, runs, seconds=1200)
        found.append([outcome.status, outcome.out + outcome.err])
    outcomes.write_text(json.dumps([found, summary(runs), made(runs)]))


@pytest.mark.full
def test_it_survives_a_full_disk(lab: Path, unbroken: Path, tmp_path: Path) -> None:
    sizes = ["16k", "700k", "2m", "32m"]
    process = new_process(fill_a_small_disk, lab, tmp_path / "runs", sizes, tmp_path / "outcomes.json")
    process.join(1500)
    found = json.loads((tmp_path / "outcomes.json").read_text())
    if isinstance(found, str):
        pytest.skip(f"a small disk cannot be made here, {found}")
    outcomes, ended_with, stages = found
    assert outcomes[-1][0] == 0, outcomes[-1][1]
    for status, text in outcomes[:-1]:
        assert status in (1, 2)
        assert "no space left on the device" in text
        assert "Traceback" not in text
    assert ended_with == part_of(lab, unbroken)
    assert stages.items() <= made(unbroken).items()


def part_of(lab: Path, unbroken: Path) -> dict[str, Any]:
    """The summary of the eight cells as the undisturbed experiment has them."""
    result = load_result(load_experiment(lab / "lab.yaml", {"grid.seed": [0]}), unbroken)
    return json.loads(json.dumps(result.to_row()))


@pytest.mark.full
def test_it_survives_the_death_of_a_ray_node(lab: Path, unbroken: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    runs = lab / "on_ray"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        node = cluster.add_node(num_cpus=1)
        command = Command(
            lab,
            *("run", "lab.yaml", "--executor", "ray", "--set", "grid.seed=[0]", "--runs", runs),
            environment={"RAY_ADDRESS": str(cluster.address)},
        )
        wait_for(command, lambda: len(cells(runs)) >= 2 and any(map(is_running, trainers(runs))))
        working = {process for process in trainers(runs) if is_running(process)}
        cluster.remove_node(node, allow_graceful=False)
        assert_ended(working)
        before = finished(runs)
        cluster.add_node(num_cpus=1)
        outcome = command.wait(1200)
        assert outcome.status == 0, outcome.err
        assert {path: finished(runs)[path] for path in before} == before
    finally:
        cluster.shutdown()
    assert summary(runs) == part_of(lab, unbroken)
    assert made(runs).items() <= made(unbroken).items()
