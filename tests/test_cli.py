"""The command line: bad input costs one line and nothing else, output is for people or for programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.command import Outcome, run_command
from tests.tiny import save_tiny

GOOD: dict[str, Any] = {
    "task": {"train": "train.jsonl", "test": "test.jsonl"},
    "teacher": "human",
    "student": "./student",
    "training": {"epochs": 1, "batch_size": 4, "dtype": "float32"},
    "evaluation": {"max_new_tokens": 8, "dtype": "float32"},
}


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "question": f"Ann has {n} apples and gets {n + 1} more. How many has she now?",
            "answer": str(2 * n + 1),
            "rationale": f"{n} and {n + 1} make {2 * n + 1}.",
        }
        for n in range(first, first + count)
    ]


def write_rows(path: Path, content: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")


LONG = {"question": "Ann counts 1 2 3 " * 200 + ". What comes next?", "answer": "4", "rationale": "After 3 comes 4."}
LONG_TEST = {"question": "Ben says 7 8 9 " * 200 + ". And then?", "answer": "10", "rationale": None}
"""More tokens than the tiny models have positions."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, questions, an experiment file, and the experiment finished below ``runs``."""
    folder = tmp_path_factory.mktemp("lab")
    save_tiny(folder / "student")
    save_tiny(folder / "stranger", chat=True)
    write_rows(folder / "train.jsonl", rows(1, 8))
    write_rows(folder / "test.jsonl", rows(101, 4))
    write_rows(folder / "long.jsonl", [*rows(1, 5), LONG])
    (folder / "empty.jsonl").write_text("\n\n")
    (folder / "malformed.jsonl").write_text('{"question": "1 + 1?", "answer": 2}\n{"question": "2 + 2?", answer: 4}\n')
    shutil.copytree(folder / "student", folder / "damaged")
    weights = folder / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    write_run(folder / "good.yaml", {})
    outcome = run_command(folder, "run", "good.yaml")
    assert outcome.status == 0, outcome.err
    return folder


def write_run(path: Path, changes: dict[str, Any]) -> None:
    values = {key: value | changes.get(key, {}) if isinstance(value, dict) else value for key, value in GOOD.items()}
    values |= {key: value for key, value in changes.items() if not isinstance(GOOD.get(key), dict)}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def finished(folder: Path) -> dict[str, bytes]:
    """Everything that was there before a command: the user's files and the finished stages, without locks."""
    kept = (file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith("."))
    return {str(file): file.read_bytes() for file in kept}


def assert_one_line(outcome: Outcome, parts: list[str]) -> None:
    assert outcome.status == 2, outcome
    assert outcome.err.startswith("cotdistill: ")
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.out == ""
    for part in parts:
        assert part in outcome.err


KD = {"loss": [{"kind": "forward_kl"}], "signal": {"kind": "live", "model": "./stranger"}}

BAD_RUNS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "misspelt key": ({"training": {"epoch": 2}}, ["'training.epoch'", "did you mean 'epochs'?"]),
    "malformed line": ({"task": {"train": "malformed.jsonl"}}, ["malformed.jsonl, line 2: ", "fix or delete"]),
    "empty test set": ({"task": {"test": "empty.jsonl"}}, ["empty.jsonl: no rows; give at least one"]),
    "no such model": ({"student": "./absent"}, ["absent: no such model folder; give a folder with config.json"]),
    "no model folder": ({"student": "./runs"}, ["runs: there are no safetensors or GGUF weights"]),
    "other tokenizer": ({"training": KD}, ["tokens differ between teacher", "a teacher of the student's family"]),
    "unknown teacher": ({"teacher": "humans"}, ["unknown kind 'humans'; did you mean 'human'?"]),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_a_bad_run_is_refused_in_one_line_before_anything_is_done(lab: Path, name: str) -> None:
    changes, parts = BAD_RUNS[name]
    write_run(lab / "bad.yaml", changes)
    before = finished(lab)
    outcome = run_command(lab, "run", "bad.yaml")
    assert_one_line(outcome, parts)
    after = finished(lab)
    assert {path: after.get(path) for path in before} == before


LATE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a rationale over the limit": (
        {"task": {"train": "long.jsonl"}, "training": {"too_long": "error", "max_length": 400}},
        ["rationale ", "exceed training.max_length (400)", "or set training.too_long: drop"],
    ),
    "all over the limit": ({"training": {"max_length": 8}}, ["all 8 exceed training.max_length (8)"]),
    "longer than the model": (
        {"task": {"train": "long.jsonl"}, "training": {"max_length": 4096}},
        ["more than the student's 512 positions", "set training.max_length: 512"],
    ),
    "no room to answer": ({"evaluation": {"max_new_tokens": 512}}, ["lower evaluation.max_new_tokens"]),
    "damaged weights": ({"student": "./damaged"}, ["damaged: its model cannot be read"]),
}


