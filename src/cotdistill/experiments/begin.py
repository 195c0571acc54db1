"""A first experiment on the user's own questions: what is found in them, and a file that runs as it is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from cotdistill.config import BENCHMARKS, AnyTask, FileTask, ModelConfig
from cotdistill.config.experiment import CellConfig
from cotdistill.config.validation import validated
from cotdistill.errors import ConfigError, DataError, nearest
from cotdistill.experiments.sizes import are_here
from cotdistill.models.load.builtin import NANO
from cotdistill.models.tokens.counting import token_counter
from cotdistill.records import Question
from cotdistill.tasks import Task, load_task
from cotdistill.tasks.columns import likely_column
from cotdistill.tasks.tables import read_table

PROCEDURAL = "procedural"
MOST_TRAIN, MOST_TEST = 1000, 200
"""Questions of a first experiment: minutes, not hours."""
_SAMPLE = 200
_WIDTH = 120
_LEAST_TOKENS, _MOST_TOKENS = 32, 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user says: questions (a file, benchmarks, ``procedural``), who is taught and who teaches.

    ``teacher`` is ``human`` (rationales in the file), ``answer_only``, ``procedural``, or a model: in this process, or
    by its name at the server ``teacher_url``. None: whatever the questions have.
    """

    data: Sequence[str]
    student: str
    test: Path | None = None
    teacher: str | None = None
    teacher_url: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Begun:
    """The text of an experiment file, and what it was made from. ``columns`` are those that were guessed."""

    text: str
    columns: dict[str, str]
    num_train: int | None
    num_test: int | None
    teacher: str


def begin(wanted: Wanted, folder: Path) -> Begun:
    """An experiment for a file in ``folder``. Raises DataError or ConfigError for questions that cannot be used."""
    values = _task_values(wanted, folder)
    guessed: dict[str, str] = {}
    task = None
    if are_here(_task(values, folder)):
        task, guessed = _loaded(values, folder)
    told = task is not None and any(question.human_rationale for question in task.train)
    teacher = wanted.teacher or ("human" if told else PROCEDURAL if _is_procedural(values) else "answer_only")
    if guessed:
        values["columns"] = {**values.get("columns", {}), **guessed}
    if task is not None and not _is_procedural(values):
        values |= {"num_train": MOST_TRAIN} if len(task.train) > MOST_TRAIN else {}
        values |= {"num_test": MOST_TEST} if len(task.test) > MOST_TEST else {}
    sizes = (len(task.train), len(task.test)) if task else (None, None)
    length = _max_new_tokens(task.train, wanted.student) if task else 256
    lines = _lines(wanted, values, teacher, sizes, length)
    return Begun("\n".join(lines) + "\n", guessed, *sizes, teacher)


def _is_procedural(values: Mapping[str, Any]) -> bool:
    return values.get("kind") == PROCEDURAL


def _task_values(wanted: Wanted, folder: Path) -> dict[str, Any]:
    """The task's settings. Raises ConfigError for what is neither a file nor a benchmark."""
    first = wanted.data[0]
    if first == PROCEDURAL:
        return {"kind": PROCEDURAL, "num_train": MOST_TRAIN, "num_test": MOST_TEST}
    if first.removeprefix("hub:") != first:
        return {"hub": first.removeprefix("hub:")}
    if first in BENCHMARKS:
        return {"name": first}
    path = Path(first)
    if not path.exists() and not path.suffix and "/" not in first:
        remedy = nearest(first, (*BENCHMARKS, PROCEDURAL))
        remedy = (
            f"{remedy} or name a file with its ending" if remedy.startswith("did") else "name a file with its ending"
        )
        raise ConfigError("neither a file nor a benchmark", where=first, remedy=remedy)
    values: dict[str, Any] = {"train": _relative(path, folder)}
    if wanted.test:
        values["test"] = _relative(wanted.test, folder)
    return values | ({"columns": dict(wanted.columns)} if wanted.columns else {})


def _relative(path: Path, folder: Path) -> str:
    text = os.path.relpath(path.expanduser(), folder)
    return text if Path(text).suffix or "/" in text else f"./{text}"


def _loaded(values: dict[str, Any], folder: Path) -> tuple[Task, dict[str, str]]:
    """The questions, with the columns that had to be guessed from their names."""
    given = values.get("columns", {})
    try:
        task = load_task(_task(values, folder))
    except DataError as error:
        guessed = _guessed(values, folder, given)
        if not guessed or "no column" not in error.problem:
            raise
        return load_task(_task({**values, "columns": {**given, **guessed}}, folder)), guessed
    if "train" in values and not any(question.human_rationale for question in task.train):
        guessed = {name: column for name, column in _guessed(values, folder, given).items() if name == "rationale"}
        if guessed:
            return load_task(_task({**values, "columns": {**given, **guessed}}, folder)), guessed
    return task, {}


def _task(values: dict[str, Any], folder: Path) -> AnyTask:
    cell = {"task": values, "student": NANO[-1]}
    return validated(CellConfig, cell, where="init", folder=folder).task


