"""What several samples of a question say: ``pass@k``, ``avg@k`` and ``maj@k``, from how its samples were judged.

Each is an unbiased estimate, from all n samples, of what k samples would give, averaged over all subsets of k of them:
``pass@k`` that one of them is correct (Chen et al. 2021, arXiv 2107.03374, section 2.1), ``avg@k`` the share of them
that is correct, ``maj@k`` that their commonest answer is correct (Wang et al. 2023, arXiv 2203.11171). A tie is
decided by the answer given first, and all orders of the samples are alike, so each answer in it wins equally often.
``accuracy`` is whether the vote of the samples in the order in which they were drawn is correct. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from cotdistill.errors import DataError
from cotdistill.evaluation.statistics.proportions import LEVEL, seeds_interval, wilson
from cotdistill.evaluation.stored import Answers, outcomes_of
from cotdistill.records import ACCURACY, Tally

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class MetricScore:
    """A metric's mean over ``n`` items and its 95 % interval for new items and new samples, as fractions.

    ``samples_error``, of ``avg@k`` alone, is the standard error under new samples of these very items.
    """

    value: float
    interval: tuple[float, float]
    samples_error: float | None
    n: int

    def to_row(self) -> dict[str, Any]:
        return asdict(self) | {"interval": list(self.interval)}


OUTPUT_TOKENS = "output_tokens"
"""The number of tokens that a question's completions have, as a metric of claims and figures."""


def parts_of(metric: str) -> tuple[str, int]:
    """``pass@4`` as ("pass", 4); accuracy as ("accuracy", 1)."""
    kind, _, k = metric.partition("@")
    return kind, int(k or 1)


def metric_values(answers: Answers, metric: str) -> np.ndarray:
    """The metric of each item, as floats. Raises DataError if one has fewer samples than the metric is of."""
    import numpy as np

    outcomes = outcomes_of(answers)
    if metric == ACCURACY:
        return outcomes.correct.astype(np.float64)
    if metric == OUTPUT_TOKENS:
        return outcomes.num_output_tokens.astype(np.float64)
    kind, k = parts_of(metric)
    for place in np.flatnonzero(outcomes.num_samples < k):
        id_, drawn = outcomes.items.ids[place], outcomes.num_samples[place]
        problem = f"{metric} needs {k} samples, but question {id_!r} has {drawn}"
        raise DataError(problem, remedy=f"set evaluation.num_samples: {k}")
    value = {"pass": pass_at, "avg": average_at, "maj": majority_at}[kind]
    return np.array([value(tally, k) for tally in outcomes.tallies()])


def fewest_samples(seeds: Iterable[Answers]) -> int:
    """The number of samples that each question has at least."""
    return min((int(outcomes_of(answers).num_samples.min(initial=1 << 30)) for answers in seeds), default=1)


def pass_at(tally: Tally, k: int) -> float:
    """The share of the subsets of k samples that hold a correct one: 1 - C(n - c, k) / C(n, k)."""
    n = tally.num_samples
    return 1.0 - math.comb(n - tally.num_correct, k) / math.comb(n, k)


def average_at(tally: Tally, k: int) -> float:
    """The mean share of correct samples in the subsets of k: the same for every k."""
    return tally.num_correct / tally.num_samples


@cache
def majority_at(tally: Tally, k: int) -> float:
    """The share of the subsets of k samples whose commonest answer is the correct one; those that state none do not
    vote.

    For each number of votes for the correct answer the subsets of the others are counted in which no answer has more,
    by how many have as many. An answer with fewer votes in all cannot tie, so its samples are as good as silent.
    """
    n, c = tally.num_samples, tally.num_correct
    won = Fraction(0)
    for votes in range(1, min(c, k) + 1):
        rivals = [group for group in tally.wrong_votes if group >= votes]
        counts = _subsets(n - c - sum(rivals), rivals, votes, k - votes)
        won += math.comb(c, votes) * sum(Fraction(int(count), 1 + ties) for ties, count in enumerate(counts))
    return float(won / math.comb(n, k))


