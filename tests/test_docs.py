"""What the documentation shows can be done: each experiment in it is read and planned."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shutil
from pathlib import Path

import pytest

from cotdistill.config import load_experiment
from cotdistill.experiments.plan import plan
from cotdistill.models.load.builtin import builtin_folder

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXPERIMENT = re.compile(r"^```yaml\n(# experiment\.yaml\n.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = [(page, block) for page in PAGES for block in EXPERIMENT.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "block"), SHOWN, ids=[page.name for page, _ in SHOWN])
def test_an_experiment_that_a_page_shows_is_read_and_planned(page: Path, block: str, tmp_path: Path) -> None:
    for name in set(re.findall(r"[\w-]+\.csv", block)):
        with (tmp_path / name).open("w", newline="") as file:
            rows = csv.writer(file)
            mapped = "columns:" in block
            rows.writerow(["prompt", "label", "explanation"] if mapped else ["question", "answer", "rationale"])
            rows.writerows([f"What is {n} + 1?", n + 1, f"{n} + 1 = {n + 1}."] for n in range(40))
    (tmp_path / "experiment.yaml").write_text(block, encoding="utf-8")
    planned = plan(load_experiment(tmp_path / "experiment.yaml"))
    assert len(planned.cells) >= 2
    assert planned.cells[0].arm == "base"


def test_the_snippet_for_a_students_own_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs/students.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    shutil.copytree(builtin_folder("builtin:nano-student"), tmp_path / "runs/training/key/student")
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "docs/students.md", "exec"), {})
    assert said.getvalue().strip()
