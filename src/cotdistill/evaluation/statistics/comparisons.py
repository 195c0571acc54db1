"""Scores and comparisons of predictions: intervals, tests, and Holm's correction. Loads no torch.

Two arms are compared on the same items only. An item is a task's question; what differs between arms is whether its
prediction is correct, or a metric of its samples (``metrics.py``). With one training seed a comparison is about these
two students on new items; with several it is about the arms, for new seeds and new items (``seeds.py``). Sources:
McNemar 1947, in its exact form (paired test); Efron 1979 (bootstrap); Holm 1979 (correction for several comparisons);
Schuirmann 1987 (equivalence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.items import Pairs, checked, joined_outcomes
from cotdistill.evaluation.statistics.metrics import OUTPUT_TOKENS
from cotdistill.evaluation.statistics.proportions import LEVEL, wilson_interval
from cotdistill.evaluation.statistics.seeds import Variance, variance_of
from cotdistill.evaluation.stored import Answers
from cotdistill.records import ACCURACY, VERDICTS, Score

if TYPE_CHECKING:
    import numpy as np

POINTS = (3, 5, 7)
"""Differences in accuracy, in points, for which a report says how many seeds would show them."""

OVER_ITEMS = "exact paired test over items, bootstrap interval"
OVER_SEEDS = "t-test over seeds and items, t interval"
"""The methods, as summaries name them: about these two students with one seed, about the arms with several."""


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """Arm ``a`` against arm ``b`` on the same ``n`` items; accuracies, difference and interval are fractions.

    Accuracies are means of the ``metric``. ``difference`` is accuracy_a - accuracy_b, ``interval`` its 95 % interval
    and ``p_value`` two-sided, both by ``method``. ``gained`` counts the items that a gets right and b wrong, ``lost``
    the reverse (summed over several seeds). ``adjusted_p_value`` is Holm's, filled by :func:`holm`. Over several seeds
    ``items_p_value`` is about these very students, and ``variance`` is what other seeds and items would change.
    """

    a: str
    b: str
    n: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    gained: int
    lost: int
    adjusted_p_value: float | None = None
    num_seeds: int = 1
    method: str = OVER_ITEMS
    items_p_value: float | None = None
    variance: Variance | None = None
    metric: str = ACCURACY

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.interval)
        p = self.p_value if self.adjusted_p_value is None else self.adjusted_p_value
        shown = "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
        corrected = "" if self.adjusted_p_value is None else " (Holm)"
        return f"{self.a} - {self.b}: {100 * self.difference:+.1f} points ({low:.1f} to {high:.1f}), {shown}{corrected}"

    def seeds_needed(self, difference: float) -> int | None:
        """How many seeds per arm show ``difference`` (a fraction) with a power of 80 % at p = 0.05, by the spread
        found.

        None with one seed, and if 1,000 would not be enough with this number of items.
        """
        return None if self.variance is None else self.variance.seeds_needed(difference)

    def to_row(self) -> dict[str, Any]:
        row = asdict(self) | {"interval": list(self.interval)}
        if self.variance is not None:
            row["seeds_needed"] = {f"{points} points": self.seeds_needed(points / 100) for points in POINTS}
        return row


@dataclass(frozen=True, slots=True)
class Change:
    """A weighted sum of arms' accuracies (a fraction) with its 95 % interval and two-sided p, by ``method``.

    ``items_p_value`` is about these very students; with one seed it is ``p_value``.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    method: str
    items_p_value: float
    variance: Variance | None


def score(answers: Answers) -> Score:
    """Accuracy, its 95 % Wilson interval and the four verdict counts. Raises DataError for no or repeated
    predictions."""
    import numpy as np

    outcomes = checked(answers, "predictions")
    n = len(outcomes)
    found = np.bincount(outcomes.verdicts, minlength=len(VERDICTS)).tolist()
    counts = dict(zip(VERDICTS, found, strict=True))
    interval = wilson_interval(counts["correct"], n)
    return Score(n=n, accuracy=counts["correct"] / n, interval=interval, **counts)


def compare(
    a: Answers,
    b: Answers,
    *,
    names: tuple[str, str] = ("a", "b"),
    num_resamples: int = 10_000,
    seed: int = 0,
) -> ComparisonResult:
    """Compare two arms, joined by task and id: paired bootstrap interval and McNemar's exact p.

    Raises DataError if there is nothing to compare, an id occurs twice, or the arms hold different items.
    """
    return pooled([(a, b)], names=names, num_resamples=num_resamples, seed=seed)


