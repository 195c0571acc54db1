"""What an experiment will take: stages, tokens, memory, time and money, before any model is loaded. Does not load
torch.

Tokens are rows times words: ``WORDS`` per rationale by granularity and ``PROMPT_WORDS`` per question with its prompt,
at ``TOKENS_PER_WORD``. Time comes from given rates, or from what finished cells of the same student took; without
either, from the number of arithmetic operations: 6 per parameter and trained token (2 more per parameter of a live
teacher), 2 per parameter and generated token, at a machine's ``OPERATIONS`` per second.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cotdistill.annotation import plan_typical
from cotdistill.config import (
    AnswerOnlyTeacher,
    AskedTeacher,
    CellConfig,
    FileTask,
    LiveTeacher,
    ModelConfig,
    OneSignal,
    Padded,
    Removed,
    RolloutServer,
    ScriptedTeacher,
    ServedModel,
    Validation,
    teachers_of,
)
from cotdistill.config.experiment import STUDENT
from cotdistill.engines.costs import cost, price_of
from cotdistill.engines.estimate import Estimate as ToAsk
from cotdistill.engines.estimate import money
from cotdistill.errors import ConfigError, DataError, ModelError, nearest
from cotdistill.evaluation.answering import asked_model
from cotdistill.experiments.make import plan_rationales
from cotdistill.experiments.plan import Plan
from cotdistill.experiments.result import CellResult, read_cell
from cotdistill.experiments.shared import NOUNS, stage_keys
from cotdistill.experiments.sizes import are_here, num_parameters, num_questions
from cotdistill.experiments.work import Work
from cotdistill.progress import duration

WORDS = (31, 35, 46, 55, 66, 77)
"""Mean words of a rationale by granularity, in the granularity paper's GPT-4o release for SVAMP."""
PROMPT_WORDS, ANSWER_WORDS = 70, 5
TOKENS_PER_WORD = 1.5
OPERATIONS = {"cpu": (1.9e11, 3e10), "gpu": (1e14, 5e12)}
"""Per second, of training and of generating: SmolLM2-135M on two x86 cores gave the first; the second is a guess."""
TRAINING_BYTES = 16
"""For a trained parameter: itself, its gradient and two moments, each in float32."""


@dataclass(slots=True)
class Estimate:
    """What is left to do. Numbers are sums over stages, each counted once; None is unknown.

    ``stages`` says for each noun how many there are in all and how many are left; ``memory_bytes`` is the largest
    training's without activations; ``seconds`` are for one job, without the time that asked teachers take, and
    ``validation_seconds`` those of them that students are checked in while they train; ``rates`` says for each student
    where its time comes from.
    """

    cells: int
    cells_done: int
    stages: dict[str, dict[str, int]]
    training_tokens: float | None = 0
    generated_tokens: float | None = 0
    asked_tokens: float | None = 0
    memory_bytes: float | None = 0
    seconds: float | None = 0.0
    validation_seconds: float | None = 0.0
    cost: float | None = 0.0
    rates: dict[str, str] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Work:
    """One stage's tokens trained on, tokens that a student generates, tokens asked of a server, seconds and money."""

    training_tokens: float | None = 0
    generated_tokens: float | None = 0
    asked_tokens: float | None = 0
    seconds: float | None = 0
    validation_seconds: float | None = 0
    cost: float | None = 0


_SUMS = tuple(each.name for each in fields(_Work))

Given = Mapping[str, tuple[float, float]]
"""Tokens per second, trained and generated, by a student's model or its name in the experiment."""


