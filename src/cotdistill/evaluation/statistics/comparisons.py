"""Scores and paired comparisons of predictions: intervals, exact tests, and Holm's correction. Loads no torch.

Two arms are compared on the same items only. An item is a task's question; what differs between arms is whether its
prediction is correct. Sources: Wilson 1927 (interval of a proportion); McNemar 1947, in its exact form (paired test);
Efron 1979 (bootstrap); Holm 1979 (correction for several comparisons); Schuirmann 1987 (equivalence).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from cotdistill.errors import DataError
from cotdistill.records import VERDICTS, Prediction, Score

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """Arm ``a`` against arm ``b`` on the same ``n`` items; accuracies, difference and interval are fractions.

    ``difference`` is accuracy_a - accuracy_b, ``interval`` its 95 % paired bootstrap interval. ``gained`` counts the
    items that a has right and b wrong, ``lost`` those that b has right and a wrong (summed over seeds where several are
    pooled). ``p_value`` is exact and two-sided; ``adjusted_p_value`` is Holm's, filled by :func:`holm`.
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

    def to_row(self) -> dict[str, Any]:
        return asdict(self) | {"interval": list(self.interval)}


def wilson_interval(num_correct: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of the fraction ``num_correct / n``, within [0, 1]. Raises DataError for ``n`` = 0."""
    if n == 0:
        raise DataError("an interval needs at least one prediction, found none")
    assert 0 <= num_correct <= n
    z = NormalDist().inv_cdf((1 + level) / 2)
    fraction = num_correct / n
    centre = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half_width = z * math.sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # At 0 and n one bound is exactly 0 or 1; rounding must not move it.
    low = 0.0 if num_correct == 0 else centre - half_width
    high = 1.0 if num_correct == n else centre + half_width
    return low, high


def score(predictions: Sequence[Prediction]) -> Score:
    """Accuracy, its 95 % Wilson interval and the four verdict counts. Raises DataError for none and for duplicates."""
    _by_item(predictions, "predictions")
    n = len(predictions)
    counts = {verdict: sum(p.verdict == verdict for p in predictions) for verdict in VERDICTS}
    interval = wilson_interval(counts["correct"], n)
    return Score(n=n, accuracy=counts["correct"] / n, interval=interval, **counts)


def compare(
    a: Sequence[Prediction],
    b: Sequence[Prediction],
    *,
    names: tuple[str, str] = ("a", "b"),
    num_resamples: int = 10_000,
    seed: int = 0,
) -> ComparisonResult:
    """Compare two arms, joined by task and id: paired bootstrap interval and McNemar's exact p.

    Raises DataError where there is nothing to compare, an id occurs twice, or the arms hold different items.
    """
    return pooled([(a, b)], names=names, num_resamples=num_resamples, seed=seed)


def pooled(
    pairs: Sequence[tuple[Sequence[Prediction], Sequence[Prediction]]],
    *,
    names: tuple[str, str] = ("a", "b"),
    num_resamples: int = 10_000,
    seed: int = 0,
) -> ComparisonResult:
    """Compare two arms over several training seeds, one pair (a, b) of prediction lists a seed, all on the same items.

    Outcomes of one item under several seeds are not independent, so the item is the unit: resampled whole by the
    bootstrap, and its sign flipped whole by the test. The inference is about new items, for these very students; what
    other seeds would give shows in the spread between seeds. Raises DataError as :func:`compare` does.
    """
    import numpy as np

    if not pairs:
        raise DataError(f"no predictions of {names[0]} and {names[1]} to compare")
    outcomes_a, outcomes_b = joined_outcomes(pairs, names)
    changes = outcomes_a - outcomes_b
    num_seeds, n = changes.shape
    sums = changes.sum(axis=0)
    low, high = _bootstrap_interval(sums, num_resamples=num_resamples, seed=seed)
    return ComparisonResult(
        *names,
        n=n,
        accuracy_a=float(outcomes_a.mean()),
        accuracy_b=float(outcomes_b.mean()),
        difference=float(sums.sum() / (n * num_seeds)),
        interval=(low / num_seeds, high / num_seeds),
        p_value=_sign_flip_p_value(sums),
        gained=int(np.count_nonzero(changes > 0)),
        lost=int(np.count_nonzero(changes < 0)),
        num_seeds=num_seeds,
    )


def holm(results: Sequence[ComparisonResult], *, family_size: int | None = None) -> list[ComparisonResult]:
    """The same comparisons in the same order with ``adjusted_p_value`` filled: Holm's, over this family.

    ``family_size`` counts also comparisons that were declared and have no result yet, as if their p were 1.
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


def trend(
    levels: Sequence[Sequence[tuple[Sequence[Prediction], Sequence[Prediction]]]],
    *,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, tuple[float, float], float]:
    """How much the gain of a over b grows from the first level to the last: estimate, 95 % interval, two-sided p.

    Each level has its pairs (a, b), as many seeds at every level, all on the same items. The growth is that of the
    least-squares line through the gains at levels 0, 1, ...; with two levels it is their difference. It is a sum over
    items, so interval and p are as in :func:`pooled`. Raises DataError as :func:`compare` does.
    """
    import numpy as np

    assert len(levels) > 1
    assert len({len(pairs) for pairs in levels}) == 1
    outcomes_a, outcomes_b = joined_outcomes([pair for pairs in levels for pair in pairs], ("a", "b"))
    num_levels, num_seeds = len(levels), len(levels[0])
    gains = (outcomes_a - outcomes_b).reshape(num_levels, num_seeds, -1).sum(axis=1)
    weights = 2 * np.arange(num_levels) - (num_levels - 1)  # integers, as the sign-flip test needs
    values = weights @ gains
    scale = 2 * (num_levels - 1) / float(weights @ weights) / num_seeds
    low, high = _bootstrap_interval(values, num_resamples=num_resamples, seed=seed)
    return float(values.mean()) * scale, (low * scale, high * scale), _sign_flip_p_value(values)


def margin_p_value(
    pairs: Sequence[tuple[Sequence[Prediction], Sequence[Prediction]]], margin: float, *, names: tuple[str, str]
) -> float:
    """Two-sided p of the hypothesis that the accuracies of a and b differ by exactly ``margin``, either way.

    Where it is small they differ by less or, if the difference found is larger than ``margin``, by more. The former is
    two one-sided tests (Schuirmann 1987), of which the nearer margin's decides, at the strictness of a 95 % interval
    within the margin. Bonett and Price's (2012) adjusted Wald test, which adds one item that a alone has right and one
    that b alone has: arms that never differ on a few items are not shown to be equal. Items are the unit, as in
    :func:`pooled`.
    """
    import numpy as np

    outcomes_a, outcomes_b = joined_outcomes(pairs, names)
    changes = np.append((outcomes_a - outcomes_b).mean(axis=0), [1.0, -1.0])
    error = math.sqrt(changes.var() / len(changes))
    return math.erfc(abs(margin - abs(changes.mean())) / error / math.sqrt(2))


def mean_interval(values: Sequence[float], *, num_resamples: int = 2000) -> tuple[float, float, float]:
    """The mean of ``values``, one an item, and its 95 % bootstrap interval. Raises DataError for none."""
    import numpy as np

    if not values:
        raise DataError("a mean needs at least one value, found none")
    found = np.asarray(values, dtype=np.float64)
    return float(found.mean()), *_bootstrap_interval(found, num_resamples=num_resamples, seed=0)


def _bootstrap_interval(values: np.ndarray, *, num_resamples: int, seed: int) -> tuple[float, float]:
    """The percentile interval of the mean of ``values`` (integers, one an item) under resampling of items.

    Drawing n items with replacement is one multinomial draw of how often each distinct value occurs. There are few
    distinct values, so memory is num_resamples times these few and not times n.
    """
    import numpy as np

    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=num_resamples)
    means = draws @ distinct / len(values)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _sign_flip_p_value(values: np.ndarray) -> float:
    """Two-sided exact p: how probable a sum at least as far from 0 is if the sign of each value is a fair coin's.

    ``values`` are integers, one an item. If they are -1, 0 and 1, this is McNemar's exact test.
    """
    import numpy as np
    from scipy.stats import binom

    sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    probabilities = np.ones(1)  # of the sums -reach, ..., reach
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        signed = np.zeros(2 * size * count + 1)  # one flip moves the sum by twice its size
        signed[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        probabilities = np.convolve(probabilities, signed)
    reach = len(probabilities) // 2
    as_far = np.abs(np.arange(-reach, reach + 1)) >= abs(values.sum())
    return float(min(1.0, probabilities[as_far].sum()))


def joined_outcomes(
    pairs: Sequence[tuple[Sequence[Prediction], Sequence[Prediction]]], names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each item is correct, as integer arrays [seeds, items] of arm a and of arm b with items in one order."""
    import numpy as np

    labels = [name if len(pairs) == 1 else f"{name} (pair {seed})" for seed in range(len(pairs)) for name in names]
    arms = [_by_item(arm, label) for arm, label in zip([arm for pair in pairs for arm in pair], labels, strict=True)]
    first = arms[0]
    for arm, label in zip(arms[1:], labels[1:], strict=True):
        _check_same_items(first, arm, (labels[0], label))
    outcomes = np.array([[arm[item].correct for item in first] for arm in arms], dtype=np.int64)
    return outcomes[0::2], outcomes[1::2]


def _by_item(predictions: Sequence[Prediction], label: str) -> dict[tuple[str, str], Prediction]:
    """Predictions by task and id. Raises DataError where there are none or one occurs twice."""
    if not predictions:
        raise DataError("no predictions", where=label, remedy="evaluate on at least one item")
    items: dict[tuple[str, str], Prediction] = {}
    for prediction in predictions:
        key = (prediction.task, prediction.id)
        if key in items:
            raise DataError(f"id {prediction.id!r} of task {prediction.task} occurs twice", where=label)
        items[key] = prediction
    return items


def _check_same_items(
    a: dict[tuple[str, str], Prediction], b: dict[tuple[str, str], Prediction], labels: tuple[str, str]
) -> None:
    """Raise DataError unless both arms answered the same questions: same ids, same gold answers."""
    where, remedy = f"{labels[0]} against {labels[1]}", "evaluate both arms on the same items"
    if a.keys() != b.keys():
        problem = (
            f"different items: {len(b.keys() - a.keys())} missing from {labels[0]}, "
            f"{len(a.keys() - b.keys())} missing from {labels[1]}"
        )
        raise DataError(problem, where=where, remedy=remedy)
    for (task, id_), prediction in a.items():
        other = b[task, id_].answer
        if prediction.answer != other:
            problem = f"the gold answers of id {id_!r} of task {task} differ: {prediction.answer!r} and {other!r}"
            raise DataError(problem, where=where, remedy=remedy)
