"""Study files become cells: each combination once, controls beside the grid, comparisons between arms that agree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cotdistill.config import ModelConfig, load_study, to_yaml
from cotdistill.errors import ConfigError
from cotdistill.experiments.plan import Plan, plan
from cotdistill.experiments.sizes import num_parameters
from cotdistill.models.load.loading import load_model

RECIPES = Path(__file__).parents[2] / "recipes"

STUDY = """
teachers: {solver: procedural, people: human, answers: answer_only}
students: {small: ./small, large: ./large}
base:
  task: {name: procedural, num_train: 20}
  training: {epochs: 1}
grid:
  teacher: [solver]
  annotation.granularity: [1, 3]
  training.loss: {plain: [cross_entropy], weighted: [{kind: cross_entropy, weight: 2.0}]}
  seed: [0, 1]
controls:
  - {teacher: answers, annotation.granularity: null}
comparisons:
  - {a: {annotation.granularity: 3}, b: {annotation.granularity: 1}}
  - {a: {annotation.granularity: 3, training.loss: plain}, b: {teacher: answers}}
  - {a: {teacher: answers}, b: base}
"""


def planned(folder: Path, text: str = STUDY, overrides: dict[str, Any] | None = None) -> Plan:
    file = folder / "sample.yaml"
    file.write_text(text, encoding="utf-8")
    return plan(load_study(file, overrides))


def test_the_grid_is_crossed_and_controls_stand_beside_it(tmp_path: Path) -> None:
    arms = planned(tmp_path).arms
    assert {name: len(cells) for name, cells in arms.items()} == {
        **{
            f"{student} solver granularity={level} loss={loss}": 2
            for student in ("small", "large")
            for level in (1, 3)
            for loss in ("plain", "weighted")
        },
        **{f"{student} answers": 2 for student in ("small", "large")},
        **{f"{student} base": 1 for student in ("small", "large")},
    }


def test_a_cell_is_the_run_of_its_factors(tmp_path: Path) -> None:
    cells = {(cell.arm, cell.seed): cell for cell in planned(tmp_path).cells}
    cell = cells["large solver granularity=3 loss=weighted", 1]
    assert cell.factors == {
        "student": "large",
        "teacher": "solver",
        "annotation.granularity": 3,
        "training.loss": "weighted",
    }
    config = cell.config
    assert (config.student.model, config.teacher.kind, config.annotation.granularity, config.seed) == (
        str(tmp_path / "large"),
        "procedural",
        3,
        1,
    )
    assert config.training is not None
    assert (config.training.loss[0].weight, config.training.epochs) == (2.0, 1.0)
    control = cells["large answers", 1].config
    assert (control.teacher.kind, control.annotation.granularity) == ("answer_only", None)
    assert cells["large base", 0].config.training is None


def test_ids_tell_cells_apart_and_stay_the_same(tmp_path: Path) -> None:
    ids = [cell.id for cell in planned(tmp_path).cells]
    assert len(set(ids)) == len(ids)
    more = planned(tmp_path, overrides={"grid.seed": [0, 1, 2]})
    assert set(ids) < {cell.id for cell in more.cells}
    changed = planned(tmp_path, overrides={"training.epochs": 2})
    assert {cell.id for cell in changed.cells} & set(ids) == {
        cell.id for cell in changed.cells if cell.config.training is None
    }


def test_a_control_is_named_by_what_it_alone_has(tmp_path: Path) -> None:
    text = STUDY.replace("students: {small: ./small, large: ./large}", "students: {small: ./small}")
    text = text.replace("granularity: null}\n", "granularity: null}\n  - {teacher: solver, task.num_train: 10}\n")
    names = set(planned(tmp_path, text).arms)
    assert {"solver num_train=10", "answers", "base"} < names
    assert "solver granularity=1 loss=plain" in names


def test_comparisons_are_between_arms_that_agree_on_the_rest(tmp_path: Path) -> None:
    pairs = {(pair.declared, pair.a, pair.b) for pair in planned(tmp_path).comparisons}
    students, losses = ("small", "large"), ("plain", "weighted")
    assert pairs == {
        *(
            (0, f"{s} solver granularity=3 loss={loss}", f"{s} solver granularity=1 loss={loss}")
            for s in students
            for loss in losses
        ),
        *((1, f"{s} solver granularity=3 loss=plain", f"{s} answers") for s in students),
        *((2, f"{s} answers", f"{s} base") for s in students),
    }


def test_a_resolved_study_plans_to_the_same_from_any_folder(tmp_path: Path) -> None:
    before = planned(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "resolved.yaml"
    file.write_text(to_yaml(before.study), encoding="utf-8")
    assert plan(load_study(file)) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("teacher: [solver]", "teacher: [solvr]", "unknown teacher 'solvr' in grid; did you mean 'solver'?"),
        ("{teacher: answers}}", "{teacher: answrs}}", "unknown teacher 'answrs' in comparisons.1.b"),
        ("annotation.granularity: [1, 3]", "annotation.granularty: [1, 3]", "did you mean 'granularity'?"),
        ("seed: [0, 1]", "seed: 3", "axis 'seed' needs a list of values"),
        ("seed: [0, 1]", "seed: [1, 1]", "axis 'seed' names a value twice"),
        ("b: base}", "b: {trainin: null}}", "no arm has the factor 'trainin'; did you mean 'training'?"),
        ("training.loss: plain}", "training.loss: plan}", "no arm has 'plan' for training.loss; did you mean 'plain'?"),
        ("granularity: 1}}", "granularity: 2}}", "no arm has '2' for annotation.granularity; known: 1, 3, none"),
        ("b: base}", "b: {teacher: answers, annotation.granularity: 1}}", "no arm has all of these factors"),
        ("controls:", "control:", "unknown key 'control'; did you mean 'controls'?"),
        ("training: {epochs: 1}", "training: {epochs: 1}\n  student: small", "name it in students"),
        ("small: ./small", "small: 'arm:other'", "arm:NAME is for run files"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place_and_the_nearest_name(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in STUDY
    with pytest.raises(ConfigError) as raised:
        planned(tmp_path, STUDY.replace(old, new))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_override_of_an_axis_names_the_grid(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set grid\.annotation\.granularity"):
        planned(tmp_path, overrides={"annotation.granularity": 2})


def study_files() -> list[Path]:
    return [file for file in sorted(RECIPES.glob("*/*.yaml")) if "grid" in yaml.safe_load(file.read_text("utf-8"))]


@pytest.mark.parametrize("file", study_files(), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_study_in_recipes_can_be_planned(file: Path) -> None:
    assert plan(load_study(file)).cells


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
