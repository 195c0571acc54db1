"""Parts of the user's own: the documentation's example, run, and what is said of a part that cannot be used."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command

from cotdistill.config import Part, TrainingConfig, identity, validated
from cotdistill.errors import CotDistillError

PAGE = Path(__file__).parents[1] / "docs" / "own-parts.md"
BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A folder with the files of the documentation's examples."""
    for name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_example_of_the_documentation_runs(example: Path) -> None:
    outcome = run_command(example, "run", "own.yaml")
    assert outcome.status == 0, outcome.err
    runs = example / "runs"
    (annotation,) = (runs / "annotation").glob("*/rationales.jsonl")
    rows = [json.loads(line) for line in annotation.read_text(encoding="utf-8").splitlines()]
    assert (len(rows), rows[0]["question"]) == (19, "What is 11 plus 22?")
    assert (rows[0]["teacher"], rows[0]["meta"]["teacher_agrees"]) == ("by_hand", True)
    assert rows[0]["rationale"] == "Add 22 to 11.\n11 + 22 = 33"
    assert (runs / "own" / "figures" / "words.svg").is_file()
    assert len(list((runs / "training").glob("*/manifest.json"))) == 2
    (evaluation, *_) = (runs / "evaluation").glob("*/predictions.jsonl")
    predictions = [json.loads(line) for line in evaluation.read_text().splitlines()]
    assert len(predictions) == 3
    for one in predictions:
        assert one["extracted"] in (None, one["output"].split()[-1].rstrip("."))


def test_a_teacher_is_asked_with_a_prompt_of_the_users_own(example: Path) -> None:
    outcome = run_command(example, "annotate", "asked.yaml")
    assert outcome.status == 0, outcome.err
    (log,) = (example / "runs" / "completions").glob("*/completions.jsonl")
    assert len(log.read_text().splitlines()) == 5, outcome.err
    (example / "prompts.py").write_text("def short(question, granularity, format, gold):\n    return str(gold)\n")
    run_command(example, "annotate", "asked.yaml")
    assert len(log.read_text().splitlines()) == 6, "each question is asked the same, and asked again"


def loss_config(folder: Path, kind: str, **settings: Any) -> TrainingConfig:
    values = {
        "loss": [{"kind": kind, "settings": settings}],
        "signal": {"kind": "live", "model": "builtin:nano-teacher"},
    }
    return validated(TrainingConfig, values, where="training", folder=folder)


def test_what_is_made_with_a_part_is_keyed_by_its_source_and_not_by_its_place(tmp_path: Path) -> None:
    def key(folder: str, constant: int = 1, other: str = "") -> Any:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "numbers.py").write_text(f"K = {constant}\n")
        (tmp_path / folder / "unrelated.py").write_text(other)
        (tmp_path / folder / "mine.py").write_text("from numbers import K\ndef loss(p, q):\n    return p * K\n")
        return identity(loss_config(tmp_path / folder, "mine.py:loss"))

    # a module of the standard library's name that lies beside the part is the part's own
    assert key("a") == key("b") == key("a", other="x = 1\n")
    assert key("a") != key("a", constant=2)


def test_a_broken_import_or_one_from_above_is_said_where_the_part_is_used(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def (\n")
    own = part(tmp_path, "from ... import above\nimport helper\ndef loss(p):\n    return p\n")
    assert own.identity["name"] == "loss"
    with pytest.raises(CotDistillError, match="cannot be imported"):
        own.load()


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("mine.py:los", "did you mean 'loss'?"),
        ("yours.py:loss", "no such file"),
        ("no_such_module:loss", "module 'no_such_module' cannot be found"),
        ("broken.py:loss", "line 2: not valid Python"),
    ],
)
def test_a_part_that_is_not_there_is_refused_in_one_line(tmp_path: Path, kind: str, problem: str) -> None:
    (tmp_path / "mine.py").write_text("def loss(p, q):\n    return p\n")
    (tmp_path / "broken.py").write_text("def loss(p, q):\n    return (\n")
    with pytest.raises(CotDistillError) as error:
        loss_config(tmp_path, kind)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def part(folder: Path, text: str) -> Part:
    (folder / "mine.py").write_text(text)
    return Part(f"{folder / 'mine.py'}:loss")


def test_a_part_that_takes_other_values_is_refused_before_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(CotDistillError, match=r"cannot be called .* write a function of \(log_p, log_q, beta\)"):
        part(tmp_path, "def loss(p):\n    return p\n").check("log_p", "log_q", settings={"beta": 1})


def test_an_error_in_a_part_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(CotDistillError, match=r"mine\.py, line 2: loss raised ZeroDivisionError"):
        part(tmp_path, "def loss(p):\n    return p / 0\n").call(1)
