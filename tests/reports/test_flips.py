"""What ``cotdistill flips`` prints."""

from __future__ import annotations

from cotdistill.evaluation.diagnosis.flips import TaskFlips
from cotdistill.evaluation.statistics.comparisons import ComparisonResult
from cotdistill.reports.flips import flips_tables

COMPARISON = ComparisonResult("a", "b", 60, 0.5, 0.4, 0.1, (0.05, 0.15), 0.01, 9, 3)
WORSE = TaskFlips("sums", 30, 0, 2, 0.5, 0.5, {}, {"length": 2})
BETTER = TaskFlips("dates", 30, 9, 1, 0.02, 0.04, {"format": 4, "length": 5}, {"reasoning": 1})


def test_the_difference_stands_above_the_tasks_from_best_to_worst():
    overall, tasks = flips_tables(COMPARISON, [WORSE, BETTER])
    assert overall.rows == (("a", "b", "+10.0", "5.0 to 15.0", "0.0100", "0.0100"),)
    assert tasks.rows == (
        ("dates", "30", "9", "1", "0.0400", "length 5", "reasoning 1"),
        ("sums", "30", "0", "2", "0.5000", "", "length 2"),
    )
