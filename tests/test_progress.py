"""The line that long work shows: alive on a terminal, now and then elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys

WORK = """
import time
from cotdistill import progress

progress.PLAIN_SECONDS = 0.05
with progress.track("train", 4) as shown:
    for step in range(4):
        time.sleep(0.1)
        shown.advance(note=f"loss {step / 8:.3f}, 1,234 tokens/s, {progress.peak_memory()}")
"""


def shown(*, on_terminal: bool) -> str:
    """What the work writes to its standard error."""
    reader, writer = os.openpty() if on_terminal else os.pipe()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([sys.executable, "-c", WORK], stderr=writer, env=environment)
    os.close(writer)
    parts = []
    try:
        while part := os.read(reader, 4096):
            parts.append(part)
    except OSError:  # how a terminal says that nobody writes to it any more
        pass
    assert process.wait(60) == 0
    return b"".join(parts).decode()


def test_elsewhere_it_is_a_plain_line_now_and_then() -> None:
    line = r"train: \d/4, \d+ s left, loss 0\.\d{3}, 1,234 tokens/s, \d\.\d GB"
    lines = shown(on_terminal=False).splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(line, each) for each in lines), lines


def test_on_a_terminal_one_line_is_drawn_again_and_again() -> None:
    text = shown(on_terminal=True)
    for part in ("loss 0.375", "1,234 tokens/s", " GB", "4/4", "0:00:00"):
        assert part in text, text
    assert text.count("\n") < 4
