"""Half a character, which JSON can hold and UTF-8 cannot, passes from a server through every command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.annotation.teachers.faulty_server import FaultyServer
from tests.command import run_command

HALF = "\ud800"
KEY = {"OPENAI_API_KEY": "x"}


def write_rows(path: Path) -> None:
    rows = [{"question": f"Ann has {100 + n} beads and finds {n}. How many?", "answer": 100 + 2 * n} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def commands_end_well(lab: Path, *commands: tuple[object, ...]) -> None:
    for command in commands:
        outcome = run_command(lab, *command, environment=KEY)
        assert outcome.status == 0, f"{command} {outcome.err}"
        assert "Traceback" not in outcome.err, (command, outcome)


def test_in_outputs_of_a_server(tmp_path: Path) -> None:
    write_rows(tmp_path / "own.jsonl")
    with FaultyServer(lambda prompt: f"The answer is 101.{HALF}") as server:
        (tmp_path / "e.yaml").write_text(
            f"task: {{train: own.jsonl, test_share: 0.5}}\nstudent: m\ntraining: null\n"
            f"evaluation: {{engine: {{kind: openai, base_url: '{server.url}'}}, max_new_tokens: 20}}\n"
            "arms: {a: {}, b: {evaluation.max_new_tokens: 30}}\ncomparisons: [{a: a, b: b}]\n",
            encoding="utf-8",
        )
        commands_end_well(tmp_path, ("run", "e.yaml"))
    (tmp_path / "half.jsonl").write_text(json.dumps({HALF: HALF}), encoding="utf-8")
    one, other = sorted(tmp_path.glob("runs/evaluation/*"))
    for command in (
        ("show", one),
        ("audit", one),
        ("flips", one, other, "--items"),
        ("show", "half.jsonl"),
        ("report", "e.yaml"),
    ):
        commands_end_well(tmp_path, command, (*command, "--json"))
    commands_end_well(tmp_path, ("effect", "builtin:nano-student", one))


def test_in_what_a_student_is_trained_on(tmp_path: Path) -> None:
    write_rows(tmp_path / "own.jsonl")
    with FaultyServer(lambda prompt: f"It is so.{HALF} The answer is 101.") as server:
        (tmp_path / "e.yaml").write_text(
            f"task: {{train: own.jsonl, test_share: 0.5}}\nstudent: builtin:nano-student\n"
            f"teacher: {{kind: openai, model: m, base_url: '{server.url}'}}\nannotation: {{keep: all}}\n"
            "training: {epochs: 1, dtype: float32}\nevaluation: {max_new_tokens: 4, dtype: float32}\n",
            encoding="utf-8",
        )
        commands_end_well(tmp_path, ("annotate", "e.yaml"), ("run", "e.yaml"))
