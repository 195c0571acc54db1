"""The page of a report: ``report.md``, with its findings in plain words."""

from __future__ import annotations

from cotdistill.evaluation.statistics import ComparisonResult
from cotdistill.reports.run_report import RunReport
from cotdistill.reports.tables import (
    comparison_table,
    extras_table,
    interval,
    markdown_text,
    p_value,
    score_table,
    to_markdown,
)

SIGNIFICANT = 0.05

_SCORES_NOTE = (
    "Intervals are Wilson's. An answer is unreadable where none could be extracted, and truncated where the token "
    "limit came first; both count as not correct."
)
_COMPARISONS_NOTE = (
    "Both arms answered the same items. Intervals are paired bootstrap over items and stand for one comparison each. "
    "p is McNemar's exact test (over several seeds, with the item as its unit); p (Holm) is corrected for the number "
    "of comparisons that were declared, and the sentences go by it."
)


def markdown_page(report: RunReport, *, figure: str) -> str:
    """The whole page; ``figure`` is the name of the picture beside it."""
    parts = [f"# {markdown_text(report.name)}\n"]
    if report.question:
        parts.append(f"{markdown_text(report.question)}\n")
    parts += [f"![Accuracy with 95 % intervals by arm]({figure})\n", "## Accuracy\n"]
    parts += [to_markdown(score_table(report)), f"{_SCORES_NOTE}\n"]
    if (comparisons := comparison_table(report.comparisons)) is not None:
        findings = "".join(f"- {in_words(comparison)}\n" for comparison in report.comparisons)
        parts += ["## Comparisons\n", findings, to_markdown(comparisons), f"{_COMPARISONS_NOTE}\n"]
    if (extras := extras_table(report)) is not None:
        parts += ["## Cost\n", to_markdown(extras)]
    parts.append(f"The whole run took {_duration(report.seconds)}.\n")
    return "\n".join(parts)


def in_words(comparison: ComparisonResult) -> str:
    """One comparison as a sentence of Markdown; it calls a difference shown only if the corrected p is below 0.05."""
    a, b = (f"**{markdown_text(name)}**" for name in (comparison.a, comparison.b))
    points = 100 * comparison.difference
    corrected = comparison.adjusted_p_value
    p = comparison.p_value if corrected is None else corrected
    relation = "" if p < 0.0001 else "= "
    evidence = f"95 % interval {interval(comparison.interval)}, p {relation}{p_value(p)}"
    if corrected is not None:
        evidence += " after Holm's correction"
    items = f"{comparison.n} items" + (f" and {comparison.num_seeds} seeds" if comparison.num_seeds > 1 else "")
    alone = f"{a} alone is right {_times(comparison.gained)}, {b} alone {_times(comparison.lost)}."
    if p < SIGNIFICANT:
        side = "above" if points > 0 else "below"
        return f"{a} is {abs(points):.1f} points {side} {b} on {items} ({evidence}); chance hardly explains it. {alone}"
    told = f"{a} and {b} cannot be told apart on {items}: {points:+.1f} points may be chance ({evidence})."
    return f"{told} {alone}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
