"""Experiment files become cells: each different point of the grid once, comparisons between arms that agree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cotdistill.config import ModelConfig, load_experiment
from cotdistill.errors import ConfigError
from cotdistill.experiments.plan import Plan, plan
from cotdistill.experiments.sizes import num_parameters
from cotdistill.models.load.loading import load_model

RECIPES = Path(__file__).parents[2] / "recipes"

FILE = """
task: {name: procedural, num_train: 20}
teacher: procedural
training: {epochs: 1}
arms:
  answers: {teacher: answer_only}
  levels: {}
grid:
  student: {small: ./small, large: ./large}
  annotation.granularity: [1, 3]
  training.loss: {of: levels, values: {plain: [cross_entropy], weighted: [{kind: cross_entropy, weight: 2.0}]}}
  seed: [0, 1]
comparisons:
  - {a: {annotation.granularity: 3}, b: {annotation.granularity: 1}}
  - {a: {annotation.granularity: 3, training.loss: plain}, b: answers}
  - {a: answers, b: base}
"""
STUDENTS, LOSSES = ("small", "large"), ("plain", "weighted")


def planned(folder: Path, text: str = FILE, overrides: dict[str, Any] | None = None) -> Plan:
    file = folder / "sample.yaml"
    file.write_text(text, encoding="utf-8")
    return plan(load_experiment(file, overrides))


def test_the_grid_is_crossed_with_the_arms_that_it_changes(tmp_path: Path) -> None:
    """Answers alone have no granularity, and the untrained student has neither that nor a seed."""
    arms = planned(tmp_path).arms
    assert {name: len(cells) for name, cells in arms.items()} == {
        **{f"base {student}": 1 for student in STUDENTS},
        **{f"answers {student}": 2 for student in STUDENTS},
        **{f"levels {s} granularity={level} loss={loss}": 2 for s in STUDENTS for level in (1, 3) for loss in LOSSES},
    }


def test_a_cell_is_made_of_its_factors(tmp_path: Path) -> None:
    cells = {(cell.arm, cell.seed): cell for cell in planned(tmp_path).cells}
    cell = cells["levels large granularity=3 loss=weighted", 1]
    factors = {"arm": "levels", "student": "large", "annotation.granularity": 3, "training.loss": "weighted"}
    assert cell.factors == factors
    config = cell.config
    assert (config.student.model, config.teacher.kind, config.annotation.granularity, config.seed) == (
        str(tmp_path / "large"),
        "procedural",
        3,
        1,
    )
    assert config.training is not None
    assert (config.training.loss[0].weight, config.training.epochs) == (2.0, 1.0)
    assert cells["answers large", 1].factors == {"arm": "answers", "student": "large"}
    assert cells["answers large", 1].config.teacher.kind == "answer_only"
    assert cells["base large", 0].untrained


def test_ids_tell_cells_apart_and_stay_the_same(tmp_path: Path) -> None:
    ids = [cell.id for cell in planned(tmp_path).cells]
    assert len(set(ids)) == len(ids)
    more = planned(tmp_path, overrides={"grid.seed": [0, 1, 2]})
    assert set(ids) < {cell.id for cell in more.cells}
    changed = planned(tmp_path, overrides={"training.epochs": 2})
    assert {cell.id for cell in changed.cells} & set(ids) == {cell.id for cell in changed.cells if cell.untrained}


def test_a_grid_that_is_added_to_a_file_keeps_the_cells_of_it(tmp_path: Path) -> None:
    """A file of ten lines grows: the cells that it had stay, under the same ids."""
    text = "task: svamp\nstudent: m\nteacher: human\narms: {answers: {teacher: answer_only}, people: {}}\n"
    few = planned(tmp_path, text)
    grown = planned(tmp_path, text + "grid: {seed: [0, 1, 2], training.epochs: [3, 5]}\n")
    assert len(few.cells) == 3
    assert len(grown.cells) == 1 + 2 * 3 * 2
    assert {cell.id for cell in few.cells} < {cell.id for cell in grown.cells}


def test_arms_that_are_the_same_share_their_cells(tmp_path: Path) -> None:
    text = FILE.replace("  levels: {}", "  levels: {}\n  fine: {annotation.granularity: 3}")
    found = planned(tmp_path, text)
    shared = {cell.id for cell in found.arms["fine small"]}
    assert shared == {cell.id for cell in found.arms["levels small granularity=3 loss=plain"]}
    assert len(found.distinct) == len(found.cells) - 4


def test_the_student_of_another_arm_is_that_of_the_same_point(tmp_path: Path) -> None:
    """It shares student and seed; what it is trained on is part of the cell that uses it."""
    text = FILE.replace("  levels: {}", '  levels: {}\n  after: {student: "arm:answers"}')
    text = text.replace("granularity: [1, 3]", "granularity: {of: levels, values: [1, 3]}")
    found = planned(tmp_path, text)
    for student in STUDENTS:
        ids = {cell.seed: cell.id for cell in found.arms[f"answers {student}"]}
        assert {cell.seed: cell.uses for cell in found.arms[f"after {student}"]} == {
            seed: {"answers": id} for seed, id in ids.items()
        }
    other = planned(tmp_path, text, {"arms.answers.training.epochs": 2})
    assert not {cell.id for cell in other.arms["after small"]} & {cell.id for cell in found.arms["after small"]}


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ("{after: {student: 'arm:late'}, late: {}}", "uses the student of arm 'late', which is not an arm above it"),
        ("{after: {student: 'arm:base'}}", "uses the student of arm 'base', which does not train one; name its model"),
        ("{first: {}, after: {student: 'arm:first'}}", "which has 2 for this cell; restrict an axis to some arms"),
    ],
)
def test_an_arm_that_has_no_student_for_another_is_refused(tmp_path: Path, arms: str, message: str) -> None:
    text = f"task: svamp\nstudent: m\nteacher: procedural\narms: {arms}\n"
    text += "grid: {annotation.granularity: {of: first, values: [1, 2]}}\n" if "first" in arms else ""
    with pytest.raises(ConfigError, match=message):
        planned(tmp_path, text)


def test_comparisons_are_between_arms_that_agree_on_the_rest(tmp_path: Path) -> None:
    pairs = {(pair.declared, pair.a, pair.b) for pair in planned(tmp_path).comparisons}
    assert pairs == {
        *(
            (0, f"levels {s} granularity=3 loss={loss}", f"levels {s} granularity=1 loss={loss}")
            for s in STUDENTS
            for loss in LOSSES
        ),
        *((1, f"levels {s} granularity=3 loss=plain", f"answers {s}") for s in STUDENTS),
        *((2, f"answers {s}", f"base {s}") for s in STUDENTS),
    }


def test_a_resolved_experiment_plans_to_the_same_from_any_folder(tmp_path: Path) -> None:
    before = planned(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "resolved.yaml"
    file.write_text(before.experiment.to_yaml(), encoding="utf-8")
    assert plan(load_experiment(file)) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("b: answers}", "b: answrs}", "comparisons.1.b: no arm has 'answrs' for arm; did you mean 'answers'?"),
        ("annotation.granularity: [1, 3]", "annotation.granularty: [1, 3]", "did you mean 'granularity'?"),
        ("b: base}", "b: {trainin.loss: plain}}", "no arm has the factor 'trainin.loss'; did you mean"),
        ("training.loss: plain}", "training.loss: plan}", "no arm has 'plan' for training.loss; did you mean 'plain'?"),
        ("granularity: 1}}", "granularity: 2}}", "no arm has '2' for annotation.granularity; known: 1, 3"),
        ("b: base}", "b: {arm: answers, annotation.granularity: 1}}", "no arm has all of these factors"),
        ("a: answers, b: base", "a: base, b: base", "no two arms agree in everything that is not compared"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place_and_the_nearest_name(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in FILE
    with pytest.raises(ConfigError) as raised:
        planned(tmp_path, FILE.replace(old, new))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def experiment_files() -> list[Path]:
    """Every YAML file of the recipes but those of accelerate and of claims."""
    files = sorted(RECIPES.glob("*/*.yaml"))
    return [file for file in files if file.parent.name != "distributed" and file.name != "claims.yaml"]


@pytest.mark.parametrize("file", experiment_files(), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_experiment_in_recipes_can_be_planned(file: Path) -> None:
    assert plan(load_experiment(file)).cells


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("Qwen/Qwen2.5-0.5B", 500),
        ("Qwen/Qwen-1_8B", 1800),
        ("bigscience/bloom-560m", 560),
        ("meta-llama/Llama-2-13b-chat-hf", 13000),
    ],
)
def test_a_hub_name_says_how_large_a_model_is(name: str, millions: int) -> None:
    assert num_parameters(ModelConfig(model=name)) == millions * 10**6


@pytest.mark.parametrize("keep_layers", [None, 1, 2])
def test_a_cut_model_counts_the_layers_that_it_keeps(keep_layers: int | None) -> None:
    config = ModelConfig(model="builtin:nano-student", keep_layers=keep_layers)
    model = load_model(config, dtype=torch.float32, device="cpu")
    assert num_parameters(config) == sum(weights.numel() for weights in model.parameters())


def test_planning_loads_no_torch() -> None:
    code = "import cotdistill.experiments.plan, cotdistill.experiments.result, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
