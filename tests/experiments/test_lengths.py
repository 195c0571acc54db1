"""How long examples are: foreseen by a plan, counted by a dry run, and what the training then makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.command import run_command


def traces(path: Path, num_short: int, num_long: int) -> None:
    """Sums with a reason of one sentence, and as many of some 3000 tokens, more than the nano student's positions."""
    rows = []
    for n in range(num_short + num_long):
        check = f"Hold on, is {n} + {n} really {2 * n}? Let me count once more. " * (1 if n < num_short else 150)
        rows.append({"question": f"What is {n} + {n}?", "rationale": f"{check}It is {2 * n}.", "answer": 2 * n})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    traces(tmp_path / "traces.jsonl", 12, 6)
    asked = {"kind": "transformers", "model": "builtin:nano-teacher", "sampling": {"max_new_tokens": 24}}
    settings = {
        "task": {"train": "traces.jsonl", "test_share": 0.1},
        "teacher": "human",
        "student": "builtin:nano-student",
        "training": {"epochs": 0.1, "too_long": "cut_reasoning"},
        "evaluation": {"max_new_tokens": 8},
        "arms": {"cut": {}, "dropped": {"training.too_long": "drop"}, "asked": {"teacher": asked}},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    return tmp_path


def test_a_plan_foresees_what_a_training_then_leaves_out(lab: Path) -> None:
    planned = run_command(lab, "plan", "run.yaml", "--json")
    counted = run_command(lab, "run", "run.yaml", "--dry-run", "--json")
    trained = run_command(lab, "train", "run.yaml", "--arm", "cut", "--json")
    about, exact = (json.loads(outcome.out)["lengths"] for outcome in (planned, counted))
    assert about.keys() == exact.keys() == {"cut", "dropped"}, "nothing is known of a teacher that has no rationales"
    for arm in ("cut", "dropped"):
        assert about[arm].pop("sampled") == sum(about[arm][fate] for fate in ("whole", "cut", "too_long"))
        assert {fate: about[arm][fate] for fate in ("whole", "cut", "too_long")} == {
            fate: exact[arm][fate] for fate in ("whole", "cut", "too_long")
        }
        assert about[arm]["longest"] == pytest.approx(exact[arm]["longest"], rel=0.01)
    assert exact["cut"]["cut"] == exact["dropped"]["too_long"] > 3
    assert "warning: " in trained.err or "with their reasoning cut" in trained.err
    (manifest,) = lab.glob("runs/training/*/manifest.json")
    assert json.loads(manifest.read_text())["lengths"] == exact["cut"]


def test_a_plan_says_so_in_a_line_and_loads_no_torch(lab: Path) -> None:
    script = (
        "import sys\nfrom cotdistill.cli import app\n"
        "app(['plan', 'run.yaml'], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=lab, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("lengths of dropped: "))
    assert "lengths of dropped: warning: about " in line
    assert " are too long to train on (the limit is 2,048 tokens, the longest has " in line
    assert line.endswith("; take a student with more positions, or set training.too_long: cut_reasoning")
