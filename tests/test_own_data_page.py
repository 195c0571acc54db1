"""The page on own data, followed alone in an empty folder: from a table to a report, with real models."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.command import run_command
from tests.pages.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "own-data.md"


@pytest.mark.slow
def test_the_page_leads_from_a_table_to_a_report(tmp_path: Path) -> None:
    said: list[str] = []
    for block in blocks(PAGE):
        if block.not_run:
            continue
        if block.kind == "python":
            subprocess.run([sys.executable, "-c", block.text], cwd=tmp_path, check=True, capture_output=True)
            continue
        for line in block.text.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "cotdistill"
            outcome = run_command(tmp_path, *words)
            assert outcome.status == 0, outcome.err
            said.append(outcome.out)
    assert "the question is read from the column 'prompt'" in said[0]
    assert "next: cotdistill run experiment.yaml" in said[0]
    page = (tmp_path / "runs/sums/report.html").read_text(encoding="utf-8")
    assert "rationales" in page
    summary = json.loads((tmp_path / "runs/sums/summary.json").read_text(encoding="utf-8"))
    assert {"base", "answers", "rationales"} <= set(summary["arms"])
    settings = yaml.safe_load((tmp_path / "experiment.yaml").read_text(encoding="utf-8"))
    assert settings["task"]["columns"] == {"question": "prompt", "answer": "label", "rationale": "explanation"}
