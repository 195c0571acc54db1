"""Which students think is said before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cotdistill.config import load_experiment
from cotdistill.experiments.plan import plan
from cotdistill.experiments.responses import response_lines


def test_a_dry_run_says_which_students_think_and_between_which_marks(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "task": {"kind": "procedural", "num_train": 4, "num_test": 4},
        "teacher": "procedural",
        "student": "builtin:nano-student",
        "training": {"epochs": 1},
        "arms": {"thinks": {"training.response": "think"}, "plain": {}},
    }
    (tmp_path / "thinks.yaml").write_text(json.dumps(settings), encoding="utf-8")
    planned = plan(load_experiment(tmp_path / "thinks.yaml"))
    said = response_lines(planned.cells, planned, exact=False)
    assert said == ["response of thinks: think"]
    assert response_lines(planned.cells, planned, exact=True) == [
        "response of thinks: think, between <think> and </think> (opened by the prompt, closed in the response)",
        "response of plain: plain",
    ]