@pytest.mark.parametrize("name", LATE)
def test_what_shows_late_is_one_line_of_the_cell_that_it_stops(lab: Path, name: str) -> None:
    changes, parts = LATE[name]
    write_run(lab / "late.yaml", changes)
    outcome = run_command(lab, "run", "late.yaml", "--runs", "late")
    assert outcome.status == 1
    failed = [line for line in outcome.out.splitlines() if line.startswith("failed: ")]
    assert all(any(part in line for line in failed) for part in parts), outcome
    assert "Traceback" not in outcome.err + outcome.out
    alone = run_command(lab, "train" if "evaluation" not in changes else "evaluate", "late.yaml", "--runs", "late")
    *_, line = alone.err.splitlines()
    assert_one_line(Outcome(alone.status, alone.out, line + "\n"), parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "absent.yaml"], ["absent.yaml: no such file"]),
        (["run", "student"], ["student: no such file"]),
        (["run", "good.yaml", "--set", "training.epochs"], ["--set: expected KEY=VALUE"]),
        (["run", "good.yaml", "--set", "training.epoch=2"], ["'training.epoch'", "did you mean 'epochs'?"]),
        (["run", "good.yaml", "--runs", "train.jsonl"], ["train.jsonl/", "choose another --runs"]),
        (["train", "good.yaml", "--arm", "studnt"], ["--arm: unknown arm 'studnt'; did you mean 'student'?"]),
        (["show", "absent"], ["absent: no artifact here"]),
        (["show", "malformed.jsonl"], ["malformed.jsonl, line 2"]),
    ],
)
def test_a_bad_argument_is_refused_in_one_line(lab: Path, arguments: list[str], parts: list[str]) -> None:
    assert_one_line(run_command(lab, *arguments), parts)


@pytest.mark.parametrize("offline", [True, False])
def test_a_model_that_no_network_can_name_is_refused_within_seconds(lab: Path, offline: bool) -> None:
    """Where the hub is switched off, and where it cannot be reached: nothing listens behind this proxy.

    Most of the time that is allowed here is for a crowded machine to load the libraries.
    """
    write_run(lab / "hub.yaml", {"student": "no-such-organisation/no-such-model"})
    unreachable = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")
    environment = os.environ | ({"HF_HUB_OFFLINE": "1"} if offline else unreachable)
    command = [sys.executable, "-m", "cotdistill", "run", "hub.yaml"]
    done = subprocess.run(command, cwd=lab, env=environment, capture_output=True, text=True, timeout=240, check=False)
    parts = ["no-such-organisation/no-such-model: ", "give a folder with config.json and model.safetensors"]
    assert_one_line(Outcome(done.returncode, done.stdout, done.stderr), parts)


def test_what_does_not_fit_is_counted_where_it_is_seen(lab: Path) -> None:
    """A rationale over the limit is dropped from training; a prompt over it is scored as truncated; both are said."""
    write_rows(lab / "long-test.jsonl", [*rows(101, 5), LONG_TEST])
    task = {"train": "long.jsonl", "test": "long-test.jsonl"}
    write_run(lab / "long.yaml", {"task": task, "training": {"max_length": 400}})
    outcome = run_command(lab, "run", "long.yaml", "--runs", "long", "--json")
    assert outcome.status == 0
    assert "student, seed 0: dropped from training: 1 too long" in outcome.err
    assert "student, seed 0: not asked and counted as truncated: 1 prompt too long" in outcome.err
    arm = json.loads(outcome.out)["arms"]["student"]["seeds"]["0"]
    assert arm["n"] == 6
    assert arm["truncated"] >= 1
    dropped = [json.loads(path.read_text())["dropped"] for path in sorted(lab.glob("long/*/*/manifest.json"))]
    tokens_and_training = ["{'too_long': 1}"] * 2
    questions_and_rationales = ["{}"] * 2
    assert sorted(map(str, dropped)) == ["{'prompt_too_long': 1}"] * 2 + tokens_and_training + questions_and_rationales


def test_nothing_but_our_own_lines_is_written(lab: Path) -> None:
    """Libraries have progress bars and warnings of their own, which would bury ours."""
    outcome = run_command(lab, "run", "good.yaml", "--runs", "quiet")
    assert outcome.status == 0
    said = [
        r"base: evaluate \S+/student, untrained",
        r"1/2 done: base done \(.*\); about .* left",
        r"student, seed 0: train \S+/student on 8 rationales",
        r"student, seed 0: evaluate \S+/quiet/training/\w+/student",
        r"2/2 done: student, seed 0 done \(.*\)",
    ]
    for line, pattern in zip(outcome.err.splitlines(), said, strict=True):
        assert re.fullmatch(pattern, line)
    assert outcome.out.startswith("good: 2 done, 0 failed, 0 missing\n")
    assert "\narm " in outcome.out


