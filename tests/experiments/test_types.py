"""An experiment goes on in the type that it began in, on whatever machine, and its keys say which that is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.tiny import save_tiny

from cotdistill.config import Experiment
from cotdistill.config.experiment import experiment_of, load_experiment
from cotdistill.errors import ConfigError
from cotdistill.experiments.plan import plan
from cotdistill.experiments.run import run_experiment
from cotdistill.experiments.types import FILE, settle_types, type_line
from cotdistill.experiments.work import Work
from cotdistill.models.load.products import VARIABLE


def experiment(folder: Path, **settings: object) -> Experiment:
    if not (folder / "student").exists():
        save_tiny(folder / "student")
    values = {
        "name": "typed",
        "task": {"kind": "procedural", "kinds": ["boolean_expressions"], "num_train": 8, "num_test": 4},
        "teacher": "procedural",
        "student": "./student",
        "training": {"batch_size": 4, "max_length": 512},
        "evaluation": {"max_new_tokens": 2},
        "arms": {"taught": {}, "base": {"training": None}},
    }
    return experiment_of({**values, **settings}, where="test", folder=folder)


def types_of_stages(runs: Path) -> dict[str, set[str]]:
    found = {}
    for noun in ("training", "evaluation"):
        identities = [json.loads(file.read_text()) for file in runs.glob(f"{noun}/*/identity.json")]
        found[noun] = {row["training"]["dtype"] if noun == "training" else row["dtype"] for row in identities}
    return found


def test_another_machine_goes_on_in_the_type_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, file = tmp_path / "runs", experiment(tmp_path)
    monkeypatch.setenv(VARIABLE, "bfloat16")
    run_experiment(file, Work(runs, lambda line: None, "train"), arm="taught")
    assert load_experiment(runs / "typed" / FILE).auto_dtype == "bfloat16"
    monkeypatch.setenv(VARIABLE, "float32")
    assert type_line(file, runs) == "dtype: auto is bfloat16 (the experiment was begun in it)"
    result = run_experiment(file, Work(runs, lambda line: None))
    assert not result.failed
    assert types_of_stages(runs) == {"training": {"torch.bfloat16"}, "evaluation": {"torch.bfloat16"}}
    assert len(list(runs.glob("training/*/metrics.jsonl"))) == 1, "the student of the first machine was used"


def test_what_the_user_says_wins_and_the_cells_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "bfloat16")
    plain = experiment(tmp_path)
    settled = settle_types(plain, tmp_path / "runs")
    assert [cell.id for cell in plan(settled).cells] == [cell.id for cell in plan(plain).cells]
    said = experiment(tmp_path, training={"dtype": "float32"}, evaluation={"dtype": "float32"})
    (taught, base) = plan(settle_types(said, tmp_path / "runs")).cells
    assert taught.config.training is not None
    assert (taught.config.training.dtype, base.config.evaluation.dtype) == ("float32", "float32")


def test_an_experiment_is_not_continued_in_another_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "float32")
    run_experiment(experiment(tmp_path), Work(tmp_path / "runs", lambda line: None), arm="base")
    with pytest.raises(ConfigError, match="auto_dtype is bfloat16, but the experiment was begun in float32"):
        run_experiment(experiment(tmp_path, auto_dtype="bfloat16"), Work(tmp_path / "runs", lambda line: None))
