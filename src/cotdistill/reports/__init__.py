"""What a run found, for people and for programs: tables, a figure, a page and ``summary.json``."""

from cotdistill.reports.run_report import BASE, TEACHER, Arm, RunReport
from cotdistill.reports.tables import print_table
from cotdistill.reports.write import write_report

__all__ = ["BASE", "TEACHER", "Arm", "RunReport", "print_table", "write_report"]