@pytest.mark.parametrize("command", ["run", "report", "annotate", "train", "evaluate", "run --dry-run"])
def test_json_is_all_that_is_written_to_standard_output(lab: Path, command: str) -> None:
    verb, *options = command.split()
    outcome = run_command(lab, verb, "good.yaml", *options, "--json")
    assert outcome.status == 0
    assert json.loads(outcome.out)


def test_a_dry_run_writes_nothing(lab: Path) -> None:
    outcome = run_command(lab, "run", "good.yaml", "--dry-run", "--runs", "dry")
    assert outcome.status == 0
    planned = run_command(lab, "plan", "good.yaml", "--runs", "dry").out
    *lines, lengths, response = outcome.out.splitlines()
    *known, estimated = planned.splitlines()
    assert lines == known
    assert response == "response of student: plain"
    assert re.fullmatch(r"lengths of student: all examples fit into 512 tokens \(the longest has \d+\)", lengths)
    assert estimated.endswith(", estimated from 8 rationales)")
    assert "missing  student, seed 0" in outcome.out
    assert not (lab / "dry").exists()


def test_a_dry_annotation_says_what_it_would_ask_and_cost_and_writes_nothing(lab: Path) -> None:
    teacher = "teacher={kind: openai, model: gpt-4o}"  # no key is needed to plan
    outcome = run_command(lab, "annotate", "good.yaml", "--dry-run", "--runs", "dry", "--set", teacher, "--json")
    assert outcome.status == 0, outcome.err
    planned = json.loads(outcome.out)["student"]
    assert (planned["questions"], planned["requests"], planned["finished"]) == (8, 8, False)
    assert planned["cost"] == pytest.approx((planned["input_tokens"] * 2.5 + planned["output_tokens"] * 10) / 1e6)
    assert not (lab / "dry").exists()


@pytest.mark.parametrize("command", ["annotate", "train", "evaluate"])
def test_a_single_command_checks_every_arm_before_it_begins(lab: Path, command: str) -> None:
    """The teacher's vocabulary is not the student's, which a run would say only after it had collected rationales."""
    signal = "training.signal={kind: live, model: ./stranger}"
    loss = "training.loss=[{kind: forward_kl}]"
    outcome = run_command(lab, command, "good.yaml", "--runs", "checked", "--set", signal, "--set", loss)
    assert outcome.status == 2
    assert "vocabular" in outcome.err
    assert not (lab / "checked").exists()


def test_settings_on_the_command_line_override_the_file(lab: Path) -> None:
    planned = run_command(lab, "plan", "good.yaml", "--json", "--set", "seed=7")
    assert [(cell["arm"], cell["seed"]) for cell in json.loads(planned.out)["cells"]] == [("base", 7), ("student", 7)]
    trained = run_command(lab, "train", "good.yaml", "--json", "--set", "training.epochs=3", "--runs", "longer")
    assert json.loads(trained.out)["student"]["num_steps"] == 6


def test_show_reads_any_artifact(lab: Path) -> None:
    stage = next((lab / "runs" / "evaluation").iterdir())
    for path, part in ((lab / "runs" / "good", "accuracy"), (stage, "verdict"), (lab / "train.jsonl", "Ann has 1 app")):
        assert part in run_command(lab, "show", path).out
        assert json.loads(run_command(lab, "show", path, "--json").out)


def test_show_lets_no_control_character_reach_the_terminal(lab: Path) -> None:
    write_rows(lab / "hostile.jsonl", [{"output": "red \x1b[31m bell \x07 back \b\r over \u202e turned \u2028"}])
    shown = run_command(lab, "show", "hostile.jsonl").out
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "\\u001b[31m" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "Missing argument 'EXPERIMENT.YAML'"),
        (("run", "a.yaml", "--jbos", "2"), "No such option: --jbos (Possible options: --jobs"),
        (("rnu",), "No such command 'rnu'. Did you mean 'run'?"),
        (("run", "a.yaml", "--jobs", "x"), "Invalid value for '--jobs'"),
    ],
)
def test_a_command_that_is_written_wrongly_is_one_line_that_says_where_help_is(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    outcome = run_command(tmp_path, *words)
    assert (outcome.status, outcome.err.count("\n"), outcome.out) == (2, 1, "")
    assert outcome.err.startswith(f"cotdistill: {said}")
    assert outcome.err.rstrip().endswith("--help")
