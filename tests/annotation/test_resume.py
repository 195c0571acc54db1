"""An annotation that is killed goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.command import new_process

from cotdistill.annotation import annotate
from cotdistill.config import AnnotationConfig, HumanTeacher, OwnTeacher, Padded, Teacher
from cotdistill.config.selection import GranularityMix
from cotdistill.records import Question

NUM_QUESTIONS = 60
TEACHER = """
import os
from pathlib import Path

calls, deadly = Path("FOLDER/calls"), Path("FOLDER/deadly")

def teach(question, granularity, format):
    if deadly.exists() and calls.exists() and len(calls.read_text().split()) == 45:
        os.kill(os.getpid(), 9)
    with calls.open("a") as file:
        file.write(question.id + "\\n")
    return None if question.id.endswith("3") else f"At level {granularity} it is {question.answer}."
"""


def question(number: int) -> Question:
    text = None if number % 7 == 3 else f"We add: 1 + {number} = {1 + number + (number % 5 == 2)}. \u00e9\u2028"
    return Question(f"q{number}", "own", "train", f"What is 1 + {number}?", f"{1 + number}", "number", None, text)


class Deadly(tuple[Question, ...]):
    """Questions that kill the process that goes through them once ``runs`` holds so many collected lines."""

    runs: Path
    lines: int

    def __iter__(self) -> Iterator[Question]:
        for one in super().__iter__():
            if sum(len(log.read_bytes().splitlines()) for log in self.runs.glob(LOGS)) >= self.lines:
                os.kill(os.getpid(), signal.SIGKILL)
            yield one


LOGS = "annotation/*/*.collected.tmp"


def make(runs: Path, teacher: Teacher, annotation: AnnotationConfig, questions: Sequence[Question]) -> None:
    annotate(questions, teacher, annotation, runs=runs, evaluation=[question(5)])


def make_and_die(runs: Path, teacher: Teacher, annotation: AnnotationConfig, lines: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # verified by this process, each before the next is read
    questions = Deadly(map(question, range(NUM_QUESTIONS)))
    questions.runs, questions.lines = runs, lines
    make(runs, teacher, annotation, questions)


def killed(runs: Path, teacher: Teacher, annotation: AnnotationConfig, lines: int) -> None:
    process = new_process(make_and_die, runs, teacher, annotation, lines)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def content(runs: Path) -> dict[str, bytes]:
    (folder,) = (runs / "annotation").iterdir()
    names = {path.name for path in folder.iterdir()} - {".lock", ".owner", "manifest.json"}
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("keep", ["all", "verified"])
def test_peoples_rationales_are_collected_from_where_a_kill_left_them(tmp_path: Path, keep: str) -> None:
    annotation = AnnotationConfig(keep=keep)  # type: ignore[arg-type]
    make(tmp_path / "whole", HumanTeacher(), annotation, [question(number) for number in range(NUM_QUESTIONS)])
    runs = tmp_path / "killed"
    for lines in (10, 41):
        killed(runs, HumanTeacher(), annotation, lines)
        (log,) = runs.glob(LOGS)
        assert len(log.read_bytes().splitlines()) == lines
        with log.open("ab") as torn:
            torn.write(b'{"id": "q10", "task": "o')
    make(runs, HumanTeacher(), annotation, [question(number) for number in range(NUM_QUESTIONS)])
    assert content(runs) == content(tmp_path / "whole")
    assert {"rationales.jsonl", "dropped.jsonl", "summary.json", "identity.json"} == content(runs).keys()


@pytest.mark.parametrize(
    "annotation",
    [
        AnnotationConfig(),
        AnnotationConfig(selection=GranularityMix(shares={2: 1.0, 4: 1.0})),
        AnnotationConfig(perturbation=Padded(num_words=30), max_total_words=300),
    ],
    ids=["plain", "selection", "changed"],
)
def test_a_function_is_not_called_again_for_what_it_has_written(tmp_path: Path, annotation: AnnotationConfig) -> None:
    (tmp_path / "own.py").write_text(TEACHER.replace("FOLDER", str(tmp_path)))
    teacher = OwnTeacher.model_validate({"function": f"{tmp_path / 'own.py'}:teach"})
    questions = [question(number) for number in range(NUM_QUESTIONS)]
    calls, deadly = tmp_path / "calls", tmp_path / "deadly"
    deadly.touch()
    process = new_process(make, tmp_path / "killed", teacher, annotation, questions)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    deadly.unlink()
    make(tmp_path / "killed", teacher, annotation, questions)
    asked = calls.read_text().split()
    assert len(asked) == len(set(asked)) == NUM_QUESTIONS - 1  # without that of the evaluation
    make(tmp_path / "whole", teacher, annotation, questions)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