def pooled(
    pairs: Pairs,
    *,
    names: tuple[str, str] = ("a", "b"),
    metric: str = ACCURACY,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> ComparisonResult:
    """Compare two arms over several training seeds, one pair (a, b) of their answers per seed, all on the same
    items.

    With one seed it is :func:`compare`, about these two students. With several the interval and p are for new seeds and
    new items, by a t-test (``seeds.py``) whose p is never below that of the exact test on these very students, a
    safeguard for few items. ``metric`` is accuracy or one of ``metrics.py``. Raises DataError as :func:`compare` does,
    and for a question with fewer samples than the metric is of.
    """
    import numpy as np

    outcomes = joined_outcomes(pairs, names, metric)
    gained_or_lost = outcomes[0] - outcomes[1]
    found = _change(outcomes, (1, -1), num_resamples=num_resamples, seed=seed)
    return ComparisonResult(
        *names,
        n=outcomes.shape[2],
        accuracy_a=float(outcomes[0].mean()),
        accuracy_b=float(outcomes[1].mean()),
        difference=found.difference,
        interval=found.interval,
        p_value=found.p_value,
        gained=int(np.count_nonzero(gained_or_lost > 0)),
        lost=int(np.count_nonzero(gained_or_lost < 0)),
        num_seeds=len(pairs),
        method=found.method,
        items_p_value=found.items_p_value if found.variance else None,
        variance=found.variance,
        metric=metric,
    )


def _change(outcomes: np.ndarray, weights: Sequence[int], *, num_resamples: int, seed: int) -> Change:
    """The sum of ``weights`` times the accuracies, from ``outcomes`` [arms, seeds, items].

    The item is the unit of the exact test and of the bootstrap: its outcomes under several seeds are not independent,
    so it is flipped and drawn as a whole.
    """
    import numpy as np

    num_seeds = outcomes.shape[1]
    sums = np.tensordot(weights, outcomes.sum(axis=1), 1)
    difference, items_p_value = float(sums.mean()) / num_seeds, _sign_flip_p_value(sums)
    if num_seeds == 1:
        interval = _bootstrap_interval(sums, num_resamples=num_resamples, seed=seed)
        return Change(difference, interval, items_p_value, OVER_ITEMS, items_p_value, None)
    variance = variance_of(outcomes, weights)
    reach, limit = variance.half_width(num_seeds), sum(map(abs, weights)) / 2
    interval = (max(-limit, difference - reach), min(limit, difference + reach))
    p_value = max(items_p_value, variance.p_value(difference, num_seeds))
    return Change(difference, interval, p_value, OVER_SEEDS, items_p_value, variance)


def holm(results: Sequence[ComparisonResult], *, family_size: int | None = None) -> list[ComparisonResult]:
    """The same comparisons in the same order with ``adjusted_p_value`` filled: Holm's, over this family.

    ``family_size`` also counts declared comparisons without a result yet, as if their p were 1.
    """
    adjusted = holm_p_values([result.p_value for result in results], family_size=family_size)
    return [replace(result, adjusted_p_value=p) for result, p in zip(results, adjusted, strict=True)]


def holm_p_values(p_values: Sequence[float], *, family_size: int | None = None) -> list[float]:
    """Holm's adjusted p of each, in the same order; ``family_size`` as in :func:`holm`."""
    size = len(p_values) if family_size is None else family_size
    assert size >= len(p_values)
    adjusted: dict[int, float] = {}
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (size - rank) * p_values[index]))
        adjusted[index] = largest
    return [adjusted[index] for index in range(len(p_values))]


def trend(levels: Sequence[Pairs], *, num_resamples: int = 10_000, seed: int = 0) -> list[Change]:
    """How much the gain of a over b grows from each level to the next, one change for each step.

    Each level has its pairs (a, b), with the same number of seeds, all on the same items. A gain that grows does so at
    every step: a line through all levels would miss what happens in the middle. Intervals and p are as in
    :func:`pooled`. Raises DataError as :func:`compare` does.
    """
    assert len(levels) > 1
    assert len({len(pairs) for pairs in levels}) == 1
    joined = joined_outcomes([pair for pairs in levels for pair in pairs], ("a", "b"))
    arms = joined.reshape(2, len(levels), len(levels[0]), -1)
    steps = [arms[:, [after, after - 1]].reshape(4, len(levels[0]), -1) for after in range(1, len(levels))]
    return [_change(step, (1, -1, -1, 1), num_resamples=num_resamples, seed=seed) for step in steps]


