"""A key that is pasted where a name or an address belongs is refused before anything is written, and not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command

from cotdistill.config import CachedTeacher, OpenAITeacher, ServerSettings
from cotdistill.config.validation import validated
from cotdistill.errors import ConfigError

SECRET = "s3cr3tMARKER"
ADDRESSES = [
    f"http://user:{SECRET}@127.0.0.1:9/v1",
    f"http://{SECRET}@127.0.0.1:9/v1",
    f"http://127.0.0.1:9/v1?key={SECRET}",
    f"http://127.0.0.1:9/v1#{SECRET}",
    f"http://127.0.0.1:9/v1;key={SECRET}",
    f"http://127.0.0.1:{SECRET}/v1",
    f"http:user:{SECRET}@host/v1",
    f"user:{SECRET}@host/v1",
    f"http://127.0.0.1:9/v1 {SECRET}",
    f"http://127.0.0.1:9/v1\\{SECRET}",
    f"http://[{SECRET}/v1",
    f"ftp://{SECRET}/v1",
    SECRET,
]
NAMES: list[Any] = [
    f"sk-{SECRET}",
    f"hf_{SECRET}",
    f"sk_live_{SECRET}",
    f"Bearer {SECRET}",
    f"MY_KEY={SECRET}",
    f"${SECRET}",
    [SECRET],
    {"key": SECRET},
    "AKIA0123456789S3CR3TMARKER",
]


def test_names_and_addresses_that_hold_nothing_secret() -> None:
    for address in ("https://api.example.org/v1", "http://127.0.0.1:8000", "http://[::1]:8000/v1", None):
        assert ServerSettings(base_url=address).base_url == address
    for name in ("OPENAI_API_KEY", "KEY2", "MISTRALAPIKEYFORTEACHERS"):
        assert ServerSettings(api_key_variable=name).api_key_variable == name


@pytest.mark.parametrize("model", [OpenAITeacher, ServerSettings, CachedTeacher])
@pytest.mark.parametrize(
    "setting",
    [
        *({"base_url": address} for address in ADDRESSES),
        *({"api_key_variable": name} for name in NAMES),
        {"extra_body": {"api_key": SECRET}},
        {"api_key": SECRET},
    ],
    ids=str,
)
def test_no_section_of_a_server_takes_a_key(model: type[Any], setting: dict[str, Any]) -> None:
    values: dict[str, Any] = {"base_url": "http://localhost/v1", "model": "m"} | setting
    if model is CachedTeacher:
        values = {"model": "m", "store": "topk", "server": values}
    elif model is ServerSettings:
        del values["model"]
    with pytest.raises(ConfigError) as refusal:
        validated(model, values, where="run.yaml")
    assert SECRET not in str(refusal.value)


PLACES = [
    "teacher: {kind: openai, model: m, SETTING}",
    "teacher: {model: m, SETTING}",
    "evaluation: {engine: {kind: openai, SETTING}}\ntraining: null",
    "training: {signal: {kind: cache, model: m, store: topk, server: {model: m, SETTING}}}",
    "teacher: {kind: openai, model: m}\narms: {a: {teacher.KEY: 'VALUE'}}",
    "teacher: {kind: openai, model: m}\ngrid: {teacher.KEY: ['VALUE']}",
    "teacher: {kind: openai, model: m}\ngrid: {teacher.KEY: {one: 'VALUE'}}",
    "arms: {a: {}}\ngrid: {teacher.KEY: {of: a, values: ['VALUE']}}",
    "arms: {a: {}}\ncomparisons: [{a: {teacher.KEY: 'VALUE'}, b: base}]",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("key", "value"), [("api_key_variable", f"sk-{SECRET}"), ("base_url", f"http://h/v1#{SECRET}")], ids=["name", "url"]
)
def test_a_command_refuses_it_and_writes_nothing(tmp_path: Path, place: str, key: str, value: str) -> None:
    text = place.replace("SETTING", f"{key}: '{value}'").replace("KEY", key).replace("VALUE", value)
    (tmp_path / "k.yaml").write_text(f"task: procedural\nstudent: builtin:nano-student\n{text}\n", encoding="utf-8")
    for command in ("annotate", "run"):
        outcome = run_command(tmp_path, command, "k.yaml")
        assert outcome.status == 2
        assert outcome.err.startswith("cotdistill: ")
        assert key in outcome.err
        assert outcome.err.count("\n") == 1
        assert SECRET not in outcome.err + outcome.out
        assert not (tmp_path / "runs").exists()


def test_a_key_in_an_override_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "k.yaml").write_text("task: procedural\nstudent: builtin:nano-student\n", encoding="utf-8")
    outcome = run_command(tmp_path, "plan", "k.yaml", "--set", f"teacher.api_key_variable=sk-{SECRET}")
    assert outcome.status == 2
    assert "--set: teacher.api_key_variable is not the name of an environment variable" in outcome.err
    assert SECRET not in outcome.err
