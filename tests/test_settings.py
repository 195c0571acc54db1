"""``cotdistill settings`` knows every key of an experiment file, because it reads them from the settings; so does the
schema for editors, which accepts what we run and refuses what is misspelt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cotdistill.cli.settings import Setting, _find, described, rows, section_keys, settings
from cotdistill.config import CellConfig, Experiment, TrainingConfig, experiment_of
from cotdistill.config.files import read_yaml
from cotdistill.config.schema import file_schema
from cotdistill.errors import ConfigError
from cotdistill.experiments.plan import plan

ROOT = Path(__file__).parents[1]
FILES = [file for file in sorted((ROOT / "recipes").rglob("*.yaml")) if "\narms:" in f"\n{file.read_text('utf-8')}"]
VALIDATOR = jsonschema.Draft202012Validator(file_schema())


def test_every_key_of_the_files_is_listed() -> None:
    text = described("")
    for name in (*CellConfig.model_fields, *(name for name in Experiment.model_fields if name != "settings")):
        assert f"  {name}: " in text


def test_every_key_has_a_type_a_meaning_and_an_example() -> None:
    lacking = {
        f"{model.__name__}.{name}"
        for key in section_keys()
        for model in _find(key)[0]
        for name in model.model_fields
        if (model.__name__, name) != ("Experiment", "settings")
        and not ((found := Setting.of(model, name)).type and found.meaning and found.example not in (None, "", [], {}))
    }
    assert not lacking


def test_every_example_is_one() -> None:
    """It fits the type of its own key, as an editor sees it."""
    schema = file_schema()
    for key in section_keys():
        for model in _find(key)[0]:
            if model.__name__ == "Experiment":
                continue
            own = model.model_json_schema()
            for name in model.model_fields:
                node = {**own["properties"][name], "$defs": own.get("$defs", {})}
                example = json.loads(json.dumps(Setting.of(model, name).example))
                jsonschema.Draft202012Validator(node).validate(example)
    assert schema["properties"]["grid"]["$ref"]


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("training", [f"  {name}: " for name in TrainingConfig.model_fields]),
        ("training", ["examples per optimizer step", "see: cotdistill settings training.loss"]),
        ("training.loss", ["kind: forward_kl", "temperature: 1.0", "kind: cross_entropy", "or a list of these"]),
        ("task", ["columns: {}", "test_share: 0.2", "kinds: "]),
        ("teacher", ["kind: human", "kind: openai", "base_url: null"]),
        ("student", ["keep_layers: null  # whole number from 1 or null"]),
        ("comparisons", ["a: (required)", "e.g. [{a: rationales, b: answers}]"]),
        ("arms", ["arms: {}  # mapping; ", "e.g. {answers: {teacher: answer_only}, rationales: {}}"]),
        ("grid", ["grid: {}  # mapping; axes", "e.g. {seed: [0, 1, 2]}", "values: (required)"]),
        ("arms.mine.training.epochs", ["arms.mine.training.epochs: 3.0  # number above 0; how often"]),
        ("grid.training.epochs", ["grid.training.epochs: 3.0  # number above 0; how often"]),
        ("training.loss.0.weight", ["training.loss.0.weight: 1.0  # number above 0"]),
        ("training.schedule", ["e.g. linear"]),
    ],
)
def test_a_section_or_key_has_what_there_is_to_know(key: str, parts: list[str]) -> None:
    text = " ".join(described(key).split())
    for part in parts:
        assert " ".join(part.split()) in text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("traning", "unknown setting 'traning'; did you mean 'training'?"),
        ("granularity", "unknown setting 'granularity'; did you mean 'annotation.granularity'?"),
        ("training.epoch", "unknown setting 'training.epoch'; did you mean 'epochs'?"),
        (
            "training.epochs.first",
            "unknown setting 'training.epochs.first'; the key above it holds a value, not settings",
        ),
    ],
)
def test_what_is_no_section_is_one_line(key: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        described(key)
    assert str(raised.value) == f"settings: {message}"


def test_json_has_a_row_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    settings("training", schema=False, as_json=True)
    found = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(found) == {"training", *(f"training.{name}" for name in TrainingConfig.model_fields)}
    assert found["training.epochs"]["default"] == str(TrainingConfig().epochs)
    assert found["training.epochs"]["meaning"]
    assert found == {row["key"]: row for row in json.loads(json.dumps(rows("training")))}


def test_the_schema_is_one_and_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    settings(schema=True)
    printed = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed == json.loads(json.dumps(file_schema()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_schema_accepts_our_files_and_refuses_what_is_misspelt_in_them(file: Path) -> None:
    values = _plain(read_yaml(file))
    VALIDATOR.validate(values)
    accepted = [place for place, changed in _mutated(values) if VALIDATOR.is_valid(changed)]
    assert not accepted


SHORT: list[dict[str, Any]] = [
    {"task": "own.csv"},
    {"task": "gsm8k"},
    {"task": "procedural"},
    {"task": "own.csv", "arms": {"a": {"task.columns.question": "prompt"}}},
    {"task": {"train": "own.csv", "columns": {"question": "prompt"}}},
    {"task": {"hub": "openai/gsm8k", "subset": "main"}},
    {"task": {"name": "procedural", "num_train": 5}},
    {"task": {"num_train": 5}},
    {"teacher": "human"},
    {"training": None},
    {"training": {"loss": "forward_kl", "signal": {"model": "x"}}},
    {"training": {"loss": {"kind": "forward_kl"}, "signal": {"kind": "cache", "model": "x"}}},
    {"annotation": {"compress": {"keep_first": 0.5}, "perturbation": "shuffled"}},
    {"evaluation": {"engine": "transformers", "tasks": ["svamp", "own.csv"]}},
    {"student": {"model": "x", "template": {"enable_thinking": False}}},
    {"arms": {"a": None, "b": {"training.epochs": 1, "teacher": "answer_only"}}},
    {"grid": {"seed": [0, 1], "student": {"small": "x", "large": "y"}, "training.epochs": {"of": "a", "values": [1]}}},
    {"comparisons": [{"a": "x", "b": {"training.epochs": 1}}]},
]


@pytest.mark.parametrize("values", SHORT, ids=lambda values: json.dumps(values)[:60])
def test_the_schema_accepts_what_is_written_in_short_and_so_do_we(values: dict[str, Any], tmp_path: Path) -> None:
    VALIDATOR.validate(values)
    whole = {"name": "short", "task": "procedural", "student": "builtin:nano-student"} | deepcopy(values)
    if "grid" in values:
        whole["arms"] = {"a": {}}
    if "comparisons" not in values:
        assert plan(experiment_of(whole, None, where="short", folder=tmp_path)).cells


@pytest.mark.parametrize(
    "values",
    [
        {"studnet": "x"},
        {"training": {"epoch": 1}},
        {"training": {"epochs": "many"}},
        {"training": {"epochs": 0}},
        {"training": {"schedule": "cosin"}},
        {"training": {"loss": "forward_k"}},
        {"training": {"loss": {"temperature": 2}}},
        {"training": {"signal": {"store": "topk", "model": "x"}}},
        {"teacher": "humans"},
        {"teacher": "openai"},
        {"task": "gsm9k"},
        {"arms": {"a": {"training.epoch": 1}}},
        {"arms": {"a": {"training.epochs": "many"}}},
        {"arms": ["a"]},
        {"grid": {"seed": 1}},
        {"grid": {"sed": [1]}},
        {"grid": {"training.epochs": {"of": "a", "values": ["many"]}}},
        {"comparisons": [{"a": "x"}]},
    ],
    ids=json.dumps,
)
def test_the_schema_refuses_what_we_refuse(values: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(values)


def _plain(values: Any) -> Any:
    """As an editor sees it: all keys are texts."""
    return json.loads(json.dumps(values, default=str))


FREE = {"arms", "grid", "comparisons", "columns", "settings", "shares", "teachers", "template", "extra_body"}
"""Mappings whose keys are the user's, or which may be made of any axis."""


def _mutated(values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The file with one key misspelt, or one number made a text, at each place where it can be told."""
    for place, key in _places(values, ()):
        changed = deepcopy(values)
        inner = changed
        for step in place:
            inner = inner[step]
        if isinstance(inner[key], int | float) and not isinstance(inner[key], bool):
            inner[key] = "many"
            yield f"{place} {key}: many", changed
        else:
            inner[f"{key}x"] = inner.pop(key)
            yield f"{place} {key}x", changed


def _places(values: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            if not FREE & {*place, key}:
                yield place, key
                yield from _places(value, (*place, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _places(value, (*place, index))
