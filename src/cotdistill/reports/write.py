"""Writes a report into a folder."""

from __future__ import annotations

from pathlib import Path

from cotdistill.reports.evidence import Evidence
from cotdistill.reports.figures import draw_all, write_figure
from cotdistill.reports.html import html_page
from cotdistill.reports.names import labelled
from cotdistill.reports.page import markdown_page
from cotdistill.reports.sections import parts_of, with_whole_names
from cotdistill.reports.table_files import to_csv, to_latex
from cotdistill.reports.tables import to_markdown
from cotdistill.storage.atomic import write_text_atomically

PAGE = "report.html"


def write_report(evidence: Evidence, folder: Path) -> Path:
    """Write ``report.html``, ``report.md``, ``tables/`` and ``figures/``; returns the path of ``report.html``.

    Every file is written whole or not at all.
    """
    evidence = labelled(evidence)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    drawings = draw_all(evidence)
    for drawing in drawings:
        write_text_atomically(folder / "figures" / f"{drawing.name}.svg", drawing.svg)
        write_figure(drawing.figure, folder / "figures" / f"{drawing.name}.pdf")
    parts = parts_of(evidence, drawings)
    for table in (with_whole_names(table, evidence) for part in parts for table in part.tables):
        for suffix, write in (("md", to_markdown), ("tex", to_latex), ("csv", to_csv)):
            write_text_atomically(folder / "tables" / f"{table.name}.{suffix}", write(table))
    write_text_atomically(folder / "report.md", markdown_page(evidence, parts))
    write_text_atomically(folder / PAGE, html_page(evidence, parts))
    return folder / PAGE
