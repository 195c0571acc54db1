"""``cotdistill settings`` knows every key of an experiment file, because it reads them from the settings."""

from __future__ import annotations

import json

import pytest

from cotdistill.cli.settings import settings
from cotdistill.config import CellConfig, Experiment, TrainingConfig
from cotdistill.errors import ConfigError


def listed(capsys: pytest.CaptureFixture[str], key: str, *, as_json: bool = False) -> str:
    settings(key, as_json)
    return capsys.readouterr().out


def test_every_key_of_the_files_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text = listed(capsys, "")
    for name in (*CellConfig.model_fields, *(name for name in Experiment.model_fields if name != "settings")):
        assert f"  {name}: " in text


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("training", [f"  {name}: " for name in TrainingConfig.model_fields]),
        ("training", ["batch_size: 16  # examples per optimizer step", "see: cotdistill settings training.loss"]),
        ("training.loss", ["kind: forward_kl", "temperature: 1.0", "kind: cross_entropy"]),
        ("task", ["columns: {}", "test_share: 0.2", "kinds: "]),
        ("teacher", ["kind: human", "kind: openai", "base_url: null"]),
        ("student", ["keep_layers: null"]),
        ("comparisons", ["a: (required)"]),
    ],
)
def test_a_section_has_its_keys_defaults_and_meanings(
    capsys: pytest.CaptureFixture[str], key: str, parts: list[str]
) -> None:
    text = listed(capsys, key)
    for part in parts:
        assert part in " ".join(text.split()) or part in text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("traning", "unknown setting 'traning'; did you mean 'training'?"),
        ("training.epoch", "unknown setting 'training.epoch'; did you mean 'epochs'?"),
        (
            "training.epochs.first",
            "unknown setting 'training.epochs.first'; the key above it holds a value, not settings",
        ),
    ],
)
def test_what_is_no_section_is_one_line(capsys: pytest.CaptureFixture[str], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        listed(capsys, key)
    assert str(raised.value) == f"settings: {message}"


def test_one_key_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, "training.epochs").startswith(f"training.epochs: {TrainingConfig().epochs}  # how often")
    assert listed(capsys, "teacher.kind").splitlines()[:2] == ["teacher.kind: dataset", "teacher.kind: human"]
    assert listed(capsys, "training.loss.weight").startswith("training.loss.weight: 1.0  # ")
    assert listed(capsys, "training.batch_size").startswith("training.batch_size: 16  # examples per optimizer step")


def test_json_is_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    (schema,) = json.loads(listed(capsys, "training", as_json=True))
    assert schema["properties"]["epochs"]["default"] == TrainingConfig().epochs
    (schema,) = json.loads(listed(capsys, "training.epochs", as_json=True))
    assert schema["default"] == TrainingConfig().epochs
