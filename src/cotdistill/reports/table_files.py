"""Tables for other programs: CSV with raw values, and LaTeX with the text that the page shows."""

from __future__ import annotations

import csv
import io
from typing import Any

from cotdistill.reports.tables import Column, Table
from cotdistill.reports.texts import one_line

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "&%$#_"},
}


def to_csv(table: Table) -> str:
    """Fractions and p-values in full, an interval as two columns (low, high), nothing for a missing value.

    Words that a spreadsheet would take for a formula begin with an apostrophe, which spreadsheets hide.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([heading for column in table.columns for heading in _headings(column)])
    for row in table.values:
        pairs = zip(row, table.columns, strict=True)
        writer.writerow([value for cell, column in pairs for value in _raw(cell, column)])
    return file.getvalue()


def _headings(column: Column) -> list[str]:
    heading = _harmless(column.heading)
    return [f"{heading} low", f"{heading} high"] if column.kind == "interval" else [heading]


def _raw(value: Any, column: Column) -> list[Any]:
    if column.kind == "interval":
        return [None, None] if value is None else list(value)
    return [_harmless(value) if isinstance(value, str) else value]


def _harmless(text: str) -> str:
    line = one_line(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def to_latex(table: Table) -> str:
    """A ``tabular`` with the rules of the package booktabs, numbers aligned on the right."""
    alignment = "".join("l" if column.is_words else "r" for column in table.columns)
    lines = [" & ".join(map(latex_text, line)) + r" \\" for line in (table.headings, *table.rows)]
    body = "\n".join([r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])
    return f"% {latex_text(table.title)}; needs \\usepackage{{booktabs}}\n" + (
        f"\\begin{{tabular}}{{{alignment}}}\n{body}\n\\end{{tabular}}\n"
    )


def latex_text(text: str) -> str:
    """``text`` on one line with every character escaped that LaTeX would act on."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))
