"""Experiment files: resolved as written, or refused in one line that names key, value and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import (
    CellConfig,
    EvaluationConfig,
    ForwardKL,
    OnPolicy,
    identity,
    load_experiment,
    parse_overrides,
    validated,
)
from cotdistill.config.files import written_yaml
from cotdistill.errors import ConfigError
from cotdistill.experiments.plan import plan

FILE = """
task: svamp
student: builtin:smollm2-135m
training: {epochs: 1}
arms:
  base: {training: null}
  cot: {teacher: {kind: dataset, teacher: chatgpt}, annotation.granularity: 4}
comparisons: [{a: cot, b: base}]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def cells(folder: Path, text: str, overrides: dict[str, Any] | None = None) -> dict[str, CellConfig]:
    """The settings of each cell by the name of its arm; the file has one seed."""
    return {cell.arm: cell.config for cell in plan(load_experiment(write(folder, text), overrides)).cells}


def test_arms_override_the_settings_by_dotted_keys(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, FILE))
    arms = cells(tmp_path, FILE)
    assert list(experiment.arms) == list(arms) == ["base", "cot"]
    assert arms["base"].training is None
    assert arms["cot"].annotation.granularity == 4
    assert arms["cot"].training is not None
    assert arms["cot"].training.epochs == 1
    assert experiment.name == tmp_path.name


def test_a_file_without_arms_has_one_and_the_untrained_student(tmp_path: Path) -> None:
    arms = cells(tmp_path, "task: svamp\nstudent: m\n")
    assert [(name, config.training is None) for name, config in arms.items()] == [("base", True), ("student", False)]
    assert list(cells(tmp_path, "task: svamp\nstudent: m\ntraining: null\n")) == ["base"]


def test_the_untrained_student_is_added_where_no_arm_tests_it(tmp_path: Path) -> None:
    text = "task: svamp\nstudent: m\narms: {teacher: {student: t, training: null}, taught: {}}\n"
    assert list(cells(tmp_path, text)) == ["base", "teacher", "taught"]
    assert list(cells(tmp_path, text.replace("taught: {}", "start: {training: null}"))) == ["teacher", "start"]
    with pytest.raises(ConfigError, match="the arm 'base' is not the untrained student; give it another name"):
        cells(tmp_path, text.replace("taught", "base"))


def test_overrides_reach_every_arm_but_not_an_arm_that_trains_nothing(tmp_path: Path) -> None:
    arms = cells(tmp_path, FILE, parse_overrides(["training.epochs=7", "seed=3"]))
    assert arms["cot"].training is not None
    assert (arms["cot"].training.epochs, arms["cot"].seed) == (7, 3)
    assert arms["base"].training is None


def test_an_override_that_names_an_arm_also_beats_what_the_arm_sets(tmp_path: Path) -> None:
    text = "task: svamp\nstudent: m\ntraining: null\narms: {a: {task: bbh}, b: {}, b.c: {task: gsm8k}}\n"
    overrides = parse_overrides(["task.num_test=9", "arms.a.task.num_test=5", "arms.b.c.task.num_test=7"])
    found = [(config.task.name, config.task.num_test) for config in cells(tmp_path, text, overrides).values()]
    assert found == [("bbh", 5), ("svamp", 9), ("gsm8k", 7)]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("arms.cott.seed=1", ["arms.cott.seed", "did you mean 'cot'?"]),
        ("task.num_test=9", ["'task.num_test' changes nothing", "--set arms.base.task.num_test=9"]),
        ("seed=1", ["'seed' is an axis of the grid", "set grid.seed=[...]"]),
    ],
)
def test_an_override_that_would_change_nothing_is_refused(tmp_path: Path, setting: str, words: list[str]) -> None:
    text = "student: m\ntraining: null\narms: {base: {task: svamp}, cot: {task: gsm8k}}\ngrid: {seed: [0]}\n"
    with pytest.raises(ConfigError) as caught:
        load_experiment(write(tmp_path, text), parse_overrides([setting]))
    assert all(word in str(caught.value) for word in words)


def test_an_override_of_an_axis_keeps_the_arms_that_it_is_for(tmp_path: Path) -> None:
    text = FILE + "grid: {annotation.granularity: {of: base, values: [1]}}\n"
    experiment = load_experiment(write(tmp_path, text), parse_overrides(["grid.annotation.granularity=[2, 3]"]))
    assert experiment.grid["annotation.granularity"].of == ("base",)
    assert experiment.grid["annotation.granularity"].values == [2, 3]


def test_a_setting_of_a_section_that_is_a_bare_name_can_be_overridden(tmp_path: Path) -> None:
    text = "task: svamp\nteacher: human\nstudent: some/model\n"
    config = cells(tmp_path, text, parse_overrides(["task.num_train=5", "student.keep_layers=2"]))["student"]
    assert (config.task.name, config.task.num_train) == ("svamp", 5)
    assert (config.student.model, config.student.keep_layers) == ("some/model", 2)
    config = cells(tmp_path, "task: my.csv\nstudent: m\n", {"task.num_test": 3})["student"]
    assert (config.task.train, config.task.num_test) == (tmp_path / "my.csv", 3)


