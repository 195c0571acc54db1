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
    "cotdistill.annotation",
    "cotdistill.models.load.source",
    "cotdistill.evaluation.statistics.comparisons",
    "cotdistill.experiments.plan",
    "cotdistill.experiments.make",
    "cotdistill.reports",
    "cotdistill.reports.show",
)
HEAVY = ("torch", "transformers", "datasets", "pandas", "pyarrow", "scipy", "matplotlib", "huggingface_hub")
WITHOUT_NUMPY = ("cotdistill.tasks", "cotdistill.annotation", "cotdistill.evaluation.statistics", "cotdistill.reports")


@pytest.mark.parametrize(("modules", "heavy"), [(LIGHT, HEAVY), (WITHOUT_NUMPY, (*HEAVY, "numpy", "statsmodels"))])
def test_light_modules_load_no_heavy_library(modules: tuple[str, ...], heavy: tuple[str, ...]) -> None:
    """One after the other in one process, which names the first module that loads one."""
    script = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        f"    if found := [name for name in {heavy!r} if name in sys.modules]:\n"
        "        sys.exit(f'{module} loads {found}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