def estimate(plan: Plan, runs: Path, given: Given = MappingProxyType({})) -> Estimate:
    """What is left to do in an experiment, with what is on disk below ``runs``, at the rates that are ``given``.

    Raises ConfigError for a rate of a student that the experiment does not have.
    """
    results = [read_cell(cell, runs / plan.experiment.name) for cell in plan.distinct]
    done = [result for result in results if result.status == "done"]
    finished = {key for result in done for key in stage_keys(result.cell).items()}
    needed = {key: cell for cell in plan.distinct for key in stage_keys(cell).items()}
    missing = {key: cell for key, cell in needed.items() if key not in finished}
    stages = {
        noun: {"total": sum(name == noun for name, _ in needed), "left": sum(name == noun for name, _ in missing)}
        for noun in NOUNS
        if any(name == noun for name, _ in needed)
    }
    rates, made_with = _Rates(done, plan, given), Work(runs, lambda line: None, writes=False)
    found = Estimate(len(results), len(done), stages)
    for (noun, _), cell in missing.items():
        work = _work(noun, cell.config, rates, made_with)
        for name in _SUMS:
            setattr(found, name, _plus(getattr(found, name), getattr(work, name)))
    trained = [cell.config for (noun, _), cell in missing.items() if noun == "training"]
    sizes = [_memory(config) for config in trained]
    found.memory_bytes = None if None in sizes else max(filter(None, sizes), default=0)
    found.rates = {cell.config.student.model: rates.source(cell.config.student) for cell in missing.values()}
    return found


class _Rates:
    """Seconds per trained token and per test question, by student, as they are given or as finished cells show."""

    def __init__(self, done: Sequence[CellResult], plan: Plan, given: Given):
        self._given = _by_model(plan, given)
        self._training: dict[ModelConfig, list[tuple[float, float]]] = {}
        self._testing: dict[ModelConfig, list[tuple[float, float]]] = {}
        for result in done:
            student = result.cell.config.student
            training, evaluation = result.summary("training"), result.summary("evaluation")
            if training.get("seconds") and training.get("num_tokens"):
                self._training.setdefault(student, []).append((training["seconds"], training["num_tokens"]))
            self._testing.setdefault(student, []).append((result.stage("evaluation").seconds, evaluation["n"]))
        on_gpu = plan.experiment.resources.num_gpus or Path("/proc/driver/nvidia/gpus").exists()
        self._machine = OPERATIONS["gpu" if on_gpu else "cpu"]

    def training(self, config: CellConfig, tokens: float | None) -> float | None:
        if config.student in self._given:
            return _times(tokens, 1 / self._given[config.student][0])
        if measured := self._training.get(config.student):
            return _times(tokens, sum(s for s, _ in measured) / sum(n for _, n in measured))
        operations = _times(num_parameters(config.student), 6)
        for signal in _in_memory(config):
            operations = _plus(operations, _times(num_parameters(signal.model), 2))
        return _times(tokens, operations, 1 / self._machine[0])

    def reading(self, model: ModelConfig, tokens: float | None) -> float | None:
        return _times(tokens, num_parameters(model), 2 / self._machine[0])

    def generating(self, model: ModelConfig, questions: float | None, tokens: float | None) -> float | None:
        if model in self._given:
            return _times(tokens, 1 / self._given[model][1])
        if measured := self._testing.get(model):
            return _times(questions, sum(s for s, _ in measured) / sum(n for _, n in measured))
        return _times(tokens, num_parameters(model), 2 / self._machine[1])

    def source(self, model: ModelConfig) -> str:
        if model in self._given:
            return "given: {:,g} tokens trained and {:,g} generated a second".format(*self._given[model])
        if measured := self._testing.get(model):
            return f"measured in {len(measured)} finished cells"
        size = num_parameters(model)
        return "unknown size" if size is None else f"default for {size:,} parameters"


def _by_model(plan: Plan, given: Given) -> dict[ModelConfig, tuple[float, float]]:
    names: dict[str, ModelConfig] = {}
    for cell in plan.cells:
        student = cell.config.student
        names |= {student.model: student, str(cell.factors.get(STUDENT, student.model)): student}
    for name in given:
        if name not in names:
            raise ConfigError(f"unknown student {name!r}", where="--rate", remedy=nearest(name, names))
    return {names[name]: rate for name, rate in given.items()}