def margin_p_value(pairs: Pairs, margin: float, *, names: tuple[str, str]) -> float:
    """Two-sided p of the hypothesis that the accuracies of a and b differ by exactly ``margin``, in either direction.

    A small p means that they differ by less or, if the difference found is larger than ``margin``, by more. The former
    is two one-sided tests (Schuirmann 1987), of which the one at the nearer margin decides, as strict as a 95 %
    interval within the margin. As in Bonett and Price's (2012) adjusted Wald test, one item is added that only a gets
    right and one that only b does: arms that never differ on a few items are not shown to be equal. The t-test is that
    of ``seeds.py``, with one seed over items alone.
    """
    import numpy as np

    outcomes = joined_outcomes(pairs, names)
    extra = np.broadcast_to(np.eye(2, dtype=np.int64)[:, None, :], (2, outcomes.shape[1], 2))
    outcomes = np.concatenate([outcomes, extra], axis=2)
    distance = margin - abs(float(outcomes[0].mean() - outcomes[1].mean()))
    return variance_of(outcomes, (1, -1)).p_value(distance, outcomes.shape[1])


def beyond_ratio(pairs: Pairs, share: float, *, metric: str = ACCURACY, names: tuple[str, str]) -> Change:
    """How far the mean of ``metric`` of a is above ``share`` times that of b, in the metric's unit.

    Interval and p are those of the t-test of ``seeds.py`` on this difference, with one seed over items alone. Raises
    DataError as :func:`compare` does.
    """
    import numpy as np

    outcomes, weights = joined_outcomes(pairs, names, metric), (1.0, -share)
    num_seeds, variance = outcomes.shape[1], variance_of(outcomes, weights)
    difference = float(np.tensordot(weights, outcomes.mean(axis=(1, 2)), 1))
    reach, p_value = variance.half_width(num_seeds), variance.p_value(difference, num_seeds)
    method = OVER_SEEDS if num_seeds > 1 else "t-test over items, t interval"
    return Change(difference, (difference - reach, difference + reach), p_value, method, p_value, variance)


def tokens_interval(seeds: Sequence[Answers]) -> tuple[float, float]:
    """The 95 % interval of an arm's mean number of output tokens, for new items and, if there are several, new seeds.

    Raises DataError if seeds answered different items.
    """
    import numpy as np

    values = joined_outcomes([(one, one) for one in seeds], ("an arm", "itself"), OUTPUT_TOKENS)[:1]
    mean, reach = float(values.mean()), variance_of(values, (1,)).half_width(len(seeds))
    return (max(0.0, mean - reach), mean + reach) if np.isfinite(reach) else (mean, mean)


def mean_interval(values: Sequence[float], *, num_resamples: int = 2000) -> tuple[float, float, float]:
    """The mean of ``values``, one per item, and its 95 % bootstrap interval. Raises DataError for no values."""
    import numpy as np

    if not values:
        raise DataError("a mean needs at least one value, but there are none")
    found = np.asarray(values, dtype=np.float64)
    return float(found.mean()), *_bootstrap_interval(found, num_resamples=num_resamples, seed=0)


def _bootstrap_interval(values: np.ndarray, *, num_resamples: int, seed: int) -> tuple[float, float]:
    """The percentile interval of the mean of ``values`` (one per item) under resampling of items.

    Drawing n items with replacement is one multinomial draw of how often each distinct value occurs. There are few
    distinct values, so memory is num_resamples times their number, not times n.
    """
    import numpy as np

    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=num_resamples)
    means = draws @ distinct / len(values)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _sign_flip_p_value(values: np.ndarray) -> float:
    """Two-sided exact p: how probable a sum at least as far from 0 is if each value's sign is a fair coin toss.

    ``values`` are one per item. If they are -1, 0 and 1, this is McNemar's exact test. Fractions are rounded to a grid,
    the same up and down, so it is the exact test of the rounded ones.
    """
    import numpy as np
    from scipy.signal import fftconvolve
    from scipy.stats import binom

    if values.dtype.kind == "f":
        values = np.rint(values * max(16, 30_000 // len(values))).astype(np.int64)

    sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    probabilities = np.ones(1)  # of the sums -reach, ..., reach
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        signed = np.zeros(2 * size * count + 1)  # one flip moves the sum by twice its size
        signed[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        is_long = len(probabilities) * len(signed) > 10_000_000
        probabilities = (fftconvolve if is_long else np.convolve)(probabilities, signed)
    reach = len(probabilities) // 2
    as_far = np.abs(np.arange(-reach, reach + 1)) >= abs(values.sum())
    return float(min(1.0, probabilities[as_far].sum()))
