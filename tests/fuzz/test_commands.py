"""Whatever is in a file, the command that reads it succeeds or ends in one line."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.bounded import BOUNDED, CELL, PIECES
from tests.fuzz.test_files import CUTS, mutated, sound_file

from cotdistill.cli import main
from cotdistill.config import CellConfig

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(900)]

SOUND = """
question: Do they help?
task: {train: own.jsonl, test: own.csv, columns: {question: question}, num_train: 8}
student: builtin:nano-student
teacher: {kind: openai, model: m, base_url: "http://localhost:9/v1", sampling: {seed: 7}, limits: {max_cost: 1}}
annotation: {granularity: 3, format: cot, keep: all}
training:
  epochs: 1
  loss: [{kind: forward_kl, weight: 0.5}, {kind: cross_entropy}]
  signal: {kind: cache, model: builtin:nano-teacher, store: topk, k: 5}
  adapter: {rank: 4, target_modules: auto}
evaluation: {max_new_tokens: 20, tasks: [{train: own.jsonl}, {kind: procedural, kinds: [navigate], num_test: 4}]}
arms:
  base: {training: null}
  levels: {}
  human: {teacher: human, training.epochs: 2}
  first: {training.epochs: 3}
  second: {student: "arm:first"}
grid:
  seed: [0, 1]
  annotation.granularity: {of: levels, values: [1, 3]}
  training.learning_rate: {of: [human], values: {low: 1.0e-5, high: 1.0e-3}}
comparisons:
  - {a: human, b: base}
  - {a: {arm: levels, annotation.granularity: 3}, b: {arm: levels, annotation.granularity: 1}}
resources: {num_cpus: 1}
"""
"""A sound file with every kind of section."""

KEYS = st.sampled_from(
    [*CellConfig.model_fields, "arms", "grid", "comparisons", "kind", "model", "values", "of", "name", "folder",
     "figures", "training.epochs", "grid.seed", "arm", "a.b.c", ".", "", "x", "é", "\x1b[31m", "__class__", "a" * 300]
)  # fmt: skip
STRANGE = st.sampled_from(
    ["", " ", "null", "~", "~nosuchuser/x", "./gone.jsonl", "/", ".", "..", "own.jsonl", "own.csv", "x.py:f", "x.py:",
     "arm:base", "arm:levels", "arm:", "arm:arm:x", "builtin:", "builtin:nano-teacher", "human", "answer_only",
     "openai", "procedural", "svamp", "cache", "live", "http://h/v1", "\x00", "\x1b[2J", "\ud800", "\u202e", "é" * 300,
     "a\nb", "${HOME}", "{{7*7}}", "[bold]", "%s", "-", "--help", "2026-13-45", "1e999", "0x10", "yes"]
)  # fmt: skip
NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 0.5, -0.0, 1e-45, 1e300, 1e308, float("nan"), float("inf"), 2**31, 2**63, -(2**63), 10**30, 10**400,
     10**4200]
)  # fmt: skip
VALUES = st.one_of(STRANGE, NUMBERS, st.none(), st.booleans(), CELL, st.lists(st.one_of(STRANGE, NUMBERS), max_size=4))
CHANGE = st.tuples(
    st.sampled_from(["set", "delete", "add", "rename", "wrap", "copy"]), st.integers(0, 10**6), KEYS, VALUES
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("commands")
    for name in ("own.jsonl", "own.csv"):
        (place / name).write_bytes(sound_file(place / name))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield place


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in ``value`` with each of its keys or indices, from the top."""
    if isinstance(value, dict):
        here = [(value, key) for key in value]
    elif isinstance(value, list):
        here = [(value, index) for index in range(len(value))]
    else:
        return []
    return here + [place for _, key in here for place in places(value[key])]


def changed(values: dict[str, Any], changes: list[tuple[str, int, str, Any]]) -> dict[str, Any]:
    values = copy.deepcopy(values)
    for how, number, name, new in changes:
        found = places(values)
        if not found:
            return {name: new}
        holder, key = found[number % len(found)]
        if how == "set":
            holder[key] = new
        elif how == "delete":
            del holder[key]
        elif how == "wrap":
            holder[key] = {name: holder[key]}
        elif how == "copy":
            other, place = found[number // 7 % len(found)]
            with contextlib.suppress(KeyError, IndexError):  # what a change before has taken away
                holder[key] = copy.deepcopy(other[place])
        elif isinstance(holder, dict):
            holder[name] = holder.pop(key) if how == "rename" else new
    return values


def ends_well(*arguments: str) -> int:
    """The exit status of a command, in this process: it succeeds, or ends in one line, and nothing that it prints acts
    on a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cotdistill", *arguments])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
    lines = err.getvalue().splitlines()
    assert status in (0, 2)
    assert sum(line.startswith("cotdistill: ") for line in lines) == (status == 2)
    if status == 2:
        assert out.getvalue() == ""
        assert lines[-1].startswith("cotdistill: ")
    assert all(character >= " " or character == "\n" for character in out.getvalue() + err.getvalue())
    return status


def test_the_files_that_are_changed_are_sound(folder: Path) -> None:
    (folder / "run.yaml").write_text(SOUND, encoding="utf-8")
    assert ends_well("plan", "run.yaml") == 0


@settings(BOUNDED, max_examples=1400)
@given(st.lists(CHANGE, min_size=1, max_size=3))
def test_experiment_files_with_other_values(folder: Path, changes: list[tuple[str, int, str, Any]]) -> None:
    values = changed(yaml.safe_load(SOUND), changes)
    (folder / "run.yaml").write_text(json.dumps(values), encoding="utf-8")
    ends_well("plan", "run.yaml")


@settings(BOUNDED, max_examples=600)
@given(CUTS)
def test_experiment_files_with_other_bytes(folder: Path, cuts: list[tuple[float, int, bytes]]) -> None:
    (folder / "run.yaml").write_bytes(mutated(SOUND.encode(), cuts))
    ends_well("plan", "run.yaml", "--json")


@settings(BOUNDED, max_examples=300)
@given(st.lists(st.tuples(KEYS, st.one_of(PIECES, VALUES.map(repr))), min_size=1, max_size=3))
def test_overrides_of_anything(folder: Path, overrides: list[tuple[str, str]]) -> None:
    (folder / "sound.yaml").write_text(SOUND, encoding="utf-8")
    words = [f"{key}={value}".replace("\x00", "").encode("utf-8", "replace").decode() for key, value in overrides]
    ends_well("plan", "sound.yaml", *(word for text in words for word in ("--set", text)))


@settings(BOUNDED, max_examples=120)
@given(CUTS)
@pytest.mark.parametrize("name", ["m.jsonl", "m.json", "m.csv", "m.tsv", "m.parquet", "m.jsonl.gz", "m.csv.gz"])
def test_data_files_with_other_bytes(folder: Path, name: str, cuts: list[tuple[float, int, bytes]]) -> None:
    path = folder / name
    path.write_bytes(mutated(sound_file(path), cuts))
    text = f"task: {{train: {name}}}\nstudent: builtin:nano-student\nteacher: human\n"
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    ends_well("plan", "data.yaml")
