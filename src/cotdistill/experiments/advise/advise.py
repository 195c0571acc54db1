"""Advice: which arm of an experiment is best for a student, found for a share of the whole grid's cost.

1. A cheap score: the untrained student reads the rationales of a few training questions, one forward pass each. Arms
with less than half of them verified come last, the others in order of their rank-surprisal ratio, shorter ones first if
equal; the first ``keep`` of them go on. Arms without rationales have no score and always go on. 2. Successive halving
on pilots (``halving.py``), within the rest of the budget. 3. The best arm of the last rung, with a bound on how much
better another arm of that rung may be.

The budget is a share of the grid's cost as estimated from the lengths of the scored rationales, so that the budget and
the pilots are the same before and after the grid is run.

Everything is a stage on disk: asking again makes only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cotdistill.config import Experiment
from cotdistill.config.experiment import STUDENT
from cotdistill.errors import ConfigError, TrainingError, nearest
from cotdistill.evaluation.stored import outcomes_of
from cotdistill.experiments.advise.advice import Advice, ArmScore, Rung
from cotdistill.experiments.advise.halving import (
    TRAINED,
    Price,
    Size,
    best_first,
    pilot_size,
    rung_sizes,
    upper_difference,
)
from cotdistill.experiments.advise.pilots import pilot
from cotdistill.experiments.advise.scores import kept_by_score, score_arm
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.result import ArmResult, CellResult, ExperimentResult, load_result, read_cell
from cotdistill.experiments.work import Say, Work
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.tasks import load_task

Seen = dict[str, list[CellResult]]
"""The pilots of each arm that was tried, rung by rung."""


def advise(
    experiment: Experiment,
    work: Work,
    *,
    student: str | None = None,
    budget_share: float = 0.25,
    keep: float = 0.5,
    num_scored: int = 100,
    eta: int = 4,
    replay: bool = False,
) -> Advice:
    """The best arm of ``experiment`` for ``student`` (by its name there), within ``budget_share`` of the grid's cost.

    With ``replay``, nothing is trained: all pilots must be on disk. Raises ConfigError if there is nothing to choose
    from or the budget buys no pilots, and TrainingError for a pilot that fails or, in a replay, is missing.
    """
    work = replace(work, runs=work.runs.absolute())
    result, say = load_result(experiment, work.runs), work.say
    arms = _arms_of(result, student)
    scores: list[ArmScore] = []
    for name, arm in arms.items():
        say(f"score {name}")
        scores.append(score_arm(name, arm.cells[0].cell.config, work, num_scored))
    prices = {score.name: score.price for score in scores}
    done = all(len(arm.done) == len(arm.cells) for arm in arms.values())
    estimated = sum(prices[name].total * len(arm.cells) for name, arm in arms.items())
    spent = sum(score.cost for score in scores)
    alive = kept_by_score(scores, keep)

    def made(name: str, size: Size) -> CellResult:
        cell = arms[name].cells[0].cell
        full = len(load_task(cell.config.task).train)
        return _made(pilot(cell, size, full), result.plan, work, replay=replay)

    rungs, seen = _halve(alive, prices, budget_share * estimated - spent, eta, made, say)
    chosen = next(iter(rungs[-1].accuracies))
    advice = Advice(
        experiment=experiment.name,
        student=_student(arms[chosen]),
        chosen=chosen,
        factors=arms[chosen].factors,
        scores=tuple(scores),
        untried=tuple(name for name in arms if name not in alive),
        rungs=rungs,
        regret_bound=_regret_bound(rungs[-1], seen),
        budget=budget_share * estimated,
        cost=spent + sum(rung.cost for rung in rungs),
        grid_cost=sum(_cost(cell) for arm in arms.values() for cell in arm.cells) if done else estimated,
        accuracies={name: arm.accuracy() or 0.0 for name, arm in arms.items()} if done else {},
    )
    write_json_atomically(result.path / f"advice-{advice.student}.json", advice.to_row())
    return advice


def _halve(
    alive: list[str],
    prices: dict[str, Price],
    budget: float,
    eta: int,
    made: Callable[[str, Size], CellResult],
    say: Say,
) -> tuple[tuple[Rung, ...], Seen]:
    """Rung after rung within ``budget``; what a rung leaves of its part, or takes beyond it, changes the next rungs'
    parts."""
    rungs: list[Rung] = []
    seen: Seen = {name: [] for name in alive}
    sizes = rung_sizes(len(alive), eta)
    for place, num_arms in enumerate(sizes):
        alive = alive[:num_arms]
        left = budget - sum(rung.cost for rung in rungs)
        size = pilot_size([prices[name] for name in alive], left / (len(sizes) - place))
        say(f"rung {place + 1}: {num_arms} arms, {size.train:.1%} of the training, {size.test:.1%} of the test")
        for name in alive:
            seen[name].append(made(name, size))
        accuracies = {name: _accuracy(seen[name][-1]) for name in alive}
        alive = best_first(accuracies, prices)
        num_test = len(seen[alive[0]][-1].predictions())
        cost = sum(_cost(seen[name][-1]) for name in alive)
        rungs.append(Rung(size, num_test, {name: accuracies[name] for name in alive}, cost))
    return tuple(rungs), seen


def _arms_of(result: ExperimentResult, student: str | None) -> dict[str, ArmResult]:
    trained = {name: arm for name, arm in result.arms.items() if not arm.untrained}
    students = sorted({_student(arm) for arm in trained.values()})
    if student is None and len(students) > 1:
        problem = f"there are {len(students)} students ({', '.join(students)})"
        raise ConfigError(problem, where=f"experiment {result.experiment.name}", remedy="choose one with --student")
    if student is not None and student not in students:
        raise ConfigError(f"unknown student {student!r}", where="--student", remedy=nearest(student, students))
    arms = {name: arm for name, arm in trained.items() if student in (None, _student(arm))}
    if len(arms) < 2:
        raise ConfigError(
            "there is nothing to choose from",
            where=f"experiment {result.experiment.name}",
            remedy="give its grid an axis",
        )
    return arms


def _student(arm: ArmResult) -> str:
    """The name of an arm's student in the experiment, or its model's if it has none."""
    return str(arm.factors.get(STUDENT) or arm.cells[0].cell.config.student.model)


def _made(cell: Cell, plan: Plan, work: Work, *, replay: bool) -> CellResult:
    """The pilot's result, from disk or made now."""
    folder = work.runs / plan.experiment.name
    found = read_cell(cell, folder)
    if found.status != "done" and replay:
        problem = f"pilot {cell.id} of arm {cell.arm} is not on disk"
        raise TrainingError(problem, where="--replay", remedy="run once without --replay to make it")
    if found.status != "done":
        from cotdistill.experiments.cells import run_cell

        run_cell(cell, plan, work)
        found = read_cell(cell, folder)
    if found.status != "done":
        raise TrainingError(f"the pilot of {cell.arm} failed ({found.error})", where=f"cell {cell.id}")
    return found


def _accuracy(cell: CellResult) -> float:
    found = cell.score()
    assert found is not None, "the pilot is done"
    return found.accuracy


def _cost(cell: CellResult) -> float:
    """What a finished cell has cost."""
    outcomes = outcomes_of(cell.predictions())
    tested = int(outcomes.num_prompt_tokens.sum() + outcomes.num_output_tokens.sum())
    return float(TRAINED * cell.summary("training")["num_tokens"] + tested)


def _regret_bound(last: Rung, seen: Seen) -> float:
    """How much better another arm of the last rung may be than its best."""
    chosen, *others = (seen[name][-1].predictions() for name in last.accuracies)
    return max(0.0, *(upper_difference(other, chosen, len(others)) for other in others))
