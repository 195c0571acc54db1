"""What must stay light stays light: no model library is loaded before it is used."""

from __future__ import annotations

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


def test_help_loads_no_heavy_library() -> None:
    script = (
        "import sys\n"
        "from cotdistill.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"sys.exit(str([name for name in {HEAVY!r} if name in sys.modules] or ''))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "reproduce-check" in done.stdout
    assert done.stderr.strip() == ""