def _guessed(values: dict[str, Any], folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Our names of columns that the file lacks, and those of its own that probably mean them."""
    task = _task(values, folder)
    if not isinstance(task, FileTask) or task.train is None:
        return {}
    columns = {column for _, row in islice(read_table(task.train), _SAMPLE) for column in row if column}
    found: dict[str, str] = {}
    for ours in ("question", "answer", "rationale", "choices"):
        if ours not in given and (theirs := likely_column(ours, sorted(columns), {*given.values(), *found.values()})):
            found[ours] = theirs
    return found


def _max_new_tokens(questions: Sequence[Question], student: str) -> int:
    """Room for a quarter more than the longest rationale of a sample, as a multiple of the least."""
    count = token_counter(ModelConfig(model=student))
    texts = [q.human_rationale for q in islice(questions, _SAMPLE) if q.human_rationale]
    if count is None or not texts:
        return 256
    needed = 1.25 * max(count(texts)) + _LEAST_TOKENS
    return min(_MOST_TOKENS, int(-(-needed // _LEAST_TOKENS)) * _LEAST_TOKENS)


def _lines(
    wanted: Wanted, task: dict[str, Any], teacher: str, sizes: tuple[int | None, int | None], max_new_tokens: int
) -> Iterator[str]:
    small, told = wanted.student in NANO, teacher != "answer_only"
    name = Path(wanted.data[0]).name.split(".")[0] or "mine"
    tests = [("  tasks: " + _flow(list(wanted.data)), "all of them are tested on")] if wanted.data[1:] else []
    lines = [
        ("# yaml-language-server: $schema=cotdistill.schema.json", ""),
        ("# Written by cotdistill init. `cotdistill settings KEY` explains every key that may stand here.", ""),
        (f"name: {_flow(name)}", "results go into runs/ under this name"),
        (f"question: {_flow(_QUESTIONS[told])}", ""),
        ("", ""),
        ("# What every arm has, unless it says otherwise.", ""),
        (f"task: {_flow(task)}", _about(task, sizes)),
        _teacher_line(wanted, teacher),
        (f"student: {_flow(wanted.student)}", _SMALL if small else "the model that is trained and tested"),
        ("training:", ""),
        (f"  epochs: {10 if small else 3}", "how often each example is trained on"),
        (f"  learning_rate: {'1.0e-3' if small else '5.0e-5'}", "1.0e-3 suits a nano student, 5.0e-5 larger ones"),
        ("  batch_size: 16", "examples a step"),
        ("  warmup_share: 0.05", "of the steps, in which the rate rises"),
        ("evaluation:", ""),
        *tests,
        (f"  max_new_tokens: {max_new_tokens}", "a longer output is cut and counted as truncated"),
        ("", ""),
        ("# Each arm changes some of the settings above.", ""),
        ("arms:", ""),
        ("  base: {training: null}", "the untrained student"),
        ("  answers: {teacher: answer_only}", ""),
        *([("  rationales: {}", "")] if told else []),
        ("", ""),
        ("# Each arm is made under each of these seeds; with [0, 1, 2] the report says how much seeds matter.", ""),
        ("grid: {seed: [0]}", ""),
        ("", ""),
        ("# What the report tests, declared before anything is run.", ""),
        ("comparisons:", ""),
        *([("  - {a: rationales, b: answers}", ""), ("  - {a: rationales, b: base}", "")] if told else []),
        *([] if told else [("  - {a: answers, b: base}", "")]),
    ]
    return (line for text, comment in lines for line in _with_comment(text, comment))


_SMALL = "trains in seconds; later a hub name, ./a-folder or builtin:smollm2-135m"
_QUESTIONS = {
    True: "Does the student learn more from rationales than from answers alone?",
    False: "What does the student learn from answers alone?",
}


def _about(task: Mapping[str, Any], sizes: tuple[int | None, int | None]) -> str:
    train, test = sizes
    if train is None:
        return "read from $COTDISTILL_DATA or the hub"
    held_out = " (held out)" if "train" in task and "test" not in task else ""
    of = (
        "; delete num_train and num_test to use all"
        if {"num_train", "num_test"} & task.keys() and "train" in task
        else ""
    )
    return f"{train} questions to train on, {test}{held_out} to test on{of}"


def _teacher_line(wanted: Wanted, teacher: str) -> tuple[str, str]:
    if wanted.teacher_url:
        written = {"kind": "openai", "model": teacher, "base_url": wanted.teacher_url}
        comment = "its key comes from $OPENAI_API_KEY; limits: {max_cost: 5} sets a budget"
        return f"teacher: {_flow(written)}", comment
    known = {
        "human": "the rationales that come with the questions",
        "answer_only": "no rationales; for some: human, or {kind: openai, model: NAME, base_url: http://HOST:PORT/v1}",
        PROCEDURAL: "the solver of these questions",
    }
    if teacher in known:
        return f"teacher: {teacher}", known[teacher]
    return f"teacher: {_flow({'kind': 'transformers', 'model': teacher})}", "asked in this process"


def _with_comment(line: str, comment: str) -> Iterator[str]:
    """A line with its comment behind it, or above it where both are long."""
    whole = f"{line:<26}  # {comment}" if comment else line
    yield from [whole] if len(whole) <= _WIDTH else [f"# {comment}:", line]


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    plain = isinstance(value, str) and value.replace("_", "a").replace("-", "a").replace("/", "a").replace(".", "a")
    bare = isinstance(plain, str) and plain.isalnum() and value[0].isalpha() and value.lower() not in _YAML_WORDS
    return value if bare else json.dumps(value, ensure_ascii=False)


_YAML_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
