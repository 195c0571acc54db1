"""Between a command and the world: whatever the disk, the terminal or the launcher does, it ends in one line."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.command import run_command

from cotdistill.errors import CotDistillError, line_of, printable

FILE = "task: {train: own.jsonl}\nstudent: builtin:nano-student\nteacher: human\ntraining: {epochs: 1}\n"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    rows = [
        {"id": n, "question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."}
        for n in range(40)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(FILE, encoding="utf-8")
    return tmp_path


def one_line(lab: Path, *arguments: object, environment: dict[str, str] | None = None) -> str:
    outcome = run_command(lab, *arguments, environment=environment)
    assert outcome.status == 2, outcome
    assert outcome.err.startswith("cotdistill: "), outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err


# ---- files ----


def test_errors_of_files_name_the_file(lab: Path) -> None:
    (lab / "file").write_text("", encoding="utf-8")
    (lab / "folder.jsonl").mkdir()
    (lab / "circle").symlink_to("circle")
    (lab / "pipe.yaml").symlink_to("circle")
    long = "x" * 300
    for place, *arguments in [
        ("file", "annotate", "mine.yaml", "--runs", "file/runs"),
        ("file", "annotate", "mine.yaml", "--runs", "file"),
        ("circle", "annotate", "mine.yaml", "--runs", "circle/runs"),
        (long, "annotate", "mine.yaml", "--runs", long),
        (long, "plan", long),
        ("pipe.yaml", "plan", "pipe.yaml"),
        ("folder.jsonl", "show", "folder.jsonl"),
        (long, "show", long),
        ("circle", "show", "circle"),
        ("circle", "import", "cot_collection", "circle"),
        (long, "import", "cot_collection", "own.jsonl", "--out", long),
        ("file", "import", "cot_collection", "own.jsonl", "--out", "file/x.jsonl"),
        ("mine.yaml", "reproduce-check", "mine.yaml"),
        (long, "audit", long),
        ("file", "export", "file", "--to", "lm-eval", "--out", "x"),
    ]:
        assert place in one_line(lab, *arguments), arguments


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written(lab: Path) -> None:  # pragma: no cover
    (lab / "own.jsonl").chmod(0)
    assert "own.jsonl" in one_line(lab, "plan", "mine.yaml")


@pytest.mark.parametrize(
    "path",
    ["./" + "x" * 300, "./a\0b", "./\ud800", "~nosuchuser/x", "./own.jsonl/x", "/" + "x/" * 3000, "./circle"],
    ids=["long", "null", "surrogate", "user", "below a file", "deep", "circle"],
)
def test_paths_in_a_file_that_no_file_can_have(lab: Path, path: str) -> None:
    (lab / "circle").symlink_to("circle")
    text = json.dumps(path)
    for key, value in {
        "task": f"{{train: {text}}}",
        "student": text,
        "evaluation": f"{{reader: {json.dumps(path + '/read.py:read')}}}",
    }.items():
        settings = {"task": "own.jsonl", "student": "builtin:nano-student"} | {key: value}
        (lab / "mine.yaml").write_text(
            "".join(f"{key}: {value}\n" for key, value in settings.items()), encoding="utf-8"
        )
        one_line(lab, "run", "mine.yaml")


def test_a_line_for_what_a_user_can_act_on_and_none_for_bugs() -> None:
    assert line_of(CotDistillError("x", where="y")) == "y: x"
    assert line_of(PermissionError(errno.EACCES, "Permission denied", "a\nb")) == "a\\nb: Permission denied"
    assert line_of(ConnectionError("first\nsecond")) == "first"
    assert line_of(MemoryError()) == "out of memory; use a smaller model or smaller batches"
    assert line_of(ValueError("x")) is None
    assert line_of(KeyError("x")) is None


# ---- terminals ----


def test_nothing_acts_on_a_terminal() -> None:
    text = "a\x1b[31m\x1b]0;x\x07\x9b1m\x7f\b\r\n\t\u202e\u2066\u2028\ud800 é中\u200d😀"
    shown = printable(text)
    assert shown.endswith(" é中\u200d😀")
    assert shown.isprintable() or shown.replace("\u200d", "").isprintable()
    assert json.loads(f'"{shown}"') == text
    assert str(CotDistillError(text, where=text, remedy=text)).count("\\u001b") == 6


def test_names_and_keys_are_escaped_too(lab: Path) -> None:
    red = "\x1b[31m\x07"
    rows = [{f"a{red}": 1, "b": red, "c": [{red: red}]}]
    (lab / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (lab / f"own{red}.jsonl").write_bytes((lab / "own.jsonl").read_bytes())
    (lab / "mine.yaml").write_text(
        "name: x\ntask: " + json.dumps({"train": f"own{red}.jsonl", "name": f"t{red}"}) + "\n"
        "student: builtin:nano-student\n" + json.dumps(f"k{red}") + ": 1\n",
        encoding="utf-8",
    )
    (lab / "arms.yaml").write_text(
        json.dumps(
            {
                "task": {"train": f"own{red}.jsonl", "name": f"t{red}"},
                "student": "builtin:nano-student",
                "arms": {f"arm{red}": {}, "base": {"training": None}},
                "comparisons": [{"a": f"arm{red}", "b": "base"}],
            }
        ),
        encoding="utf-8",
    )
    for arguments in (
        ("show", "rows.jsonl"),
        ("show", "rows.jsonl", "--json"),
        ("plan", "mine.yaml"),
        ("plan", "arms.yaml"),
        ("plan", "arms.yaml", "--json"),
        ("report", "arms.yaml"),
        ("annotate", "arms.yaml"),
        ("run", "arms.yaml", "--arm", red),
        ("settings", red),
        ("show", red),
    ):
        outcome = run_command(lab, *arguments)
        assert "Traceback" not in outcome.err, outcome.err
        assert "\x1b" not in outcome.out + outcome.err, arguments
        assert "\x07" not in outcome.out + outcome.err, arguments


def in_a_new_python(lab: Path, *arguments: str, out: int | None = None, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", "cotdistill", *arguments],
        cwd=lab,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE if out is None else out,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_a_terminal_that_cannot_show_a_character(lab: Path, environment: dict[str, str]) -> None:
    (lab / "rows.jsonl").write_text('{"é": "中 😀", "half": "\\ud83d"}\n', encoding="utf-8")
    shown = in_a_new_python(lab, "show", "rows.jsonl", **environment)
    assert shown.returncode == 0, shown.stderr
    assert rb"\xe9: \u4e2d \U0001f600" in shown.stdout
    assert rb"\ud83d" in shown.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_an_output_that_cannot_be_written(lab: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        outcome = in_a_new_python(lab, "plan", "mine.yaml", out=full.fileno())
    assert outcome.returncode == 2
    assert outcome.stderr.decode().endswith("cotdistill: No space left on device\n")


# ---- launchers ----


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORLD_SIZE", "two"), ("WORLD_SIZE", "-1"), ("WORLD_SIZE", "1e3"), ("WORLD_SIZE", "9" * 5000),
        ("RANK", "abc"), ("RANK", "2"), ("RANK", ""), ("LOCAL_RANK", "x"), ("MASTER_PORT", "99999"),
        ("MASTER_PORT", "x"),
    ],
)  # fmt: skip
def test_variables_that_no_launcher_sets(lab: Path, variable: str, value: str) -> None:
    launched = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    line = one_line(lab, "plan", "mine.yaml", environment=launched | {variable: value})
    assert f"launcher: {variable} is '{value}', not a number from " in line
    assert line.endswith("unset WORLD_SIZE\n")
