"""Papers' claims tested on recorded results: supported, contradicted or not enough data. Does not load torch.

A claim is tested by comparisons of arms (findings), which are grouped in parts: a part holds, is opposite, or is open.
Holm's correction covers all findings of the claims file, including missing ones, so that running another experiment
costs no verdict. A difference that is not found supports nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from cotdistill.config import Factors, load_experiment
from cotdistill.config.claims import Claim, Claims, ClaimTest, Difference, Equivalence, PeakInside, Ratio, Trend
from cotdistill.errors import ConfigError, DataError
from cotdistill.evaluation.outcomes import Outcomes
from cotdistill.evaluation.statistics.comparisons import beyond_ratio, holm_p_values, margin_p_value, pooled, trend
from cotdistill.evaluation.stored import outcomes_of
from cotdistill.experiments.plan import arm_pairs, other_factors
from cotdistill.experiments.result import ArmResult, CellResult, ExperimentResult, load_result, seed_pairs
from cotdistill.records import ACCURACY

SIGNIFICANT = 0.05

Verdict = Literal["supported", "contradicted", "not enough data"]
State = Literal["holds", "opposite", "open"]
Pairs = dict[int, tuple[Outcomes, Outcomes]]
"""Outcomes of two arms, by seed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison that a claim needs. ``difference`` and its 95 % interval are fractions: a minus b, for a trend the
    growth of the gain from one level to the next, for a ratio how far a is on the claimed side of its bound, in
    fractions or tokens, as ``unit`` says. If there is no comparison, ``problem`` says why.
    ``p_value`` tests that there is no difference or, with a ``margin`` (a fraction), that the difference is at least
    that large, either way. With one seed all this is about these students, with several about arms, as ``method`` says.
    """

    label: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    n: int = 0
    num_seeds: int = 0
    method: str | None = None
    problem: str | None = None
    margin: float | None = None
    unit: Literal["points", "tokens"] = "points"

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is shown (Holm's p below 0.05) to be above or below 0, or, with a margin, to be
        within or beyond it; else 0."""
        if self.difference is None or self.adjusted_p_value is None or self.adjusted_p_value >= SIGNIFICANT:
            return 0
        return 1 if (self.difference if self.margin is None else self.margin - abs(self.difference)) > 0 else -1

    def __str__(self) -> str:
        if self.difference is None or self.interval is None:
            return f"{self.label}: {self.problem}"
        found, low, high = ((100 if self.unit == "points" else 1) * each for each in (self.difference, *self.interval))
        statistics = f"{found:+.1f} {self.unit} ({low:+.1f} to {high:+.1f}), Holm's p {self.adjusted_p_value:.2g}"
        seeds = "1 seed, of these students" if self.num_seeds == 1 else f"{self.num_seeds} seeds"
        return f"{self.label}: {statistics}, {self.n} questions, {seeds}"


Part = tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim, its verdict, and the findings behind it; ``experiment`` is the name of the experiment."""

    claim: Claim
    verdict: Verdict
    experiment: str | None
    parts: tuple[Part, ...]

    def to_row(self) -> dict[str, Any]:
        claim = self.claim.model_dump(mode="json", exclude={"experiment"})
        findings = [asdict(finding) for part in self.parts for finding in part]
        return claim | {"experiment": self.experiment, "verdict": self.verdict, "findings": findings}

    def lines(self) -> list[str]:
        where = f"experiment {self.experiment}" if self.experiment else f"untested: {self.claim.untested}"
        title = f"{self.claim.id}: {self.verdict.upper()}. {self.claim.text}"
        return [
            title,
            f"  paper {self.claim.paper}, {self.claim.source}; {where}",
            *(f"  {each}" for part in self.parts for each in part),
        ]


@dataclass(frozen=True, slots=True)
class ClaimResults:
    """All claims of a file in order. ``family_size`` is the number of comparisons that Holm's correction covers."""

    claims: tuple[ClaimResult, ...]
    family_size: int

    def to_row(self) -> dict[str, Any]:
        return {"claims": [claim.to_row() for claim in self.claims], "family_size": self.family_size}

    def lines(self) -> list[str]:
        counts = [
            f"{sum(claim.verdict == verdict for claim in self.claims)} {verdict}"
            for verdict in ("supported", "contradicted", "not enough data")
        ]
        summary = f"{', '.join(counts)}; Holm's correction over {self.family_size} comparisons"
        return [*(line for claim in self.claims for line in claim.lines()), summary]


