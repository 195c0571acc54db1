"""What must stay light stays light: no model library is loaded before it is used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIGHT = (
    "cotdistill",
    "cotdistill.cli",
    "cotdistill.config",
    "cotdistill.records",
    "cotdistill.storage.stages",
    "cotdistill.tasks",
    "cotdistill.tasks.procedural",
    "cotdistill.tasks.files",
    "cotdistill.models.load.source",
    "cotdistill.evaluation.statistics.comparisons",
    "cotdistill.experiments.plan",
    "cotdistill.experiments.make",
    "cotdistill.reports",
    "cotdistill.reports.show",
)
HEAVY = ("torch", "transformers", "datasets", "pandas", "pyarrow", "scipy", "matplotlib", "huggingface_hub")


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_heavy_library(module: str) -> None:
    script = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("arguments", [["-c", "import cotdistill"], ["-m", "cotdistill", "--help"]])
def test_import_and_help_take_under_half_a_second(arguments: list[str]) -> None:
    """Of processor time, which other work on the machine hardly changes; the best of five."""
    seconds = []
    for _ in range(5):
        with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        seconds.append(usage.ru_utime + usage.ru_stime)
    assert min(seconds) < 0.5
