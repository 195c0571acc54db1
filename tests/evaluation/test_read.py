"""Finished evaluations are read by one reader, which refuses what was altered, for every command."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stages import alter_a_byte, finished_evaluation

from cotdistill.cli import main
from cotdistill.errors import DataError
from cotdistill.evaluation.read import QUESTIONS, read_evaluation
from cotdistill.evaluation.stored import OUTCOMES, PREDICTIONS
from cotdistill.records import Prediction, Question
from cotdistill.storage.stages import open_stage

ASKED = [Question(f"q{n}", "own", "test", "How many?", str(n), "number") for n in range(4)]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    predictions = [Prediction(q.id, q.task, q.answer, "The answer is 1.", "1", "wrong", 9, 9) for q in ASKED]
    a, b = (finished_evaluation(tmp_path / name, ASKED, predictions) for name in "ab")
    return a, b


COMMANDS = {
    "audit": ["a"],
    "flips": ["b", "a"],
    "power": ["b", "a"],
    "effect": ["builtin:nano-student", "a"],
    "export": ["a", "--to", "lm-eval", "--out", "out"],
    "show": ["a"],
}


@pytest.mark.parametrize(
    ("command", "file"),
    [(name, file) for name in COMMANDS for file in (PREDICTIONS, QUESTIONS, OUTCOMES)][:-1],  # which show does not show
)
def test_a_command_refuses_an_altered_evaluation_in_one_line(
    two: tuple[Path, Path],
    command: str,
    file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, _ = two
    alter_a_byte(a / file)
    monkeypatch.chdir(a.parent)
    monkeypatch.setattr("sys.argv", ["cotdistill", command, *COMMANDS[command]])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    remedy = "delete a and run again; only this stage and what depends on it are made again"
    assert printed.err == f"cotdistill: a/{file}: the checksum differs from the manifest's; {remedy}\n"


def test_a_folder_of_another_stage_is_no_evaluation(tmp_path: Path, two: tuple[Path, Path]) -> None:
    with open_stage(tmp_path, "training", {}) as stage:
        stage.finish({}, seeds={}, dropped={})
    with pytest.raises(
        DataError, match="this is a stage of training, not an evaluation; give the folder of an evaluation"
    ):
        read_evaluation(stage.path)
    assert [one.id for one in read_evaluation(two[0]).predictions] == [one.id for one in ASKED]
