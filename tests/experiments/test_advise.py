"""Advice on tiny arms: within its budget, from disk when asked again, and errors that say what to do."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import save_tiny

from cotdistill.config import Experiment, load_experiment
from cotdistill.errors import ConfigError, TrainingError
from cotdistill.experiments.advise.advice import Advice, advice_lines
from cotdistill.experiments.advise.advise import advise
from cotdistill.experiments.advise.halving import Size
from cotdistill.experiments.advise.pilots import pilot
from cotdistill.experiments.cells import run_cell
from cotdistill.experiments.plan import plan
from cotdistill.experiments.result import load_result
from cotdistill.experiments.work import Work

FILE = """
name: tiny
task: {kind: procedural, kinds: [boolean_expressions], difficulty: 1, num_train: 20, num_test: 8}
teacher: procedural
training: {epochs: 2, batch_size: 2, learning_rate: 1.0e-3, dtype: float32}
evaluation: {max_new_tokens: 4, dtype: float32}
arms: {levels: {}, answers: {teacher: answer_only}}
grid:
  student: {small: ./student}
  annotation.granularity: [1, 2, 3]
"""
SETTINGS = {"budget_share": 0.9, "num_scored": 20, "keep": 2 / 3}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student, an experiment, and the runs of a grid and of its advice."""
    folder = tmp_path_factory.mktemp("lab")
    save_tiny(folder / "student")
    (folder / "tiny.yaml").write_text(FILE, encoding="utf-8")
    advised(folder)
    planned = plan(read(folder))
    for cell in planned.cells:
        run_cell(cell, planned, Work(folder / "runs", silent))
    return folder


def silent(line: str) -> None:
    pass


def read(lab: Path) -> Experiment:
    return load_experiment(lab / "tiny.yaml")


def advised(lab: Path, **settings: Any) -> Advice:
    return advise(read(lab), Work(lab / "runs", silent), **(SETTINGS | settings))


def stages(lab: Path) -> set[Path]:
    return {path for noun in ("training", "evaluation", "scoring") for path in (lab / "runs" / noun).iterdir()}


def test_a_replay_reads_what_is_on_disk_and_knows_the_regret(lab: Path) -> None:
    before = stages(lab)
    advice = advised(lab, replay=True)
    assert stages(lab) == before
    result = load_result(read(lab), lab / "runs")
    accuracies = {name: arm.accuracy() for name, arm in result.arms.items() if not arm.untrained}
    assert advice.accuracies == accuracies
    assert advice.regret == max(accuracies.values()) - accuracies[advice.chosen]  # type: ignore[type-var,operator]
    assert 0.5 * advice.budget < advice.cost < 1.05 * advice.budget  # a training has whole steps
    row = json.loads((lab / "runs" / "tiny" / "advice-small.json").read_text("utf-8"))
    assert (row["chosen"], row["regret"], row["grid_done"]) == (advice.chosen, advice.regret, True)
    assert advice_lines(advice)[0] == f"for small, use {advice.chosen}"


def test_the_cost_is_that_of_the_tokens_that_were_read(lab: Path) -> None:
    advice = advised(lab, replay=True)
    result = load_result(read(lab), lab / "runs")
    expected = 0
    for cell in (one for one in result.cells if one.cell.config.training):
        expected += 3 * cell.summary("training")["num_tokens"]
        expected += sum(one.num_prompt_tokens + one.num_output_tokens for one in cell.predictions())
    assert advice.grid_cost == expected
    assert advice.cost == sum(score.cost for score in advice.scores) + sum(rung.cost for rung in advice.rungs)


def test_the_worst_score_is_not_tried_and_what_has_no_rationales_always_is(lab: Path) -> None:
    advice = advised(lab, replay=True)
    ratios = {score.name: score.rank_surprisal for score in advice.scores}
    assert ratios["levels granularity=1"] is not None
    assert ratios["answers"] is None
    assert "answers" in advice.rungs[0].accuracies
    worst = max((ratio, name) for name, ratio in ratios.items() if ratio is not None)[1]
    assert advice.untried == (worst,)
    assert len(advice.rungs[0].accuracies) == 3


def test_a_replay_without_its_pilots_says_so(lab: Path, tmp_path: Path) -> None:
    shutil.copytree(lab, tmp_path / "lab")
    for state in (tmp_path / "lab" / "runs" / "tiny" / "cells").iterdir():
        state.unlink()
    with pytest.raises(TrainingError, match=r"--replay: pilot .* is not on disk; run once without --replay"):
        advised(tmp_path / "lab", replay=True)


def test_a_budget_that_buys_no_pilots_is_refused(lab: Path) -> None:
    with pytest.raises(ConfigError, match=r"the budget buys pilots of \d steps, fewer than 8; raise --budget-share"):
        advised(lab, budget_share=0.02)


def test_an_unknown_student_is_refused(lab: Path) -> None:
    with pytest.raises(ConfigError, match=r"--student: unknown student 'smal'; did you mean 'small'"):
        advised(lab, student="smal")


def test_a_pilot_cuts_epochs_before_questions(lab: Path) -> None:
    cell = next(cell for cell in plan(read(lab)).cells if not cell.untrained)
    half, quarter = (pilot(cell, Size(share, 0.5), 20).config for share in (0.5, 0.45))
    assert half.training is not None
    assert quarter.training is not None
    assert (half.training.epochs, half.task.num_train, half.task.num_test) == (1.0, 20, 4)
    assert (quarter.training.epochs, quarter.task.num_train) == (1.0, 18)
    assert pilot(cell, Size(1.0, 1.0), 20).id == cell.id
    assert cell.config.training is not None
    steps = cell.config.training.model_copy(update={"max_steps": 16, "batch_size": 5})
    cut = pilot(replace(cell, config=cell.config.model_copy(update={"training": steps})), Size(0.75, 1.0), 20).config
    assert cut.training is not None
    assert (cut.training.epochs, cut.training.max_steps) == (3.0, None)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_recipe_finds_a_good_arm_at_a_quarter_of_its_grid(tmp_path: Path) -> None:
    """The recipe's own numbers are in its README; here half of its arms, and what 600 questions cannot tell apart."""
    recipe = Path(__file__).parents[2] / "recipes" / "advise" / "nano.yaml"
    experiment = load_experiment(recipe, {"grid.annotation.format": ["cot"]})
    advise(experiment, Work(tmp_path, print))
    planned = plan(experiment)
    for cell in planned.cells:
        run_cell(cell, planned, Work(tmp_path, print))
    advice = advise(experiment, Work(tmp_path, print), replay=True)
    assert advice.grid_done
    assert advice.cost < 0.26 * advice.grid_cost
    assert advice.regret is not None
    assert advice.regret < 0.05
