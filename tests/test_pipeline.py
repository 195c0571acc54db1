"""Whole experiments on tiny models: killed and resumed, reused, shared, locked, corrupted, out of space."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import small_disk
from tests.command import Command, new_process, run_command
from tests.experiments.survival import damage
from tests.tiny import save_tiny

from cotdistill.storage.jsonl import read_rows

RUN = """
task: {kind: procedural, kinds: [navigate, word_sorting], difficulty: 1, num_train: 16, num_test: 6}
teacher: procedural
student: ./student
training: {epochs: 2, batch_size: 4, learning_rate: 1.0e-3, checkpoint_every: 3, dtype: float32}
evaluation: {max_new_tokens: 12, max_batch_size: 2, dtype: float32}
arms:
  sft: {}
  kd:
    training.loss: [{kind: forward_kl}]
    training.signal: {kind: live, model: ./teacher}
comparisons: [{a: kd, b: sft}]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student, its teacher and ``tiny.yaml``."""
    folder = tmp_path_factory.mktemp("lab")
    save_tiny(folder / "student")
    save_tiny(folder / "teacher", layers=3, seed=1)
    (folder / "tiny.yaml").write_text(RUN, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def unbroken(lab: Path) -> Path:
    """The folder of runs of a run that nothing disturbed."""
    outcome = run_command(lab, "run", "tiny.yaml", "--runs", "unbroken")
    assert (outcome.status, "Traceback" in outcome.err) == (0, False), outcome.err
    return lab / "unbroken"


def results(runs: Path) -> dict[str, Any]:
    """What a run is for, by path: students, rationales and predictions bit for bit, metrics but for their seconds."""
    patterns = ("training/*/student/model.safetensors", "annotation/*/*.jsonl", "evaluation/*/*.jsonl")
    files = [file for pattern in patterns for file in sorted(runs.glob(pattern))]
    found: dict[str, Any] = {str(f.relative_to(runs)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    for metrics in sorted(runs.glob("training/*/metrics.jsonl")):
        found[str(metrics.relative_to(runs))] = [row | {"seconds": None} for row in read_rows(metrics)]
    return found


def test_a_run_killed_again_and_again_ends_as_an_unbroken_one(lab: Path, unbroken: Path) -> None:
    """Every process is killed a little later in its life than the one before, at an exact and different change."""
    statuses = []
    for dies_before in range(0, 1000, 8):
        statuses.append(Command(lab, "run", "tiny.yaml", "--runs", "killed", dies_before=dies_before).wait().status)
        if statuses[-1] != -signal.SIGKILL:
            break
    assert statuses[-1] == 0
    assert len(statuses) > 6
    assert results(lab / "killed") == results(unbroken)


def num_lines(runs: Path, pattern: str) -> int:
    return sum(file.read_bytes().count(b"\n") for file in runs.glob(pattern))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "annotating": lambda runs: (runs / "annotation").exists(),
    "training": lambda runs: num_lines(runs, "training/*/metrics.jsonl") >= 2,
    "training on, after a checkpoint": lambda runs: num_lines(runs, "training/*/metrics.jsonl") >= 5,
    "saving a student": lambda runs: any(runs.glob("training/*/student")),
    "evaluating": lambda runs: num_lines(runs, "evaluation/*/completions.jsonl") >= 2,
    "evaluating on": lambda runs: num_lines(runs, "evaluation/*/completions.jsonl") >= 4,
    "training another": lambda runs: num_lines(runs, "training/*/metrics.jsonl") >= 12,
}
"""What is seen on disk when a run is killed, in the order in which it happens."""


def test_a_run_killed_from_outside_ends_as_an_unbroken_one(lab: Path, unbroken: Path) -> None:
    runs = lab / "killed-outside"
    for moment, reached in MOMENTS.items():
        command = Command(lab, "run", "tiny.yaml", "--runs", runs.name)
        while not reached(runs):
            assert command.process.exitcode is None, f"it ended before {moment}"
            time.sleep(0.001)
        command.kill()
        assert command.process.exitcode == -signal.SIGKILL, moment
    assert run_command(lab, "run", "tiny.yaml", "--runs", runs.name).status == 0
    assert results(runs) == results(unbroken)


def content(runs: Path) -> dict[str, tuple[int, bytes]]:
    """When each file of each stage was last written, and what it holds; locks and model cards left out."""
    files = [file for noun in ("annotation", "training", "evaluation") for file in sorted(runs.glob(f"{noun}/**/*"))]
    return {
        str(file): (file.stat().st_mtime_ns, file.read_bytes())
        for file in files
        if file.is_file() and file.name not in (".lock", ".owner", "README.md")
    }


def test_what_is_finished_is_not_done_again(lab: Path, unbroken: Path) -> None:
    before = content(unbroken)
    outcome = run_command(lab, "run", "tiny.yaml", "--runs", unbroken.name)
    assert outcome.status == 0
    assert content(unbroken) == before


def test_arms_make_what_they_share_once(unbroken: Path) -> None:
    """Both arms of the run learn from one annotation."""
    assert len(list(unbroken.glob("annotation/*"))) == 1
    assert len(list(unbroken.glob("training/*"))) == 2
    assert len(list(unbroken.glob("evaluation/*"))) == 3, "the untrained student is tested too"


def test_an_arm_that_another_run_has_made_is_taken_from_it(lab: Path, unbroken: Path) -> None:
    before = content(unbroken)
    (lab / "other.yaml").write_text(RUN.replace("sft", "fine_tuned"), encoding="utf-8")
    outcome = run_command(lab, "run", "other.yaml", "--runs", unbroken.name, "--json")
    assert outcome.status == 0
    ours, theirs = json.loads(outcome.out), json.loads((unbroken / "tiny" / "summary.json").read_text("utf-8"))
    assert ours["arms"]["fine_tuned"]["seeds"] == theirs["arms"]["sft"]["seeds"]
    assert content(unbroken) == before


def test_two_processes_do_not_work_on_one_run(lab: Path, unbroken: Path) -> None:
    first = Command(lab, "run", "tiny.yaml", "--runs", "twice")
    while not (lab / "twice" / "training").exists():
        assert first.process.exitcode is None
        time.sleep(0.001)
    second = run_command(lab, "run", "tiny.yaml", "--runs", "twice")
    assert second.status == 2
    assert second.err == (
        f"cotdistill: {lab}/twice/tiny: another process (pid {first.process.pid} on {socket.gethostname()}) is working "
        "in this folder; wait until it ends, or choose another --runs\n"
    )
    assert first.wait().status == 0
    assert results(lab / "twice") == results(unbroken)


DAMAGED = ("annotation/*/rationales.jsonl", "training/*/student/model.safetensors", "evaluation/*/predictions.jsonl")


def test_damaged_artifacts_are_set_aside_and_made_again(lab: Path, unbroken: Path) -> None:
    runs = lab / "damaged"
    shutil.copytree(unbroken, runs)
    files = [sorted(runs.glob(pattern))[0] for pattern in DAMAGED]
    for damaged in files:
        damage(damaged)
    outcome = run_command(lab, "run", "tiny.yaml", "--runs", runs.name)
    assert outcome.status == 0, outcome.err
    for damaged in files:
        assert f"{damaged}: the checksum differs from the manifest's; it is set aside" in outcome.err
        stage = runs.joinpath(*damaged.relative_to(runs).parts[:2])
        shutil.rmtree(stage.with_name(f"{stage.name}.damaged-1"))
    assert results(runs) == results(unbroken)


def fill_up(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def fill_a_small_disk(lab: Path, runs: Path, sizes: list[str], outcomes: Path) -> None:
    """Run on a disk of the first size, then on the same disk grown to the second, and so on.

    What became of each run is written to ``outcomes``.
    """
    if problem := small_disk.mount(runs, sizes[0]):
        outcomes.write_text(json.dumps(problem))
        return
    found = []

    def run() -> None:
        outcome = run_command(lab, "run", "tiny.yaml", "--runs", runs)
        found.append([outcome.status, outcome.out + outcome.err])

    for size in sizes:
        small_disk.resize(runs, size)
        run()
    fill_up(runs / "ballast")
    run()  # all stages are finished, and the report has no room
    (runs / "ballast").unlink()
    run()
    outcomes.write_text(json.dumps([found, results(runs)]))


def test_a_full_disk_is_one_line_and_costs_nothing_that_is_done(lab: Path, unbroken: Path, tmp_path: Path) -> None:
    sizes = ["8k", "28k", "100k", "300k", "500k", "650k", "1100k", "8m"]
    process = new_process(fill_a_small_disk, lab, tmp_path / "runs", sizes, tmp_path / "outcomes.json")
    process.join(120)
    found = json.loads((tmp_path / "outcomes.json").read_text())
    if isinstance(found, str):
        pytest.skip(f"a small disk cannot be made here, {found}")
    outcomes, ended_with = found
    statuses = [status for status, _ in outcomes]
    assert statuses[-3:] == [0, 2, 0]
    assert set(statuses[:-3]) <= {1, 2}, "1 where cells failed and there was room to say so"
    for status, text in outcomes:
        assert ("no space left on the device" in text) == (status != 0)
        assert "Traceback" not in text
    assert ended_with == results(unbroken)


def test_the_student_of_one_arm_teaches_another(lab: Path) -> None:
    """The distilled student is that of a teacher named by its folder, and the teacher is trained if it is missing."""
    (lab / "two_steps.yaml").write_text(
        RUN.replace("model: ./teacher", 'model: "arm:sft"').replace("  sft: {}", "  sft: {student: ./teacher}"),
        encoding="utf-8",
    )
    outcome = run_command(lab, "train", "two_steps.yaml", "--arm", "kd", "--runs", "two_steps", "--json")
    assert outcome.status == 0, outcome.err
    student = Path(json.loads(outcome.out)["kd"]["student"])
    stages = (lab / "two_steps" / "training").iterdir()
    (teacher,) = (stage for stage in stages if stage.name != student.parent.name)
    by_path = RUN.replace("model: ./teacher", f"model: {teacher / 'student'}")
    (lab / "by_path.yaml").write_text(by_path, encoding="utf-8")
    outcome = run_command(lab, "train", "by_path.yaml", "--arm", "kd", "--runs", "two_steps", "--json")
    assert outcome.status == 0, outcome.err
    assert Path(json.loads(outcome.out)["kd"]["student"]) == student


def test_an_arm_that_names_a_student_below_it_is_one_clear_line(lab: Path) -> None:
    (lab / "below.yaml").write_text(RUN.replace("  sft: {}", '  sft: {student: "arm:kd"}'), encoding="utf-8")
    outcome = run_command(lab, "run", "below.yaml", "--runs", "below")
    assert outcome.status != 0
    assert "arm sft: uses the student of arm 'kd', which is not an arm above it" in outcome.err
