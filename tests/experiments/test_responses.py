"""Which students think is said before anything is trained."""

from __future__ import annotations

from typing import Any

from cotdistill.config import Experiment
from cotdistill.experiments.plan import plan
from cotdistill.experiments.responses import response_lines


def test_a_dry_run_says_which_students_think_and_between_which_marks() -> None:
    settings: dict[str, Any] = {
        "name": "thinks",
        "task": {"kind": "procedural", "num_train": 4, "num_test": 4},
        "teacher": "procedural",
        "student": "builtin:nano-student",
        "training": {"epochs": 1},
        "arms": {"thinks": {"training.response": "think"}, "plain": {}},
    }
    planned = plan(Experiment.model_validate(settings))
    said = response_lines(planned.cells, planned, exact=False)
    assert said == ["response of thinks: think"]
    assert response_lines(planned.cells, planned, exact=True) == [
        "response of thinks: think, between <think> and </think> (opened by the prompt, closed in the response)",
        "response of plain: plain",
    ]
