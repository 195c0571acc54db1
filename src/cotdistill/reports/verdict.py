"""What the evidence says, in sentences made from its statistics.

A difference counts as shown only if its corrected p is below 0.05. If it is not, the sentence says that none was shown
and what the interval leaves room for; it never says that two arms are equal. With one seed a sentence is about two
students; only with several is it about the arms that they were drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.evaluation.statistics.comparisons import POINTS, ComparisonResult
from cotdistill.records import ACCURACY
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.tables import interval, p_value
from cotdistill.reports.texts import escape_markdown, markdown_text, one_line

SIGNIFICANT = 0.05


class Name(str):
    """The name of an arm within a sentence: highlighted, and escaped like everything from a user's file."""


Sentence = Sequence[str]
"""Pieces of one sentence, in order: our own words, and names as Name."""


def verdict(evidence: Evidence) -> Sentence:
    """The answer in one sentence: the first declared comparison, or what can be said without one."""
    if evidence.comparisons:
        return finding(evidence.comparisons[0])
    if not evidence.arms:
        return ["Nothing is finished yet; ", _cells(len(evidence.missing)), " missing."]
    if evidence.untested:
        return ["No declared comparison can be tested yet; ", _cells(len(evidence.missing)), " missing."]
    best, arm = max(evidence.arms.items(), key=lambda item: item[1].score.accuracy)
    share = f"{100 * arm.score.accuracy:.1f} % (95 % interval {interval(arm.score.interval)}, {arm.score.n} items)"
    if len(evidence.arms) == 1:
        return [Name(best), f" has an accuracy of {share}."]
    end = f" at {share}, but no comparison was declared, so no difference is claimed."
    return ["The highest accuracy is that of ", Name(best), end]


def findings(evidence: Evidence) -> list[Sentence]:
    """A sentence for every declared comparison after the first, and for each that waits for a missing cell."""
    return [finding(comparison) for comparison in evidence.comparisons[1:]] + [
        [Name(pair.a), " against ", Name(pair.b), f" was declared but cannot be tested: {one_line(pair.problem)}."]
        for pair in evidence.untested
    ]


def finding(comparison: ComparisonResult) -> Sentence:
    """One comparison as a sentence with its statistics."""
    a, b = Name(comparison.a), Name(comparison.b)
    points = 100 * comparison.difference
    metric = "" if comparison.metric == ACCURACY else f" in {comparison.metric}"
    one, other = ("this student of ", "that of ") if comparison.num_seeds == 1 else ("", "")
    evidence = f"95 % interval {interval(comparison.interval)}, {_test(comparison)}, {_items(comparison)}"
    if is_shown(comparison):
        relation = "beats" if points > 0 else "falls behind"
        return [one.capitalize(), a, f" {relation} {other}", b, f"{metric} by {abs(points):.1f} points ({evidence})."]
    end = f"{metric}: {points:+.1f} points may be chance ({evidence}{_more_seeds(comparison)})."
    return [f"No difference shown between {one}", a, f" and {other}", b, end]


def is_shown(comparison: ComparisonResult) -> bool:
    return decisive_p(comparison) < SIGNIFICANT


def decisive_p(comparison: ComparisonResult) -> float:
    """The p that sentences use: Holm's where there is one."""
    corrected = comparison.adjusted_p_value
    return comparison.p_value if corrected is None else corrected


def flips_in_words(comparison: ComparisonResult) -> Sentence:
    a, b = Name(comparison.a), Name(comparison.b)
    if comparison.metric != ACCURACY:
        higher = f" is higher in {comparison.metric} {_times(comparison.gained)}, "
        return [a, higher, b, f" {_times(comparison.lost)}."]
    return [a, f" alone is right {_times(comparison.gained)}, ", b, f" alone {_times(comparison.lost)}."]


def _more_seeds(comparison: ComparisonResult) -> str:
    """How many seeds a difference of middling size would take, where several seeds tell."""
    if comparison.variance is None:
        return ""
    points = POINTS[1]
    count = comparison.seeds_needed(points / 100)
    needed = f"about {count} seeds per arm" if count else "more items, whatever the number of seeds"
    return f"; {points} points would take {needed}"


def _test(comparison: ComparisonResult) -> str:
    paired = "McNemar" if comparison.metric == ACCURACY else "sign-flip test"
    name = paired if comparison.num_seeds == 1 else "t-test over seeds and items"
    p = decisive_p(comparison)
    corrected = "" if comparison.adjusted_p_value is None else ", Holm-corrected"
    return f"{name} p {'' if p < 0.0001 else '= '}{p_value(p)}{corrected}"


def _items(comparison: ComparisonResult) -> str:
    seeds = "1 seed" if comparison.num_seeds == 1 else f"{comparison.num_seeds} seeds"
    return f"{comparison.n:,} items, {seeds}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _cells(count: int) -> str:
    return "one cell is" if count == 1 else f"{count} cells are"


def in_markdown(sentence: Sentence) -> str:
    return "".join(
        f"**{markdown_text(part)}**" if isinstance(part, Name) else escape_markdown(part) for part in sentence
    )