def check_claims(claims: Claims, runs: Path, where: str = "claims") -> ClaimResults:
    """Test every claim on what its experiment has below ``runs``; nothing is run.

    Raises ConfigError if an experiment file is missing or invalid, or a test names a factor that no arm has.
    """
    results: dict[Path, ExperimentResult] = {}
    found: list[tuple[Claim, str | None, tuple[Part, ...]]] = []
    for claim in claims.claims:
        if claim.experiment is None or claim.test is None:
            found.append((claim, None, ()))
            continue
        place = f"{where}, claim {claim.id}"
        if claim.experiment not in results:
            results[claim.experiment] = _load(claim.experiment, runs, place)
        result = results[claim.experiment]
        found.append((claim, result.experiment.name, _parts(claim.test, result, place)))
    findings = [finding for _, _, parts in found for part in parts for finding in part]
    measured = [finding.p_value for finding in findings if finding.p_value is not None]
    adjusted = iter(holm_p_values(measured, family_size=len(findings)))
    tested = []
    for claim, name, parts in found:
        corrected = tuple(tuple(_corrected(finding, adjusted) for finding in part) for part in parts)
        tested.append(ClaimResult(claim, _verdict(claim, corrected), name, corrected))
    return ClaimResults(tuple(tested), len(findings))


def _corrected(finding: Finding, adjusted: Iterator[float]) -> Finding:
    return finding if finding.p_value is None else replace(finding, adjusted_p_value=next(adjusted))


def _load(file: Path, runs: Path, where: str) -> ExperimentResult:
    """The experiment's cells, without the comparisons that it declares itself."""
    try:
        return load_result(load_experiment(file).model_copy(update={"comparisons": ()}), runs)
    except ConfigError as error:
        raise ConfigError(error.problem, where=f"{where}, {error.where}", remedy=error.remedy) from None


def _parts(test: ClaimTest, result: ExperimentResult, where: str) -> tuple[Part, ...]:
    if isinstance(test, Trend):
        return _trend_parts(test, result, where)
    if isinstance(test, PeakInside):
        return _peak_parts(test, result, where)
    pairs = [(result.arms[a], result.arms[b]) for a, b in _arm_pairs(result, test.a, test.b, where)]
    if isinstance(test, Ratio):
        return tuple((_bounded(a, b, test),) for a, b in pairs)
    if isinstance(test, Equivalence):
        return tuple((_compare(a, b, margin=test.margin_points / 100),) for a, b in pairs)
    return tuple((_compare(a, b, task),) for a, b in pairs for task in test.tasks or (None,))


def _arm_pairs(result: ExperimentResult, a: Factors, b: Factors, where: str) -> list[tuple[str, str]]:
    return arm_pairs({name: arm.factors for name, arm in result.arms.items()}, a, b, where)


def _compare(a: ArmResult, b: ArmResult, task: str | None = None, margin: float | None = None) -> Finding:
    within = f", within {100 * margin:g} points" if margin else ""
    label = f"{a.name} against {b.name}" + (f" on {task}" if task else "") + within
    names, pairs = (a.name, b.name), list(_predictions(a, b, task).values())
    if not pairs:
        return Finding(label, problem="no seed for which both arms are done")
    try:
        found = pooled(pairs, names=names)
        p_value = found.p_value if margin is None else margin_p_value(pairs, margin, names=names)
    except DataError as error:
        return Finding(label, problem=str(error))
    n, seeds = found.n, found.num_seeds
    return Finding(label, found.difference, found.interval, p_value, None, n, seeds, found.method, margin=margin)


def _bounded(a: ArmResult, b: ArmResult, test: Ratio) -> Finding:
    """How far a is beyond the bound; positive where the claim holds."""
    share, side, word = (test.at_least, 1, "least") if test.at_least else (test.at_most, -1, "most")
    assert share is not None, "the config wants one bound"
    of, unit = ("accuracy", "points") if test.of == ACCURACY else ("tokens of outputs", "tokens")
    label = f"{of} of {a.name} at {word} {share:.0%} of {b.name}'s"
    pairs = list(_predictions(a, b).values())
    if not pairs:
        return Finding(label, problem="no seed for which both arms are done")
    try:
        found = beyond_ratio(pairs, share, metric=test.of, names=(a.name, b.name))
    except DataError as error:
        return Finding(label, problem=str(error))
    low, high = sorted(side * bound for bound in found.interval)
    measured = (side * found.difference, (low, high), found.p_value, None, len(pairs[0][0]), len(pairs))
    return Finding(label, *measured, found.method, unit=unit)


