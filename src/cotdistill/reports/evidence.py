"""What a report is made from: an experiment's arms with their scores, cells, and declared comparisons.

An *arm* is one way to make a student; a *cell* is that arm under one seed, with its predictions and its loss by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cotdistill.config import Part
from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.averages import by_task
from cotdistill.evaluation.statistics.comparisons import ComparisonResult, pooled, score
from cotdistill.evaluation.statistics.metrics import MetricScore, fewest_samples, metric_of_seeds, shown_metrics
from cotdistill.records import Prediction, Question, Score

BASE, TEACHER = "base", "teacher"
"""Arms with these names are reference points rather than outcomes, and are drawn differently from the others."""

Fact = int | float | str | None


@dataclass(frozen=True, slots=True)
class Curve:
    """The training loss by step; curves of the same ``loss`` (its terms) can be compared."""

    loss: str
    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a student said about a held-out question after a step."""

    step: int
    question: str
    output: str
    answer: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What validation found at each of its ``steps``: the loss and the accuracy, as far as they were taken.

    ``kept`` is the step whose weights became the student, ``last`` the last that was taken; ``kept_because`` and
    ``stopped_because`` say why. ``answers`` are a few, at the first check, at the kept step and at the last.
    """

    steps: Sequence[int]
    losses: Sequence[float | None]
    accuracies: Sequence[float | None]
    kept: int
    last: int
    kept_because: str
    stopped_because: str
    answers: Sequence[Answered] = ()

    def at(self, values: Sequence[float | None], step: int) -> float | None:
        """Of losses or accuracies, that at a step; None if it was not checked."""
        return values[list(self.steps).index(step)] if step in self.steps else None


@dataclass(frozen=True, slots=True)
class Cell:
    """An arm under one seed: every prediction, the questions, and how the training went; ``watched`` with validation.

    ``student`` is what `cotdistill ask` takes: the folder of its student, from that which holds ``runs``, or a model's
    name; None where it was removed or is behind a server.
    """

    seed: int
    predictions: Sequence[Prediction]
    questions: Sequence[Question] = ()
    curve: Curve | None = None
    student: str | None = None
    watched: Watched | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """What a student is taught with one question: the rationale, if there is one, and the gold answer."""

    question: str
    rationale: str | None
    answer: str


@dataclass(frozen=True, slots=True)
class Examples:
    """A few of the examples that the students of ``arms`` are trained on, and how many there are."""

    arms: Sequence[str]
    rows: Sequence[Example]
    total: int


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm. Over several seeds ``score`` is their mean accuracy, with verdicts counted over all of them.

    ``extras`` is whatever else is worth a column: ``seconds``, ``training_tokens``, ... ``factors`` says what the arm
    was made of (student, teacher, granularity, ...), and ``base`` names the arm of the same student, untrained.
    ``lengths`` says what became of its training examples (:meth:`Lengths.to_row`); ``dropped`` counts, by reason, the
    questions that none was made of. ``settings`` are those that are not at their defaults, by dotted key;
    ``contamination`` says which test questions were looked for in the training questions (None: none were), and
    ``token_limit`` how many tokens an output may have.
    """

    score: Score
    extras: Mapping[str, Fact] = field(default_factory=dict)
    factors: Mapping[str, Fact] = field(default_factory=dict)
    base: str | None = None
    cells: Sequence[Cell] = ()
    lengths: Mapping[str, Any] | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Fact] = field(default_factory=dict)
    contamination: Mapping[str, Any] | None = None
    token_limit: int | None = None

    def metrics(self) -> dict[str, MetricScore]:
        """What the samples of its questions say, by metric; empty where each question has one."""
        seeds = [cell.predictions for cell in self.cells]
        return {metric: metric_of_seeds(seeds, metric) for metric in shown_metrics(fewest_samples(seeds))}

    @property
    def left_out(self) -> dict[str, int]:
        """What the student is not trained on, by reason."""
        too_long = self.lengths["too_long"] if self.lengths else 0
        return {**self.dropped, **({"too_long": too_long} if too_long else {})}

    @property
    def share_left_out(self) -> float | None:
        """The share of questions that the student is not trained on, a fraction; None for an untrained one."""
        if self.lengths is None:
            return None
        trained = self.lengths["whole"] + self.lengths["cut"]
        left_out = sum(self.left_out.values())
        return left_out / (trained + left_out)

    @property
    def num_seeds(self) -> int:
        return max(1, len(self.cells))

    def seed_accuracies(self) -> list[float]:
        """Accuracy under each seed, as fractions."""
        return [score(cell.predictions).accuracy for cell in self.cells]