def _work(noun: str, config: CellConfig, rates: _Rates, made_with: Work) -> _Work:
    rows, questions = num_questions(config.task)
    words = _rationale_words(config)
    tokens = _times(rows, (PROMPT_WORDS + words + ANSWER_WORDS) * TOKENS_PER_WORD)
    if noun == "annotation":
        return _annotation_work(config, made_with)
    if noun == "evaluation":
        return _evaluation_work(config, questions, words, rates)
    assert config.training is not None
    if noun == "rollouts":
        return _rollout_work(config, rows, rates)
    if noun == "teacher_signal":
        here = [one for one in config.training.captures if one.server is None]  # how fast a server answers is unknown
        return _Work(seconds=reduce(_plus, (rates.reading(one.model, tokens) for one in here), 0.0))
    validation = config.training.validation
    if validation is None or rows is None:
        tokens = None if rows is None else _times(tokens, config.training.epochs_of(rows))
        return _Work(training_tokens=tokens, seconds=rates.training(config, tokens))
    return _checked_work(config, rows, words, rates)


def _checked_work(config: CellConfig, rows: int, words: float, rates: _Rates) -> _Work:
    """A training with its validation, which takes a third of a step's operations for a token."""
    training = config.training
    assert training is not None
    assert training.validation is not None
    validation, length = training.validation, (words + ANSWER_WORDS) * TOKENS_PER_WORD
    whole = PROMPT_WORDS * TOKENS_PER_WORD + length
    held = _num_held(validation, rows)
    trained = rows - held if validation.share else rows
    epochs = training.epochs_of(trained)
    every = validation.every
    checks = epochs / every.epochs if every.epochs else epochs * trained / training.batch_size / (every.steps or 1)
    questions = min(validation.questions, held) * math.ceil(checks)
    written = questions * min(config.evaluation.max_new_tokens, length)
    loss = _times(rates.training(config, held * whole * math.ceil(checks)), 1 / 3)
    checking = _plus(loss, rates.generating(config.student, questions, written))
    tokens = trained * whole * epochs
    seconds = _plus(rates.training(config, tokens), checking)
    return _Work(training_tokens=tokens, generated_tokens=written, seconds=seconds, validation_seconds=checking)


def _num_held(validation: Validation, rows: int) -> int:
    if validation.share is not None:
        return round(validation.share * rows)
    return num_questions(FileTask(test=validation.data))[1] or 0


def _rollout_work(config: CellConfig, rows: float | None, rates: _Rates) -> _Work:
    """The student's samples for its training questions, each of half the most tokens; a server's speed is unknown."""
    assert config.training is not None
    assert config.training.on_policy is not None
    tokens = _times(rows, config.training.on_policy.longest / 2)
    if isinstance(config.training.on_policy.engine, RolloutServer):
        return _Work(generated_tokens=tokens)
    return _Work(generated_tokens=tokens, seconds=rates.generating(config.student, rows, tokens))


def _annotation_work(config: CellConfig, made_with: Work) -> _Work:
    """What ``annotate --dry-run`` says. How fast teachers answer is unknown and not part of the time."""
    asked = [each for each in teachers_of(config.teacher) if isinstance(each, AskedTeacher)]
    if all(isinstance(each, ScriptedTeacher) for each in asked):
        return _Work()
    found = _to_ask(config, made_with)
    if found is None:
        return _Work(asked_tokens=None, cost=None if any(isinstance(each, ServedModel) for each in asked) else 0)
    return _Work(asked_tokens=found.input_tokens + found.output_tokens, cost=found.cost)


