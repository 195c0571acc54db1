"""Run files: resolved as written, or refused in one line that names key, value and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.config import load_run, parse_overrides, to_yaml
from cotdistill.errors import ConfigError

RUN = """
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


def test_arms_override_the_base_by_dotted_keys(tmp_path: Path) -> None:
    run = load_run(write(tmp_path, RUN))
    assert list(run.arms) == ["base", "cot"]
    assert run.arms["base"].training is None
    assert run.arms["cot"].annotation.granularity == 4
    assert run.arms["cot"].training is not None
    assert run.arms["cot"].training.epochs == 1
    assert run.name == tmp_path.name


def test_overrides_reach_every_arm_but_not_an_arm_that_trains_nothing(tmp_path: Path) -> None:
    run = load_run(write(tmp_path, RUN), parse_overrides(["training.epochs=7", "seed=3"]))
    assert run.arms["cot"].training is not None
    assert run.arms["cot"].training.epochs == 7
    assert run.arms["base"].training is None
    assert {arm.seed for arm in run.arms.values()} == {3}


def test_an_override_that_names_an_arm_also_beats_what_the_arm_sets(tmp_path: Path) -> None:
    text = "task: svamp\nstudent: m\narms: {a: {task: bbh}, b: {}, b.c: {task: gsm8k}}\n"
    overrides = parse_overrides(["task.num_test=9", "arms.a.task.num_test=5", "arms.b.c.task.num_test=7"])
    arms = load_run(write(tmp_path, text), overrides).arms
    assert [(arm.task.name, arm.task.num_test) for arm in arms.values()] == [("bbh", 5), ("svamp", 9), ("gsm8k", 7)]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("arms.cott.seed=1", ["arms.cott.seed", "did you mean 'cot'?"]),
        ("task.num_test=9", ["'task.num_test' changes nothing", "--set arms.base.task.num_test=9"]),
    ],
)
def test_an_override_that_would_change_nothing_is_refused(tmp_path: Path, setting: str, words: list[str]) -> None:
    text = "student: m\ntraining: null\narms: {base: {task: svamp}, cot: {task: gsm8k}}\n"
    with pytest.raises(ConfigError) as caught:
        load_run(write(tmp_path, text), parse_overrides([setting]))
    assert all(word in str(caught.value) for word in words)


def test_a_setting_of_a_section_that_is_a_bare_name_can_be_overridden(tmp_path: Path) -> None:
    text = "task: svamp\nteacher: human\nstudent: some/model\n"
    overrides = parse_overrides(["task.num_train=5", "student.keep_layers=2"])
    arm = load_run(write(tmp_path, text), overrides).arms["run"]
    assert (arm.task.name, arm.task.num_train) == ("svamp", 5)
    assert (arm.student.model, arm.student.keep_layers) == ("some/model", 2)
    arm = load_run(write(tmp_path, "task: my.csv\nstudent: m\n"), {"task.num_test": 3}).arms["run"]
    assert (arm.task.train, arm.task.num_test) == (tmp_path / "my.csv", 3)


def test_what_was_resolved_reads_back_as_itself(tmp_path: Path) -> None:
    run = load_run(write(tmp_path, RUN))
    text = to_yaml(run.arms["cot"])
    assert load_run(write(tmp_path, text)).arms["run"] == run.arms["cot"]


def test_paths_are_relative_to_the_run_file(tmp_path: Path) -> None:
    run = load_run(write(tmp_path, "task: {name: svamp, data_dir: data}\nstudent: some/model\n"))
    assert run.arms["run"].task.data_dir == tmp_path / "data"
    run = load_run(write(tmp_path, "task: questions.csv\nstudent: some/model\n"))
    assert run.arms["run"].task.train == tmp_path / "questions.csv"
    run = load_run(write(tmp_path, "task: svamp\nstudent: ./my-model\n"))
    assert run.arms["run"].student.model == str(tmp_path / "my-model")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("task: svamp\nstudent: x\ntraning: {}", ["'traning'", "did you mean 'training'?"]),
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
        (RUN.replace("b: base", "b: bse"), ["'bse'", "did you mean 'base'?"]),
        (RUN.replace("annotation.granularity", "annotation.granularty"), ["arm cot", "did you mean 'granularity'?"]),
    ],
)
def test_a_bad_run_file_is_refused_in_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        load_run(path)
    line = str(raised.value)
    assert "\n" not in line
    for part in [str(path), *parts]:
        assert part in line


def test_a_missing_run_file_and_a_bad_override_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_run(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="expected KEY=VALUE, found 'seed'"):
        parse_overrides(["seed"])
