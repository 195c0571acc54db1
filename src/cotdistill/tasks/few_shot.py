"""The official few-shot prompts of BIG-Bench-Hard (3) and MMLU-Pro (5), read from where they are and never kept here.

Those of BIG-Bench-Hard come from a data folder (``bbh/cot_prompts_raw.jsonl.gz``) or from an installed lm-eval. Their
first lines, a canary and a rule, are not part of the prompt. Both sources give the same texts except for
sports_understanding, whose examples continue after "Let's think step by step." in the official file and on a new line
in lm-eval's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import yaml

from cotdistill.errors import ConfigError, DataError
from cotdistill.records import Question
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.benchmarks import Row, mmlu_pro
from cotdistill.tasks.benchmarks.bbh import ANSWER_TYPES
from cotdistill.tasks.load_benchmark import DATA_VARIABLE, find_data_file, worked_rows

PROMPTS_FILE = "bbh/cot_prompts_raw.jsonl.gz"
STOPS = {3: ("\n\n", "\nQ:"), 5: ("Question:",)}
"""By the number of examples. A completion ends where the next question would begin."""
_RULE = "\n-----\n"
_OPENING = "A: Let's think step by step.\n"


def few_shot_texts(questions: Sequence[Question], num_shots: int, data_dir: Path | None) -> list[str]:
    """Each question's prompt with ``num_shots`` examples: the official text of its task, and the question in the same
    form.

    ``data_dir`` is the data folder; by default $COTDISTILL_DATA, then the installed lm-eval or the hub. Raises
    ConfigError for a question of another benchmark, DataError if the prompts are not found.
    """
    name = {3: "bbh", 5: mmlu_pro.BENCHMARK.name}[num_shots]
    for question in questions:
        if not question.task.startswith(f"{name}/"):
            problem = f"there is no official prompt with {num_shots} examples for task {question.task!r}"
            raise ConfigError(problem, where="evaluation.few_shot", remedy=f"set few_shot: 0, or evaluate on {name}")
    if num_shots == 5:
        return _mmlu_pro_texts(questions, data_dir)
    prompts = official_prompts(data_dir) if questions else {}
    return [
        f"{prompts[question.task.partition('/')[2]]}\n\nQ: {question.meta['input']}\n{_OPENING}"
        for question in questions
    ]


def _mmlu_pro_texts(questions: Sequence[Question], data_dir: Path | None) -> list[str]:
    shots = mmlu_pro_shots(data_dir)
    prompts = {}
    for subject in {question.task.partition("/")[2] for question in questions}:
        if len(shots.get(subject, ())) < 5:
            problem = f"there are no five worked examples for {subject}"
            raise DataError(problem, where=mmlu_pro.VALIDATION, remedy="use the complete validation split")
        prompts[subject] = mmlu_pro.prompt_of(shots[subject][:5], subject)
    return [
        prompts[question.task.partition("/")[2]] + mmlu_pro.asked_text(question.question, question.choices or ())
        for question in questions
    ]


def mmlu_pro_shots(data_dir: Path | None) -> dict[str, list[Row]]:
    """MMLU-Pro's worked examples by category, in the columns of its declaration."""
    shots: dict[str, list[Row]] = {}
    for row in worked_rows(mmlu_pro.BENCHMARK, "validation", mmlu_pro.VALIDATION, data_dir):
        shots.setdefault(row["subtask"], []).append(row)
    return shots


def official_prompts(data_dir: Path | None) -> dict[str, str]:
    """The official prompt of each of the 27 subtasks, without canary."""
    if path := find_data_file(PROMPTS_FILE, data_dir):
        prompts = {row["task"]: _without_canary(row["prompt_raw"]) for row in read_rows(path)}
        where = str(path)
    else:
        where, prompts = _of_harness()
    if missing := sorted(set(ANSWER_TYPES) - set(prompts)):
        raise DataError(f"no prompt for {missing[0]}", where=where, remedy="use the complete set of 27")
    return prompts


def _without_canary(text: str) -> str:
    return text.rpartition(_RULE)[2].strip()


@cache
def _of_harness() -> tuple[str, dict[str, str]]:
    """Where lm-eval is installed, and the prompts that it ships; lm-eval itself is not imported."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        problem = f"the few-shot prompts of BIG-Bench-Hard were not found ({PROMPTS_FILE})"
        raise DataError(problem, where="bbh", remedy=f"set data_dir (or ${DATA_VARIABLE}), or pip install lm-eval")
    folder = Path(spec.submodule_search_locations[0]) / "tasks" / "bbh" / "cot_fewshot"
    return str(folder), harness_prompts(folder.glob("[!_]*.yaml"))


def harness_prompts(files: Iterable[Path]) -> dict[str, str]:
    """Prompts from lm-eval's task files: the description, then each example as question, opening and target."""
    prompts = {}
    for file in files:
        task = yaml.safe_load(file.read_text(encoding="utf-8"))
        shots = [f"Q: {shot['input']}\n{_OPENING}{shot['target']}" for shot in task["fewshot_config"]["samples"]]
        prompts[task["dataset_name"]] = "\n\n".join([task["description"].strip(), *shots])
    return prompts