def _to_ask(config: CellConfig, made_with: Work) -> ToAsk | None:
    """Of the cell's questions if they are on this machine, otherwise of as many typical ones."""
    if all(map(are_here, (config.task, *(config.evaluation.tasks or ())))):
        with contextlib.suppress(DataError, ModelError):
            return plan_rationales(config, made_with).estimate
    rows = num_questions(config.task)[0]
    return None if rows is None else plan_typical(rows, config.teacher, config.annotation)


def _evaluation_work(config: CellConfig, questions: float | None, words: float, rates: _Rates) -> _Work:
    tested = config.evaluation.tasks
    if tested:
        counts = [num_questions(task)[1] for task in tested]
        questions = None if None in counts else sum(filter(None, counts))
    limit = config.evaluation.max_new_tokens
    # An untrained student does not know when to stop: half of what it may write is as good a guess as any.
    length = limit / 2 if config.training is None else min(limit, (words + ANSWER_WORDS) * TOKENS_PER_WORD)
    tokens = _times(questions, length, config.evaluation.num_samples)
    paid = _evaluation_cost(config, _times(questions, config.evaluation.num_samples), tokens)
    return _Work(generated_tokens=tokens, seconds=rates.generating(config.student, questions, tokens), cost=paid)


def _evaluation_cost(config: CellConfig, requests: float | None, tokens: float | None) -> float | None:
    if not config.evaluation.served:
        return 0
    price = price_of(asked_model(config.student, config.evaluation))
    if price is None or requests is None or tokens is None:
        return None
    return cost(price, int(requests * PROMPT_WORDS * TOKENS_PER_WORD), int(tokens))


def _rationale_words(config: CellConfig) -> float:
    perturbation = config.annotation.perturbation
    if isinstance(config.teacher, AnswerOnlyTeacher) or isinstance(perturbation, Removed):
        return 0
    words = WORDS[(config.annotation.granularity or 3) - 1]
    return max(words, perturbation.num_words) if isinstance(perturbation, Padded) else words


def _memory(config: CellConfig) -> float | None:
    assert config.training is not None
    trained = _times(num_parameters(config.student), 4 if config.training.adapter else TRAINING_BYTES)
    for signal in _in_memory(config):
        trained = _plus(trained, _times(num_parameters(signal.model), 4))
    return trained


def _in_memory(config: CellConfig) -> list[OneSignal]:
    """The teachers that are run beside the student."""
    signals = config.training.signals if config.training else ()
    return [signal for signal in signals if isinstance(signal, LiveTeacher) and signal.server is None]


def _plus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _times(*factors: float | None) -> float | None:
    return None if None in factors else math.prod(factor for factor in factors if factor is not None)


def lines(plan: Plan, found: Estimate, jobs: int) -> list[str]:
    """The estimate in words."""
    stages = ", ".join(f"{count['left']} of {count['total']} {noun}" for noun, count in found.stages.items())
    time = "unknown" if found.seconds is None else f"about {duration(found.seconds / jobs)}"
    answers = ", plus the time that teachers take to answer" if found.asked_tokens != 0 else ""
    return [
        f"{plan.experiment.name}: {found.cells} cells in {len(plan.arms)} arms, {found.cells_done} done; "
        f"comparisons: {len(plan.comparisons)}",
        f"stages to run: {stages}",
        f"tokens: {_count(found.training_tokens).strip()} to train on, "
        f"{_count(found.generated_tokens).strip()} to generate, {_count(found.asked_tokens).strip()} asked of teachers",
        f"memory: {_count(found.memory_bytes)}B for the largest training, without activations",
        f"time: {time} with --jobs {jobs}{answers}{_of_validation(found, jobs)}",
        f"cost: {money(found.cost)}",
        *(f"rates for {student}: {source}" for student, source in found.rates.items()),
    ]


def _of_validation(found: Estimate, jobs: int) -> str:
    if not found.validation_seconds:
        return ""
    return f"; of it {duration(found.validation_seconds / jobs)} to check students while they train"


def _count(number: float | None) -> str:
    if number is None:
        return "unknown "
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g} "