def _subsets(num_silent: int, rivals: Sequence[int], votes: int, size: int) -> np.ndarray:
    """How many subsets of ``size`` samples have at most ``votes`` of each rival, by how many have just as many."""
    import numpy as np

    ways = np.zeros((size + 1, size // votes + 1), dtype=object)  # [samples, ties], as exact integers
    ways[:, 0] = [math.comb(num_silent, silent) for silent in range(size + 1)]
    for group in rivals:
        made = np.zeros_like(ways)
        for chosen in range(min(votes, size) + 1):
            tied = int(chosen == votes)
            made[chosen:, tied:] += math.comb(group, chosen) * ways[: size + 1 - chosen, : ways.shape[1] - tied]
        ways = made
    return ways[size]


def shown_metrics(num_samples: int) -> list[str]:
    """The metrics that a summary holds for this number of samples: none for one, else those of all of them, and
    ``pass`` and ``maj`` at each power of two below."""
    if num_samples == 1:
        return []
    sizes = [*(1 << power for power in range(1, num_samples.bit_length()) if 1 << power < num_samples), num_samples]
    majorities = [f"maj@{k}" for k in sizes if k > 2]  # two votes decide as one does
    return [f"avg@{num_samples}", *(f"pass@{k}" for k in sizes), *majorities]


def metric_scores(answers: Answers) -> dict[str, MetricScore]:
    """Every metric of :func:`shown_metrics` over ``answers``, by name; empty where each has one sample."""
    return {name: metric_score(answers, name) for name in shown_metrics(fewest_samples([answers]))}


def metric_score(answers: Answers, metric: str) -> MetricScore:
    """One metric over ``answers``. Raises DataError as :func:`metric_values` does."""
    values, num_samples = metric_values(answers, metric), fewest_samples([answers])
    error = _samples_error(values, num_samples) if metric.startswith("avg@") and num_samples > 1 else None
    return MetricScore(float(values.mean()), fraction_interval(values, num_samples), error, len(values))


def metric_of_seeds(seeds: Sequence[Answers], metric: str) -> MetricScore:
    """The mean of a metric over an arm's seeds, with an interval for new seeds, items and samples.

    Raises DataError as :func:`metric_values` does.
    """
    import numpy as np

    scores = [metric_score(answers, metric) for answers in seeds]
    if len(scores) == 1:
        return scores[0]
    values = np.concatenate([metric_values(answers, metric) for answers in seeds])
    num_samples = fewest_samples(seeds)
    means, n = [score.value for score in scores], scores[0].n
    interval = seeds_interval(means, n * _items_worth(values, num_samples))
    return MetricScore(sum(means) / len(means), interval, None, n)


def fraction_interval(values: np.ndarray, num_samples: int = 1) -> tuple[float, float]:
    """A 95 % interval of the mean of ``values`` in [0, 1], one per item, for new items and new samples of them.

    Wilson's, with as many items as a proportion would need to vary as much (Korn and Graubard 1998), so it is not empty
    where all values are 0; for values of 0 and 1 it is Wilson's own. Values vary between items with what the items are
    and with the chance of their samples, so both are in it. No more items are counted than there are samples.
    """
    effective = len(values) * _items_worth(values, num_samples)
    return wilson(float(values.mean()), effective, NormalDist().inv_cdf((1 + LEVEL) / 2))


def _items_worth(values: np.ndarray, num_samples: int) -> float:
    """As how many values of 0 and 1 each of ``values`` counts: from 1 to ``num_samples``."""
    mean, spread = float(values.mean()), float(values.var())
    of_proportion = mean * (1 - mean)
    return min(of_proportion / spread, num_samples) if spread else num_samples if of_proportion else 1


def _samples_error(shares: np.ndarray, num_samples: int) -> float:
    """The standard error of the mean of shares of correct samples, for new samples of the same items."""
    return math.sqrt(float((shares * (1 - shares)).sum()) / (num_samples - 1)) / len(shares)
