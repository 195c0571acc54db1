"""The benchmark of many rows runs at sizes that are small enough, and prints the lines that it promises. No timings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scale.py"


@pytest.mark.slow
@pytest.mark.parametrize(("row", "sizes"), [("log_opened", "5 10 20"), ("cell_chosen", "20 40 80"), ("collate", "4")])
def test_a_row_prints_a_line_a_size_and_its_growth(row: str, sizes: str) -> None:
    command = [sys.executable, str(SCRIPT), "--json", "--only", row, "--sizes", *sizes.split()]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    *lines, last = map(json.loads, printed.splitlines())
    if len(sizes.split()) == 3:
        assert last["row"] == row
        assert "seconds" in last["growth"]
    else:
        lines.append(last)
    assert [line["size"] for line in lines] == list(map(int, sizes.split()))
    assert all(line["seconds"] > 0 for line in lines)
