"""What an experiment found, for people and for programs: pages, tables, figures and ``summary.json``."""

from cotdistill.reports.evidence import BASE, TEACHER, Arm, Cell, Evidence, Missing, Untested
from cotdistill.reports.terminal import print_table, print_tables
from cotdistill.reports.write import write_report

__all__ = [
    "BASE",
    "TEACHER",
    "Arm",
    "Cell",
    "Evidence",
    "Missing",
    "Untested",
    "print_table",
    "print_tables",
    "write_report",
]
