"""The page of a report in Markdown: ``report.md``, verdict first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cotdistill.progress import duration
from cotdistill.records import Prediction, Question
from cotdistill.reports.caveats import caveats
from cotdistill.reports.details import some_of
from cotdistill.reports.evidence import Evidence, Examples
from cotdistill.reports.sections import Part
from cotdistill.reports.tables import to_markdown
from cotdistill.reports.texts import markdown_block, markdown_text
from cotdistill.reports.verdict import Sentence, findings, flips_in_words, in_markdown, verdict

_MOST_EXAMPLES = 12
"""Sets of rationales of which examples are shown."""

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
    "validation": "Loss and accuracy are those that held-out questions showed at the kept step. The best of several "
    "checks on few questions looks better than it is: believe the test.",
    "answers": "What was said to held-out questions at the first check, at the kept step and at the last, under the "
    "first seed; all of it is in the training's validation_samples.jsonl.",
    "decontamination": "Questions are compared without their choices: same text, same words in the same order, or 13 "
    "words in a row. The rule (annotation.decontaminate) leaves out: questions those with the same words, ngrams also "
    "those with 13 words in a row, report none. Templated tasks share long phrases between different questions.",
    "arms": "Only what differs between arms; what they share is in the setup.",
    "students": "Commands are for the folder that holds runs/; where there is none, the student was removed "
    "(keep_students) or is behind a server.",
    "cost": "Means over seeds. Tokens read and written are those of teachers that are asked; what arms share was made "
    "once, and appears with each.",
    "untested": "These count in Holm's correction as if they had been tested.",
    "missing": "Cells without a result appear nowhere else in this report; run the experiment again to make them.",
}
"""How to read a table, by its name."""


def markdown_page(evidence: Evidence, parts: Sequence[Part]) -> str:
    """The whole page; the pictures lie beside it in ``figures/``."""
    lines = [f"# {markdown_text(evidence.name)}\n"]
    if evidence.question:
        lines.append(f"{markdown_text(evidence.question)}\n")
    lines.append(f"{in_markdown(verdict(evidence))}\n")
    lines += _list(findings(evidence))
    if warnings := caveats(evidence):
        lines += ["Before you believe it:\n", *_list(warnings)]
    for part in filter(None, parts):
        lines.append(f"## {part.title}\n")
        for table in part.tables:
            lines += [f"### {table.title}\n", to_markdown(table)]
            lines += [f"{NOTES[table.name]}\n"] if table.name in NOTES else []
            if table.name == "comparisons":
                lines += _list([flips_in_words(comparison) for comparison in evidence.comparisons])
        for drawing in part.drawings:
            caption = markdown_text(drawing.caption)
            lines += [f"![{markdown_text(drawing.title)}](figures/{drawing.name}.svg)\n", f"{caption}\n"]
    lines += _samples(evidence)
    if evidence.seconds:
        lines.append(f"Everything was computed in {duration(evidence.seconds)}.\n")
    return "\n".join(lines)


def _list(sentences: Sequence[Sentence]) -> list[str]:
    return ["".join(f"- {in_markdown(sentence)}\n" for sentence in sentences)] if sentences else []


def taught(evidence: Evidence) -> list[Examples]:
    """The sets of examples that are shown, those with rationales first."""
    found = [each for each in evidence.examples if each.rows]
    return sorted(found, key=lambda each: all(row.rationale is None for row in each.rows))[:_MOST_EXAMPLES]


def _samples(evidence: Evidence) -> Iterator[str]:
    """One example of each set of rationales, and beside them what two arms wrote for the first question."""
    sets, written = taught(evidence), first_outputs(evidence)
    if sets or written:
        yield "## Samples\n"
    for each in sets:
        row = each.rows[0]
        yield f"Taught to {markdown_text(some_of(list(each.arms), 0))}, one of {each.total:,} examples:\n"
        yield markdown_block(f"{row.question}\n\n{row.rationale or '(no rationale)'}\n\nGold answer: {row.answer}")
    for name, question, prediction in written:
        gold = markdown_text(prediction.answer)
        yield f"Written by **{markdown_text(name)}** ({prediction.verdict}; gold answer {gold}):\n"
        asked = f"{question.asked}\n\n" if question else ""
        yield markdown_block(f"{asked}{prediction.output}")


def first_outputs(evidence: Evidence) -> list[tuple[str, Question | None, Prediction]]:
    """What the arms of the first comparison, else the last arm, wrote for their first question."""
    compared = [evidence.comparisons[0].a, evidence.comparisons[0].b] if evidence.comparisons else []
    found = []
    for name in compared or list(evidence.arms)[-1:]:
        cells = evidence.arms[name].cells
        if cells and len(cells[0].predictions):
            first = cells[0].predictions[0]
            asked = next((each for each in cells[0].questions if (each.task, each.id) == (first.task, first.id)), None)
            found.append((name, asked, first))
    return found
