"""The main job on real input: quickstart as a user runs it, and SmolLM2 on real rationales in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import PROCEDURAL_KINDS, ProceduralTask, load_experiment
from cotdistill.experiments.plan import plan

QUICKSTART = Path(__file__).parents[1] / "src" / "cotdistill" / "quickstart.yaml"
ARMS = ["base", "sft_answer", "sft_cot", "kd", "kd_cot", "teacher"]


def run_command(*arguments: object) -> dict[str, Any]:
    """The ``--json`` output of a command that must succeed."""
    command = [sys.executable, "-m", "cotdistill", *map(str, arguments), "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_quickstart_declares_its_arms_and_comparisons() -> None:
    planned = plan(load_experiment(QUICKSTART))
    assert list(planned.arms) == ARMS
    assert {("sft_cot", "sft_answer"), ("kd_cot", "kd")} <= {(pair.a, pair.b) for pair in planned.comparisons}
    tasks = {cell.config.task.model_dump_json() for cell in planned.cells}
    assert len(tasks) == 1, "every arm is tested on the same questions"
    task = planned.cells[0].config.task
    assert isinstance(task, ProceduralTask)
    assert task.kinds == PROCEDURAL_KINDS


@pytest.mark.slow
def test_rationales_beat_answers_in_the_quickstart(tmp_path: Path) -> None:
    """The whole loop at full size: with and without a teacher's distributions, rationales win, p < 0.05."""
    summary = run_command("quickstart", "--runs", tmp_path)
    assert list(summary["arms"]) == ARMS
    scores = {name: arm["seeds"]["0"] for name, arm in summary["arms"].items()}
    for arm in scores.values():
        assert arm["n"] == 1000
        assert arm["correct"] + arm["wrong"] + arm["unreadable"] + arm["truncated"] == 1000
        low, high = arm["interval"]
        assert low <= arm["accuracy"] <= high
    found = {(row["a"], row["b"]): row for row in summary["comparisons"]}
    for pair in (("sft_cot", "sft_answer"), ("kd_cot", "kd")):
        assert found[pair]["difference"] > 0
        assert found[pair]["p_value"] < 0.05
        assert found[pair]["interval"][0] > 0
    assert scores["base"]["accuracy"] > 0.1
    assert scores["teacher"]["accuracy"] > max(scores[name]["accuracy"] for name in ARMS[:-1])
    assert (tmp_path / "quickstart" / "report.md").is_file()
    assert run_command("quickstart", "--runs", tmp_path) == summary


@pytest.mark.slow
@pytest.mark.shared
def test_smollm2_learns_from_real_rationales(tmp_path: Path, shared_data: Path) -> None:
    """A few steps of a real pretrained model on released rationales: the loss falls, and its answers are judged."""
    run_file = Path(__file__).parents[1] / "recipes" / "smollm2-svamp" / "run.yaml"
    settings = ("task.num_train=24", "task.num_test=4", "evaluation.max_new_tokens=48", "training.epochs=2")
    summary = run_command(
        "evaluate",
        run_file,
        "--arm",
        "sft_cot",
        "--runs",
        tmp_path,
        *(part for setting in (f"task.data_dir={shared_data}", *settings) for part in ("--set", setting)),
    )
    assert summary["sft_cot"]["n"] == 4
    (training,) = (tmp_path / "training").iterdir()
    totals = json.loads((training / "summary.json").read_text(encoding="utf-8"))
    assert totals["last_loss"] < totals["first_loss"]
    assert (training / "student" / "model.safetensors").is_file()
