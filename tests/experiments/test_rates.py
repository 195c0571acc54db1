"""The hours that a plan says, at rates that are given for the machine where it is going to run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command import run_command

from cotdistill.config import load_experiment
from cotdistill.errors import ConfigError
from cotdistill.experiments.estimate import estimate
from cotdistill.experiments.plan import plan

FILE = """
name: rates
task: procedural
teacher: procedural
training: {epochs: 2}
grid: {student: {small: some/model-0.5B, large: some/model-1.5B}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rates.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_time_is_tokens_over_the_rates_that_are_given(file: Path) -> None:
    planned = plan(load_experiment(file))
    given = {"small": (1000.0, 100.0), "some/model-1.5B": (500.0, 50.0)}  # by its name in the grid, or the model's
    found = estimate(planned, file.parent / "runs", given)
    assert found.training_tokens
    assert found.generated_tokens
    each = found.training_tokens / 2, found.generated_tokens / 2
    assert found.seconds == pytest.approx(each[0] / 1000 + each[1] / 100 + each[0] / 500 + each[1] / 50)
    assert found.rates["some/model-0.5B"] == "given: 1,000 tokens trained and 100 generated a second"


def test_a_plan_for_gpus_counts_with_a_gpu_wherever_it_is_made(file: Path) -> None:
    cpu, gpu = (
        estimate(plan(load_experiment(file, {"resources.num_gpus": num})), file.parent / "runs").seconds
        for num in (0, 1)
    )
    assert cpu
    assert gpu
    assert cpu > 100 * gpu


def test_a_rate_of_an_unknown_student_or_of_no_number_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="unknown student 'smal'; did you mean 'small'"):
        estimate(plan(load_experiment(file)), file.parent / "runs", {"smal": (1, 1)})
    for text in ("small", "small=5", "small=0/1", "=1/1", "small=inf/1"):
        outcome = run_command(file.parent, "plan", file.name, "--rate", text)
        assert (outcome.status, outcome.err.count("\n")) == (2, 1)
        assert f"--rate: {text!r} is no rate" in outcome.err
    told = run_command(file.parent, "plan", file.name, "--rate", "small=1000/100", "--json")
    assert json.loads(told.out)["rates"]["some/model-0.5B"].startswith("given")
