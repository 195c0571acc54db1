"""Writes a report into a folder."""

from __future__ import annotations

from pathlib import Path

from cotdistill.artifacts import write_json_atomically, write_text_atomically
from cotdistill.reports.figures import accuracy_figure, write_figure
from cotdistill.reports.page import markdown_page
from cotdistill.reports.run_report import RunReport


def write_report(report: RunReport, folder: Path) -> Path:
    """Write ``accuracy.png``, ``accuracy.svg``, ``report.md`` and ``summary.json``; returns the path of the page.

    Every file is written whole or not at all, and the summary last: where it exists, the report is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = accuracy_figure(report)
    write_figure(figure, folder / "accuracy.png")
    write_figure(figure, folder / "accuracy.svg")
    page = folder / "report.md"
    write_text_atomically(page, markdown_page(report, figure="accuracy.png"))
    write_json_atomically(folder / "summary.json", report.summary())
    return page
