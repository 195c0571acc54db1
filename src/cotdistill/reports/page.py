"""The page of a report in Markdown: ``report.md``, verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cotdistill.progress import duration
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.figures import Drawing
from cotdistill.reports.tables import Table, markdown_text, to_markdown
from cotdistill.reports.verdict import findings, flips_in_words, in_markdown, verdict

NOTES = {
    "scores": "Intervals are Wilson's. An output is unreadable if no answer can be read from it, and truncated if the "
    "token limit came first; both count as not correct. With several seeds accuracy is their mean, its interval is for "
    "new seeds and new items, n is the number of items, and verdicts are counted over all seeds.",
    "comparisons": "Both arms answered the same items; each interval covers one comparison. With one seed a comparison "
    "is about these two students on new items (McNemar's exact p, paired bootstrap interval), and other seeds may give "
    "another result; with several it is about the arms, for new seeds and new items (t-test and interval over both). "
    "p (Holm) is corrected for the number of declared comparisons, and the sentences above use it.",
    "seeds": "Spread is the standard deviation of an arm's accuracy between seeds. p, items alone, is about these very "
    "students, as if seeds were fixed. The last columns say how many seeds per arm would show a difference with a "
    'power of 80 % at p = 0.05, estimated from these few seeds; "more items" means that no number of seeds would do.',
    "gains": "Each arm against its own untrained student, on the same items; intervals are as for comparisons. They "
    "were not declared beforehand, so no p is given.",
    "training": "Examples of the first seed. Left out are questions without a rationale that was kept, and examples "
    "longer than the limit; lengths are those before any cut.",
    "missing": "Cells without a result appear nowhere else in this report; run the experiment again to make them.",
}
"""How to read a table, by its name."""


def markdown_page(evidence: Evidence, found: Sequence[Table], figures: Mapping[str, Drawing]) -> str:
    """The whole page; ``found`` are all tables, ``figures`` the pictures beside it by path."""
    parts = [f"# {markdown_text(evidence.name)}\n"]
    if evidence.question:
        parts.append(f"{markdown_text(evidence.question)}\n")
    parts.append(f"{in_markdown(verdict(evidence))}\n")
    if others := findings(evidence):
        parts.append("".join(f"- {in_markdown(sentence)}\n" for sentence in others))
    for table in found:
        parts += [f"## {table.title}\n", to_markdown(table)]
        parts += [f"{NOTES[table.name]}\n"] if table.name in NOTES else []
        if table.name == "comparisons":
            told = (in_markdown(flips_in_words(comparison)) for comparison in evidence.comparisons)
            parts.append("".join(f"- {sentence}\n" for sentence in told))
    if figures:
        parts.append("## Figures\n")
    for path, drawing in figures.items():
        parts += [f"![{markdown_text(drawing.title)}]({path})\n", f"{markdown_text(drawing.caption)}\n"]
    if evidence.seconds:
        parts.append(f"Everything was computed in {duration(evidence.seconds)}.\n")
    return "\n".join(parts)