def _predictions(a: ArmResult, b: ArmResult, task: str | None = None) -> Pairs:
    pairs = seed_pairs(a, b).items()
    return {seed: (_on(task, one), _on(task, other)) for seed, (one, other) in pairs}


def _on(task: str | None, cell: CellResult) -> Outcomes:
    outcomes = outcomes_of(cell.predictions())
    return outcomes if task is None else outcomes.of_task(task)


def _peak_parts(test: PeakInside, result: ExperimentResult, where: str) -> tuple[Part, ...]:
    """A part for each set of arms that differ only on the axis: every inner value against the first and the last. Arms
    that lack a value, as a control's may, do not form a set.
    """
    first, *inner, last = test.order
    parts: dict[str, list[Finding]] = {}
    for value in inner:
        for end in (first, last):
            for a, b in _arm_pairs(result, {test.axis: value}, {test.axis: end}, where):
                arm, other = result.arms[a], result.arms[b]
                if (others := other_factors(arm.factors, test.axis)) == other_factors(other.factors, test.axis):
                    parts.setdefault(others, []).append(_compare(arm, other))
    return tuple(tuple(part) for part in parts.values() if len(part) == 2 * len(inner))


def _trend_parts(test: Trend, result: ExperimentResult, where: str) -> tuple[Part, ...]:
    """A part for each set of pairs of arms that differ only on the axis."""
    levels: dict[str, list[tuple[ArmResult, ArmResult]]] = {}
    for value in test.order:
        pairs = _arm_pairs(result, test.a | {test.axis: value}, test.b | {test.axis: value}, where)
        for a, b in pairs:
            levels.setdefault(other_factors(result.arms[a].factors, test.axis), []).append(
                (result.arms[a], result.arms[b])
            )
    if any([a.factors[test.axis] for a, _ in pairs] != list(test.order) for pairs in levels.values()):
        problem = f"needs exactly one pair of arms for each of {', '.join(map(str, test.order))} on {test.axis}"
        raise ConfigError(problem, where=where, remedy="name more factors")
    return tuple(_steps(test, pairs) for pairs in levels.values())


def _steps(test: Trend, pairs: list[tuple[ArmResult, ArmResult]]) -> Part:
    """One finding per step to the next level, on the seeds that all arms have."""
    last_a, last_b = pairs[-1]
    gain = f"gain ({last_a.name} over {last_b.name}, ...)"
    labels = [f"{gain} from {one} to {other} on {test.axis}" for one, other in pairwise(test.order)]
    levels = [_predictions(a, b) for a, b in pairs]
    seeds = [seed for seed in levels[0] if all(seed in level for level in levels)]
    missing = [f"{a.name} over {b.name}" for (a, b), level in zip(pairs, levels, strict=True) if not level]
    problem = f"not done: {', '.join(missing)}" if missing else "no seed for which all arms are done"
    try:
        steps = trend([[level[seed] for seed in seeds] for level in levels]) if seeds else []
    except DataError as error:
        steps, problem = [], str(error)
    if not steps:
        return tuple(Finding(label, problem=problem) for label in labels)
    n = len(levels[0][seeds[0]][0])
    return tuple(
        Finding(label, step.difference, step.interval, step.p_value, None, n, len(seeds), step.method)
        for label, step in zip(labels, steps, strict=True)
    )


def _verdict(claim: Claim, parts: tuple[Part, ...]) -> Verdict:
    states = [_state(claim.test, part) for part in parts]
    everywhere = not (isinstance(claim.test, Difference) and claim.test.holds == "somewhere")
    holding, opposite = (sum(state == each for state in states) for each in ("holds", "opposite"))
    num_needed = len(states) if everywhere else 1
    num_fatal = 1 if everywhere else len(states)
    if states and holding >= num_needed:
        return "supported"
    return "contradicted" if states and opposite >= num_fatal else "not enough data"


def _state(test: object, part: Part) -> State:
    if isinstance(test, PeakInside):
        return _peak_state(part)
    signs = [finding.sign for finding in part]  # a trend has one for every step, and a fall anywhere is no growth
    return "opposite" if -1 in signs else "holds" if set(signs) == {1} else "open"


def _peak_state(part: Part) -> State:
    """Holds if an inner value beats both ends, is opposite if an end beats every inner value."""
    against_first, against_last = part[0::2], part[1::2]
    if any(one.sign == other.sign == 1 for one, other in zip(against_first, against_last, strict=True)):
        return "holds"
    beaten = any(all(finding.sign == -1 for finding in end) for end in (against_first, against_last))
    return "opposite" if beaten else "open"
