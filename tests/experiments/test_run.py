"""Running a small experiment: failures stay in their cells, what is done stays done, cells wait for what they share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
from tests.command import Command, new_process, run_command
from tests.experiments.survival import damage, finished, made
from tests.stages import alter_a_byte
from tests.tiny import save_tiny

from cotdistill.config import load_experiment
from cotdistill.errors import ArtifactError
from cotdistill.experiments.plan import plan
from cotdistill.experiments.result import load_result
from cotdistill.storage.jsonl import read_rows
from cotdistill.storage.locks import hold, unattended

SMALL = """
name: small
task: {kind: procedural, kinds: [boolean_expressions], difficulty: 1, num_train: 8, num_test: 4}
teacher: procedural
training: {epochs: 1, batch_size: 2, learning_rate: 1.0e-3, dtype: float32}
evaluation: {max_new_tokens: 6, max_batch_size: 4, dtype: float32}
arms: {taught: {}}
grid: {student: {good: ./student, late: ./late}, seed: [0, 1]}
comparisons: [{a: taught, b: base}]
"""


@pytest.fixture(scope="module")
def small(lab: Path) -> Path:
    """An experiment on two students, of which one has damaged weights."""
    file = lab / "small.yaml"
    save_tiny(lab / "late", seed=1)
    weights = lab / "late" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    file.write_text(SMALL, encoding="utf-8")
    return file


def test_a_failed_cell_stops_only_itself_and_only_it_is_run_again(small: Path) -> None:
    folder, runs = small.parent, small.parent / "runs"
    first = run_command(folder, "run", small.name, "--jobs", 2, "--json")
    assert (first.status, "Traceback" in first.err) == (1, False), first.err
    found = json.loads(first.out)
    assert found["cells"] == {"done": 3, "failed": 3, "missing": 0}
    assert all(f"{folder}/late: its model cannot be read" in row["error"] for row in found["failed"].values())
    assert [row["num_seeds"] for row in found["comparisons"] if row["a"] == "taught good"] == [2]
    assert [row["problem"] for row in found["comparisons"] if row["a"] == "taught late"] == [
        "no seed for which both arms are done"
    ]
    assert json.loads((runs / "small" / "summary.json").read_text("utf-8")) == found
    assert list(found["arms"]) == ["base good", "base late", "taught good", "taught late"]
    score = found["arms"]["taught good"]["seeds"]["1"]
    assert score["n"] == score["correct"] + score["wrong"] + score["unreadable"] + score["truncated"] == 4
    assert len(list(runs.glob("annotation/*"))) == 1

    before = finished(runs)
    save_tiny(folder / "late", seed=1)
    second = run_command(folder, "run", small.name, "--jobs", 2, "--json")
    assert second.status == 0, second.err
    assert json.loads(second.out)["cells"] == {"done": 6, "failed": 0, "missing": 0}
    after = finished(runs)
    assert {path: after[path] for path in before} == before
    assert len(after) == 1 + 1 + 1 + 4 + 6, (
        "questions, one annotation, its tokens (both students have one tokenizer), students and tests"
    )

    result = load_result(load_experiment(small), runs)
    arm = result.arms["taught good"]
    assert [cell.cell.seed for cell in arm.done] == [0, 1]
    predictions = [list(cell.predictions()) for cell in arm.done]
    stored = [list(read_rows(cell.stages["evaluation"] / "predictions.jsonl")) for cell in arm.done]
    assert [[each.to_row() for each in seed] for seed in predictions] == stored
    assert [question.id for question in arm.done[0].questions()] == [each.id for each in predictions[0]]
    accuracies = [sum(each.correct for each in seed) / len(seed) for seed in predictions]
    assert arm.accuracy() == sum(accuracies) / 2
    assert arm.done[0].summary("training")["num_tokens"] > 0


def test_cells_started_by_any_scheduler_share_their_stages(small: Path) -> None:
    """Both at once, each in a process that knows only its id. What is damaged later is set aside and made again."""
    ids = [cell.id for cell in plan(load_experiment(small)).cells if cell.arm == "taught good"]
    commands = [Command(small.parent, "run", small.name, "--runs", "only", "--only", id) for id in ids]
    assert [command.wait().status for command in commands] == [0, 0]
    runs = small.parent / "only"
    assert len(list(runs.glob("annotation/*"))) == 1
    result = load_result(load_experiment(small), runs)
    assert {cell.cell.id for cell in result.done} == set(ids)
    assert not result.failed

    for file in ("annotation/*/rationales.jsonl", "evaluation/*/predictions.jsonl"):
        damage(sorted(runs.glob(file))[0])
    before = {name: digest for name, digest in made(small.parent / "runs").items() if name in made(runs)}
    outcomes = [run_command(small.parent, "run", small.name, "--runs", "only", "--only", id) for id in ids]
    assert [outcome.status for outcome in outcomes] == [0, 0]
    said = "".join(outcome.err for outcome in outcomes)
    asides = sorted(path for path in runs.glob("*/*.damaged-1"))
    assert [path.parent.name for path in asides] == ["annotation", "evaluation"]
    assert all(f"set aside as {path}" in said for path in asides)
    assert before
    assert made(runs) == before


def hold_until_killed(folder: Path, held: Path) -> None:
    with hold(folder):
        held.touch()
        signal.pause()


def test_a_held_folder_is_waited_for_and_a_killed_holder_lets_go(tmp_path: Path) -> None:
    held = tmp_path / "held"
    holder = new_process(hold_until_killed, tmp_path / "stage", held)
    while not held.exists():
        assert holder.exitcode is None
    with pytest.raises(ArtifactError, match=f"pid {holder.pid}"), hold(tmp_path / "stage"):
        pass
    said: list[str] = []

    def kill_when_waited_for() -> None:
        while not said:
            pass
        os.kill(holder.pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_waited_for)
    killer.start()
    with unattended(said.append), hold(tmp_path / "stage"):
        holder.join(10)
        assert holder.exitcode == -signal.SIGKILL
    killer.join()
    assert len(said) == 1
    assert f"waiting for another process (pid {holder.pid}" in said[0]


def test_a_damaged_cell_file_is_a_missing_cell(small: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(small.parent / "runs", runs)
    states = sorted((runs / "small" / "cells").iterdir())
    states[0].write_text("{", encoding="utf-8")
    states[1].write_text("[]", encoding="utf-8")
    states[2].write_text('{"status": "done", "stages": {"evaluation": "../elsewhere"}, "seconds": 1}', encoding="utf-8")
    result = load_result(load_experiment(small), runs)
    assert {cell.cell.id for cell in result.missing} == {state.stem for state in states[:3]}


def test_questions_are_read_once_where_they_are_sound(small: Path, tmp_path: Path) -> None:
    """Cells that were asked the same are all reported, but for the one whose damaged file would have been read."""
    runs = tmp_path / "runs"
    shutil.copytree(small.parent / "runs", runs)
    done = load_result(load_experiment(small), runs).done
    for cell in (done[0], done[-1]):
        alter_a_byte(cell.stages["evaluation"] / "questions.jsonl")
    result = load_result(load_experiment(small), runs)
    assert [cell.cell.id for cell in result.missing] == [done[0].cell.id]


def test_a_plan_says_what_is_left_and_takes_its_rates_from_what_is_done(small: Path) -> None:
    arguments = ("plan", small.name, "--json", "--set", "grid.seed=[0,1,2]")
    found = json.loads(run_command(small.parent, *arguments).out)
    assert found["cells_done"] == 6
    assert found["stages"] == {
        "annotation": {"total": 1, "left": 0},
        "training": {"total": 6, "left": 2},
        "evaluation": {"total": 8, "left": 2},
    }
    assert {row["status"] for row in found["cells"]} == {"done", "missing"}
    assert set(found["rates"].values()) == {"measured in 3 finished cells"}
    assert 0 < found["seconds"] < 3600
    assert found["cost"] == 0