def test_what_was_resolved_reads_back_as_itself(tmp_path: Path) -> None:
    config = cells(tmp_path, FILE)["cot"]
    text = written_yaml(config.model_dump(mode="json"))
    assert cells(tmp_path, text)["student"] == config


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    found = cells(tmp_path, "task: {name: svamp, data_dir: data}\nstudent: some/model\n")
    assert found["student"].task.data_dir == tmp_path / "data"
    found = cells(tmp_path, "task: questions.csv\nstudent: some/model\n")
    assert found["student"].task.train == tmp_path / "questions.csv"
    found = cells(tmp_path, "task: svamp\nstudent: ./my-model\n")
    assert found["student"].student.model == str(tmp_path / "my-model")


def test_an_identity_holds_what_changes_a_result_and_nothing_else() -> None:
    """Speed, price and places are in none, and what is at its default is left out, but for its kind."""
    server: dict[str, Any] = {"kind": "openai", "model": "m"}
    values: dict[str, Any] = {"task": {"name": "svamp", "data_dir": "here"}, "teacher": server, "student": "s"}
    config = validated(CellConfig, values, where="test")
    assert identity(config) == {
        "task": {"kind": "benchmark", "name": "svamp"},
        "teacher": server,
        "student": {"model": "s"},
    }
    assert identity(config, places=True)["task"]["data_dir"].endswith("/here")
    reached = server | {"limits": {"concurrency": 99, "max_cost": 1}, "api_key_variable": "MY_KEY"}
    same = validated(CellConfig, values | {"teacher": reached, "training": {"checkpoint_every": 3}}, where="test")
    assert identity(same) == identity(config)
    other = validated(CellConfig, values | {"teacher": server | {"sampling": {"seed": 1}}}, where="test")
    assert identity(other)["teacher"]["sampling"] == {"seed": 1}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("task: svamp\nstudent: x\ntraning: {}", ["'traning'", "did you mean 'training'?"]),
        ("task: svamp\nstudent: x\nseeds: [0, 1]", ["'seeds'", "write grid: {seed: [0, 1, 2]}"]),
        ("task: svamp\nstudent: x\ngranularity: 3", ["'granularity'", "did you mean 'annotation.granularity'?"]),
        ("task: svamp\nstudents: {x: x}\nbase: {}", ["'students' belongs to the old study files", "as an arm"]),
        ("task: svamp\nstudent: x\ntraining: {epoch: 1}", ["'training.epoch'", "did you mean 'epochs'?"]),
        ("task: svamp\nstudent: x\ntraining: {epochs: many}", ["'many'", "'training.epochs'", "number"]),
        ("task: svamp\nstudent: x\ntraining: {epochs: .nan}", ["nan", "'training.epochs'"]),
        ("task: svmp\nstudent: x", ["'svmp'", "did you mean 'svamp'?"]),
        ("task: {kind: procedural, kinds: [navigat]}\nstudent: x", ["'navigat'", "did you mean 'navigate'?"]),
        ("task: svamp\nstudent: x\ntraining: {loss: [{kind: forward_lk}]}", ["'forward_lk'", "'forward_kl'?"]),
        ("task: svamp\nstudent: x\ntraining: {loss: [forward_kl]}", ["forward_kl needs a teacher", "signal"]),
        ("task: svamp\nstudent: x\ntraining: {signal: {model: y}}", ["no loss term uses it"]),
        ("task: svamp\nstudent: x\nteacher: {kind: dataset, teacher: gpt}", ["'gpt'", "'chatgpt'"]),
        ("task: svamp", ["'student' is missing"]),
        ("task: [svamp", ["line 1", "YAML"]),
        ("- a list", ["mapping"]),
        (FILE.replace("b: base", "b: bse"), ["comparisons.0.b", "'bse'", "did you mean 'base'?"]),
        (FILE.replace("annotation.granularity", "annotation.granularty"), ["arm cot", "did you mean 'granularity'?"]),
        (FILE + "grid: {seed: {of: cott, values: [0]}}", ["unknown arm 'cott'", "did you mean 'cot'?"]),
        (FILE + "grid: {seed: 3}", ["grid.seed", "needs a list of values", "not 3"]),
        (FILE + "grid: {seed: [1, 1]}", ["lists a value twice"]),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        cells(tmp_path, text)
    line = str(raised.value)
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_a_missing_file_and_a_bad_override_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_experiment(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="expected KEY=VALUE, found 'seed'"):
        parse_overrides(["seed"])


@pytest.mark.parametrize("temperature", [1e-45, 1e-6, 1e300, 2000])
@pytest.mark.parametrize("section", [EvaluationConfig, OnPolicy, ForwardKL])
def test_a_temperature_that_no_logits_can_be_divided_by_is_refused(section, temperature):
    with pytest.raises(ConfigError, match=r"temperature: .+ is not a usable temperature; use 0.001 to 1000"):
        validated(section, {"temperature": temperature}, where="here")