@dataclass(frozen=True, slots=True)
class Missing:
    """A cell that has no result: not run yet, or failed with ``error``. One of an untrained student has no seed."""

    arm: str
    seed: int | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        return self.arm if self.seed is None else f"{self.arm}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Untested:
    """A declared comparison of arms ``a`` and ``b`` that cannot be made, and why."""

    a: str
    b: str
    problem: str


@dataclass(frozen=True)
class Evidence:
    """An experiment as far as it is done: its question, its arms in order, the comparisons declared between them.

    ``seconds`` is the computing time of all stages, each counted once. ``figures`` are the user's own functions that
    draw it. ``setup`` says with what all was made, as pairs of heading and text. ``full_names`` are those of arms that
    are shown by shorter ones. Raises DataError if there is neither an arm nor a missing cell.
    """

    name: str
    question: str
    arms: Mapping[str, Arm]
    comparisons: Sequence[ComparisonResult] = ()
    seconds: float = 0.0
    missing: Sequence[Missing] = ()
    untested: Sequence[Untested] = ()
    figures: Sequence[Part] = ()
    setup: Sequence[tuple[str, str]] = ()
    examples: Sequence[Examples] = ()
    full_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.arms and not self.missing:
            raise DataError("no arms to report", where=self.name, remedy="run at least one arm")

    @property
    def num_cells(self) -> int:
        """How many cells there are with a result and without."""
        return len(self.missing) + sum(arm.num_seeds for arm in self.arms.values())

    @cached_property
    def task_accuracies(self) -> dict[str, dict[str, float]]:
        """Accuracies by arm and task, each the mean over the arm's seeds, as fractions."""
        return {name: _task_accuracies(arm) for name, arm in self.arms.items()}

    @property
    def tasks(self) -> list[str]:
        """The names of all tasks with predictions, sorted."""
        return sorted({task for accuracies in self.task_accuracies.values() for task in accuracies})

    @property
    def bases(self) -> list[str]:
        """The untrained arms that others are measured against."""
        used = {arm.base for arm in self.arms.values()} | {BASE}
        return [name for name in self.arms if name in used]

    @cached_property
    def gains(self) -> dict[str, ComparisonResult]:
        """Every arm against its base on the same items, as far as it has one that answered them."""
        found = {name: self._gain(name) for name in self.arms}
        return {name: gain for name, gain in found.items() if gain is not None}

    def _gain(self, name: str) -> ComparisonResult | None:
        base = self.arms[name].base
        if base is None or base not in self.arms or not self.arms[base].cells:
            return None
        references = {cell.seed: cell for cell in self.arms[base].cells}
        first = next(iter(references.values()))
        cells = self.arms[name].cells
        pairs = [(cell.predictions, references.get(cell.seed, first).predictions) for cell in cells]
        try:
            return pooled(pairs, names=(name, base))
        except DataError:  # other items than the base's
            return None


def varying_factors(arms: Iterable[Arm]) -> list[str]:
    """The factors in which arms differ, in order of their appearance."""
    factors = [arm.factors for arm in arms]
    keys = dict.fromkeys(key for one in factors for key in one)
    return [key for key in keys if len({one.get(key) for one in factors}) > 1]


def _task_accuracies(arm: Arm) -> dict[str, float]:
    scores = [by_task(cell.predictions) for cell in arm.cells]
    tasks = sorted({task for one in scores for task in one})
    return {task: _mean([one[task].accuracy for one in scores if task in one]) for task in tasks}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
